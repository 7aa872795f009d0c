// RUN: not gambrel-opt %s 2>&1 | filecheck %s
// Values are computed before they are used; xDSL's own verifier does not look.

structure.phase "decode" {
  // CHECK: error: {{.*}}verify_dominance.mlir:6:3: structure.phase 'decode' > model.norm 'early': operand 0 is used before it is defined
  %y = model.norm "rms" %x {label = "early"} : (!model.t<bf16, [b, 64]>) -> !model.t<bf16, [b, 64]>
  %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
  structure.yield
}
