// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=cp},insert-collectives' | filecheck %s
// In prefill the queries are split too, so the keys are gathered before attention and its result is whole.

structure.phase "prefill" {
  %q = model.input "q" dims ["batch", "seq", "heads", "head_dim"] : !model.t<bf16, [b, s, 8, 16]>
  %k = model.input "k" dims ["batch", "seq", "kv_heads", "head_dim"] : !model.t<bf16, [b, s, 2, 16]>
  %cache = kv.cache "attn.cache" dims ["batch", "cache", "kv_heads", "head_dim"] : !model.t<bf16, [b, c, 2, 16]>
  %keys = kv.append %cache, %k : (!model.t<bf16, [b, c, 2, 16]>, !model.t<bf16, [b, s, 2, 16]>) -> !model.t<bf16, [b, c + s, 2, 16]>
  %a = model.attention %q, %keys, %keys {causal} : (!model.t<bf16, [b, s, 8, 16]>, !model.t<bf16, [b, c + s, 2, 16]>, !model.t<bf16, [b, c + s, 2, 16]>) -> !model.t<bf16, [b, s, 8, 16]>
  structure.yield
}

// CHECK:      %keys = kv.append {{.*}} -> !model.t<bf16, [b, c + s{cp}, 2, 16]>
// CHECK-NEXT: dist.all_gather %keys : !model.t<bf16, [b, c + s{cp}, 2, 16]> -> !model.t<bf16, [b, c + s, 2, 16]>
// CHECK-NEXT: model.attention {{.*}} -> !model.t<bf16, [b, s{cp}, 8, 16]>
