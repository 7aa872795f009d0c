// RUN: not gambrel-opt %s 2>&1 | filecheck %s
// Types name declared axes only, and ops have known properties only.

dist.mesh "megatron" axes ["dp"]
// CHECK: error: {{.*}}verify_mesh.mlir:9:1: model.norm: unknown attribute 'lable'. Did you mean 'label'?
// CHECK-NEXT: error: {{.*}}verify_mesh.mlir:8:1: model.input 'x': mesh axis 'tp' is not declared. Add it to the axes of dist.mesh (declared: dp).
// CHECK-NEXT: error: {{.*}}verify_mesh.mlir:9:1: model.norm: mesh axis 'tp' is not declared
%x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b{tp}, 64]>
%y = model.norm "rms" %x {lable = "norm"} : (!model.t<bf16, [b{tp}, 64]>) -> !model.t<bf16, [b{tp}, 64]>
