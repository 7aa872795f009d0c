// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=tp},insert-collectives' | filecheck %s
// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=cp},insert-collectives' | filecheck %s --check-prefix=CP

structure.phase "decode" {
  %x = model.input "x" dims ["batch", "seq", "hidden"] : !model.t<bf16, [b, 1, 64]>
  %wq = model.weight "attn.q" role "matmul" dims ["hidden", "heads", "head_dim"] : !model.t<bf16, [64, 8, 16]>
  %q = model.einsum "bsd,dhe->bshe" %x, %wq : (!model.t<bf16, [b, 1, 64]>, !model.t<bf16, [64, 8, 16]>) -> !model.t<bf16, [b, 1, 8, 16]>
  %wk = model.weight "attn.k" role "matmul" dims ["hidden", "kv_heads", "head_dim"] : !model.t<bf16, [64, 2, 16]>
  %k = model.einsum "bsd,dhe->bshe" %x, %wk : (!model.t<bf16, [b, 1, 64]>, !model.t<bf16, [64, 2, 16]>) -> !model.t<bf16, [b, 1, 2, 16]>
  %cache = kv.cache "attn.cache" dims ["batch", "cache", "kv_heads", "head_dim"] : !model.t<bf16, [b, c, 2, 16]>
  %keys = kv.append %cache, %k : (!model.t<bf16, [b, c, 2, 16]>, !model.t<bf16, [b, 1, 2, 16]>) -> !model.t<bf16, [b, 1 + c, 2, 16]>
  %a = model.attention %q, %keys, %keys {causal, label = "attn"} : (!model.t<bf16, [b, 1, 8, 16]>, !model.t<bf16, [b, 1 + c, 2, 16]>, !model.t<bf16, [b, 1 + c, 2, 16]>) -> !model.t<bf16, [b, 1, 8, 16]>
  %wo = model.weight "attn.o" role "matmul" dims ["heads", "head_dim", "hidden"] : !model.t<bf16, [8, 16, 64]>
  %o = model.einsum "bshe,hed->bsd" %a, %wo {label = "attn.o"} : (!model.t<bf16, [b, 1, 8, 16]>, !model.t<bf16, [8, 16, 64]>) -> !model.t<bf16, [b, 1, 64]>
  %y = model.map "add" %x, %o : (!model.t<bf16, [b, 1, 64]>, !model.t<bf16, [b, 1, 64]>) -> !model.t<bf16, [b, 1, 64]>
  structure.yield
}

// Heads are local from the projection through the cache to the output projection; one sum closes the block.
// CHECK:     kv.cache {{.*}} : !model.t<bf16, [b, c, 2{tp}, 16]>
// CHECK-NOT: dist.
// CHECK:     model.attention {{.*}} -> !model.t<bf16, [b, 1, 8{tp}, 16]>
// CHECK-NOT: dist.
// CHECK:     %o = model.einsum {{.*}} -> !model.t<bf16, [b, 1, 64] partial{tp}>
// CHECK-NEXT: dist.all_reduce %o {label = "attn.o"}
// CHECK-NOT: dist.

// The cache is split along its length: each device attends to its keys and the parts are merged.
// CP:      kv.append {{.*}} -> !model.t<bf16, [b, 1 + c{cp}, 2, 16]>
// CP-NEXT: model.attention {{.*}} -> !model.t<bf16, [b, 1, 8, 16] partial{cp}>
// CP:      dist.all_reduce %a {label = "attn"} : !model.t<bf16, [b, 1, 8, 16] partial{cp}> -> !model.t<bf16, [b, 1, 8, 16]>
// CP-NOT:  dist.
