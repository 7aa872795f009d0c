// RUN: gambrel-opt %s -p 'quantize{weights=fp8 activations=fp8 kv=int8}' | filecheck %s
// RUN: gambrel-opt %s -p 'quantize{weights=int4}' | filecheck %s --check-prefix=W4

structure.phase "decode" {
  %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
  %gate = model.weight "gate" role "matmul" dims ["hidden", "ffn"] : !model.t<bf16, [64, 256]>
  %up = model.weight "up" role "matmul" dims ["hidden", "ffn"] : !model.t<bf16, [64, 256]>
  %head = model.weight "head" role "head" dims ["hidden", "vocab"] : !model.t<bf16, [64, 512]>
  %g = model.einsum "bd,df->bf" %x, %gate {label = "gate"} : (!model.t<bf16, [b, 64]>, !model.t<bf16, [64, 256]>) -> !model.t<bf16, [b, 256]>
  %u = model.einsum "bd,df->bf" %x, %up {label = "up"} : (!model.t<bf16, [b, 64]>, !model.t<bf16, [64, 256]>) -> !model.t<bf16, [b, 256]>
  %l = model.einsum "bd,dv->bv" %x, %head : (!model.t<bf16, [b, 64]>, !model.t<bf16, [64, 512]>) -> !model.t<bf16, [b, 512]>
  %cache = kv.cache "k" dims ["batch", "cache", "kv_heads", "head_dim"] : !model.t<bf16, [b, c, 2, 16]>
  structure.yield
}

// Both products read one quantised copy; the head keeps its format and reads the original; results stay wide.
// CHECK:      %gate = {{.*}} : !model.t<fp8, [64, 256]>
// CHECK:      %head = {{.*}} : !model.t<bf16, [64, 512]>
// CHECK-NEXT: [[CAST:%[0-9]+]] = model.cast %x to "fp8" {label = "gate.quantize"}
// CHECK-NEXT: %g = model.einsum "bd,df->bf" [[CAST]], %gate {{.*}} -> !model.t<bf16, [b, 256]>
// CHECK-NEXT: %u = model.einsum "bd,df->bf" [[CAST]], %up {{.*}} -> !model.t<bf16, [b, 256]>
// CHECK-NEXT: %l = model.einsum "bd,dv->bv" %x, %head
// CHECK-NEXT: kv.cache {{.*}} : !model.t<int8, [b, c, 2, 16]>

// Weights alone: no cast.
// W4:     %gate = {{.*}} : !model.t<int4, [64, 256]>
// W4-NOT: model.cast
