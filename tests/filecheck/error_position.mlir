// RUN: not gambrel-opt %s 2>&1 | filecheck %s
// All errors of a file are reported at once, each at the line and column of its op and with the regions around it.

structure.phase "decode" {
  %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
  %y = model.norm "rsm" %x : (!model.t<bf16, [b, 64]>) -> !model.t<bf16, [b, 64]>
    %z = model.map "sillu" %y {label = "act"} : (!model.t<bf16, [b, 64]>) -> !model.t<bf16, [b, 64]>
  structure.yield
}
// CHECK:      error: {{.*}}error_position.mlir:6:3: structure.phase 'decode' > model.norm: unknown norm 'rsm'; known: rms, layer.
// CHECK-NEXT: error: {{.*}}error_position.mlir:7:5: structure.phase 'decode' > model.map 'act': unknown elementwise function 'sillu'. Did you mean 'silu'
