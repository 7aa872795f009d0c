// RUN: gambrel-opt %s | filecheck %s
// RUN: gambrel-opt %s | gambrel-opt | filecheck %s
// RUN: gambrel-opt %s --print-op-generic | gambrel-opt | filecheck %s
// Custom and generic text mean the same module.

// CHECK:      structure.phase "decode" {
// CHECK-NEXT:   %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
// CHECK-NEXT:   %w = model.weight "w" role "matmul" dims ["hidden", "ffn"] : !model.t<fp8, [64, 128]>
// CHECK-NEXT:   %y = model.einsum "bd,df->bf" %x, %w {label = "up"} : (!model.t<bf16, [b, 64]>, !model.t<fp8, [64, 128]>) -> !model.t<bf16, [b, 128]>
// CHECK-NEXT:   structure.yield
structure.phase "decode" {
  %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
  %w = model.weight "w" role "matmul" dims ["hidden", "ffn"] : !model.t<fp8, [64, 128]>
  %y = model.einsum "bd,df->bf" %x, %w {label = "up"} : (!model.t<bf16, [b, 64]>, !model.t<fp8, [64, 128]>) -> !model.t<bf16, [b, 128]>
  structure.yield
}
