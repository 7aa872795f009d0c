// RUN: gambrel-opt %s -p 'shard{strategy=sequence-parallel axes=tp},insert-collectives' | filecheck %s
// RUN: gambrel-opt %s -p 'quantize{weights=fp8 activations=fp8},shard{strategy=sequence-parallel axes=tp},insert-collectives' | filecheck %s --check-prefix=FP8
// Between blocks the sequence is split: the all-reduce of megatron becomes a reduce-scatter and an all-gather.

structure.phase "prefill" {
  %ids = model.input "ids" dims ["batch", "seq"] : !model.t<i32, [b, s]>
  %table = model.weight "embed" role "embedding" dims ["vocab", "hidden"] : !model.t<bf16, [512, 64]>
  %e = model.embed %ids, %table : (!model.t<i32, [b, s]>, !model.t<bf16, [512, 64]>) -> !model.t<bf16, [b, s, 64]>
  %x = model.norm "layer" %e : (!model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
  %n = model.norm "rms" %x : (!model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
  %up = model.weight "up" role "matmul" dims ["hidden", "ffn"] : !model.t<bf16, [64, 256]>
  %h = model.einsum "bsd,df->bsf" %n, %up {label = "up"} : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [64, 256]>) -> !model.t<bf16, [b, s, 256]>
  %down = model.weight "down" role "matmul" dims ["ffn", "hidden"] : !model.t<bf16, [256, 64]>
  %y = model.einsum "bsf,fd->bsd" %h, %down {label = "down"} : (!model.t<bf16, [b, s, 256]>, !model.t<bf16, [256, 64]>) -> !model.t<bf16, [b, s, 64]>
  %z = model.map "add" %x, %y : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
  structure.yield
}

// CHECK:      dist.reduce_scatter %e {{.*}}-> !model.t<bf16, [b, s{tp}, 64]>
// CHECK-NEXT: %x = model.norm {{.*}} -> !model.t<bf16, [b, s{tp}, 64]>
// CHECK-NEXT: %n = model.norm {{.*}} -> !model.t<bf16, [b, s{tp}, 64]>
// CHECK:      dist.all_gather %n {{.*}}-> !model.t<bf16, [b, s, 64]>
// CHECK-NEXT: %h = model.einsum
// CHECK:      dist.reduce_scatter %y {{.*}}-> !model.t<bf16, [b, s{tp}, 64]>
// CHECK-NEXT: model.map "add"
// CHECK-NOT:  dist.

// Activations are gathered in the narrow format.
// FP8:      dist.all_gather {{.*}} : !model.t<fp8, [b, s{tp}, 64]> -> !model.t<fp8, [b, s, 64]>
