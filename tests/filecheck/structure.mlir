// RUN: gambrel-opt %s | filecheck %s
// RUN: gambrel-opt %s | gambrel-opt | filecheck %s
// RUN: gambrel-opt %s --print-op-generic | gambrel-opt | filecheck %s
// RUN: gambrel-opt %s --print-op-generic | filecheck %s --check-prefix=GENERIC
// The syntax of phases, stages, repeats and groups.

// CHECK: structure.phase "decode" {
structure.phase "decode" {
  %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
  // CHECK: %y = structure.stage %x : !model.t<bf16, [b, 64]> {
  %y = structure.stage %x : !model.t<bf16, [b, 64]> {
    // CHECK-NEXT: %z = structure.repeat 80 "layers" (%i = %x) : !model.t<bf16, [b, 64]> {
    %z = structure.repeat 80 "layers" (%i = %x) : !model.t<bf16, [b, 64]> {
      // CHECK-NEXT: %g = structure.group "pointwise" {
      %g = structure.group "pointwise" {
        %n = model.norm "rms" %i : (!model.t<bf16, [b, 64]>) -> !model.t<bf16, [b, 64]>
        %s = model.map "scale" %n : (!model.t<bf16, [b, 64]>) -> !model.t<bf16, [b, 64]>
        // CHECK:      structure.yield %s : !model.t<bf16, [b, 64]>
        // CHECK-NEXT: } -> !model.t<bf16, [b, 64]>
        structure.yield %s : !model.t<bf16, [b, 64]>
      } -> !model.t<bf16, [b, 64]>
      structure.yield %g : !model.t<bf16, [b, 64]>
    }
    // A count may be symbolic, and two values may be carried.
    // CHECK: %p, %q = structure.repeat 2*ceildiv(n, pp) (%j = %z, %k = %x) : !model.t<bf16, [b, 64]>, !model.t<bf16, [b, 64]> {
    // CHECK-NEXT: structure.yield %k, %j : !model.t<bf16, [b, 64]>, !model.t<bf16, [b, 64]>
    %p, %q = structure.repeat 2*ceildiv(n, pp) (%j = %z, %k = %x) : !model.t<bf16, [b, 64]>, !model.t<bf16, [b, 64]> {
      structure.yield %k, %j : !model.t<bf16, [b, 64]>, !model.t<bf16, [b, 64]>
    }
    structure.yield %p : !model.t<bf16, [b, 64]>
  // CHECK: } -> !model.t<bf16, [b, 64]>
  } -> !model.t<bf16, [b, 64]>
  structure.yield
}

// GENERIC: "structure.repeat"(%x) <{count = #structure.expr<80>, label = "layers"}> ({
// GENERIC-NEXT: ^{{bb[0-9]+}}(%i: !model.t<bf16, [b, 64]>):
