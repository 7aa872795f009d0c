// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=tp},insert-collectives' | filecheck %s
// RUN: gambrel-opt %s --print-op-generic | gambrel-opt | gambrel-opt --print-op-generic | filecheck %s --check-prefix=GENERIC

structure.phase "prefill" {
  %x = model.input "x" dims ["batch", "seq", "hidden"] : !model.t<bf16, [b, s, 64]>
  %up = model.weight "mlp.up" role "matmul" dims ["hidden", "ffn"] : !model.t<bf16, [64, 256]>
  %h = model.einsum "bsd,df->bsf" %x, %up {label = "mlp.up"} : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [64, 256]>) -> !model.t<bf16, [b, s, 256]>
  %down = model.weight "mlp.down" role "matmul" dims ["ffn", "hidden"] : !model.t<bf16, [256, 64]>
  %y = model.einsum "bsf,fd->bsd" %h, %down {label = "mlp.down"} : (!model.t<bf16, [b, s, 256]>, !model.t<bf16, [256, 64]>) -> !model.t<bf16, [b, s, 64]>
  %z = model.map "add" %x, %y {label = "add"} : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
  structure.yield
}

// The column split of `up` needs nothing; the row split of `down` leaves a sum that the residual must have whole.
// CHECK:      model.einsum "bsd,df->bsf"
// CHECK-SAME: -> !model.t<bf16, [b, s, 256{tp}]>
// CHECK-NOT:  dist.
// CHECK:      model.einsum "bsf,fd->bsd"
// CHECK-SAME: -> !model.t<bf16, [b, s, 64] partial{tp}>
// CHECK-NEXT: dist.all_reduce {{.*}} : !model.t<bf16, [b, s, 64] partial{tp}> -> !model.t<bf16, [b, s, 64]>
// CHECK-NEXT: model.map "add"

// GENERIC: "structure.phase"() <{phase = "prefill"}>
// GENERIC: "model.einsum"(%x, %up) <{spec = "bsd,df->bsf"
