// RUN: not gambrel-opt %s 2>&1 | filecheck %s
// CHECK: error: {{.*}}verify_axis_twice.mlir:3:{{[0-9]+}}: mesh axis 'tp' is used twice in !model.t<bf16, [b{tp}, 64{tp}]>
%x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b{tp}, 64{tp}]>
