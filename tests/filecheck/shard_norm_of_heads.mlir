// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=tp},insert-collectives' | filecheck %s
// A norm over all heads of a token (MiniMax, OLMo): devices exchange the sum of squares of a token, not its heads.

structure.phase "decode" {
  %x = model.input "x" dims ["batch", "seq", "hidden"] : !model.t<bf16, [b, 1, 64]>
  %q = model.weight "q" role "matmul" dims ["hidden", "heads", "head"] : !model.t<bf16, [64, 8, 16]>
  %scale = model.weight "scale" role "norm" dims ["heads", "head"] : !model.t<bf16, [8, 16]>
  %h = model.einsum "bsd,dhe->bshe" %x, %q {label = "q"} : (!model.t<bf16, [b, 1, 64]>, !model.t<bf16, [64, 8, 16]>) -> !model.t<bf16, [b, 1, 8, 16]>
  %n = model.norm "rms" %h, %scale {dims = 2 : i64, label = "q_norm"} : (!model.t<bf16, [b, 1, 8, 16]>, !model.t<bf16, [8, 16]>) -> !model.t<bf16, [b, 1, 8, 16]>
  structure.yield
}

// CHECK:      %h = model.einsum {{.*}} -> !model.t<bf16, [b, 1, 8{tp}, 16]>
// CHECK-NEXT: [[M:%.*]] = model.moments "rms" %h {{.*}} -> !model.t<fp32, [b, 1, 1] partial{tp}>
// CHECK-NEXT: [[S:%.*]] = dist.all_reduce [[M]] {{.*}} -> !model.t<fp32, [b, 1, 1]>
// CHECK-NEXT: [[P:%.*]] = dist.slice %scale {{.*}} -> !model.t<bf16, [8{tp}, 16]>
// CHECK-NEXT: model.normalize "rms" %h by [[S]], [[P]] {{.*}} -> !model.t<bf16, [b, 1, 8{tp}, 16]>
// CHECK-NOT:  dist.all_gather
