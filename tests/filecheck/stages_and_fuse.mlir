// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=tp},insert-collectives,stages,fuse' | filecheck %s
// RUN: not gambrel-opt %s -p 'shard,fuse' 2>&1 | filecheck %s --check-prefix=EARLY
// RUN: not gambrel-opt %s -p 'stages' 2>&1 | filecheck %s --check-prefix=PLACE
// RUN: not gambrel-opt %s -p 'shard,quantize{weights=fp8}' 2>&1 | filecheck %s --check-prefix=LATE

structure.phase "prefill" {
  %ids = model.input "ids" dims ["batch", "seq"] : !model.t<i32, [b, s]>
  %table = model.weight "embed" role "embedding" dims ["vocab", "hidden"] : !model.t<bf16, [512, 64]>
  %x = model.embed %ids, %table {label = "embed"} : (!model.t<i32, [b, s]>, !model.t<bf16, [512, 64]>) -> !model.t<bf16, [b, s, 64]>
  %y = structure.repeat 4 "layers" (%i = %x) : !model.t<bf16, [b, s, 64]> {
    %n = model.norm "rms" %i : (!model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
    %wg = model.weight "mlp.gate" role "matmul" dims ["hidden", "ffn"] : !model.t<bf16, [64, 256]>
    %g = model.einsum "bsd,df->bsf" %n, %wg {label = "mlp.gate"} : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [64, 256]>) -> !model.t<bf16, [b, s, 256]>
    %wu = model.weight "mlp.up" role "matmul" dims ["hidden", "ffn"] : !model.t<bf16, [64, 256]>
    %u = model.einsum "bsd,df->bsf" %n, %wu {label = "mlp.up"} : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [64, 256]>) -> !model.t<bf16, [b, s, 256]>
    %a = model.map "silu_mul" %g, %u : (!model.t<bf16, [b, s, 256]>, !model.t<bf16, [b, s, 256]>) -> !model.t<bf16, [b, s, 256]>
    %wd = model.weight "mlp.down" role "matmul" dims ["ffn", "hidden"] : !model.t<bf16, [256, 64]>
    %d = model.einsum "bsf,fd->bsd" %a, %wd {label = "mlp.down"} : (!model.t<bf16, [b, s, 256]>, !model.t<bf16, [256, 64]>) -> !model.t<bf16, [b, s, 64]>
    %r = model.map "add" %i, %d : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
    structure.yield %r : !model.t<bf16, [b, s, 64]>
  }
  structure.yield
}

// CHECK:      dist.mesh "megatron" axes ["tp", "pp"]
// CHECK:      structure.stage
// CHECK-NEXT: structure.repeat 4 "layers"
// Gate and up are one kernel of two results.
// CHECK:      %{{.*}}, %{{.*}} = structure.group "product" {
// CHECK-NEXT: model.einsum {{.*}}"mlp.gate"
// CHECK-NEXT: model.einsum {{.*}}"mlp.up"
// CHECK-NEXT: structure.yield

// EARLY: error: pass 'fuse': it cannot run on this module: it needs that no dist.reshard is left. Put insert-collectives before this pass.
// PLACE: error: pass 'stages': it cannot run on this module: it needs that the module has a mesh. Put shard before this pass.
// LATE: error: pass 'quantize': it cannot run on this module: it needs that the module is not placed yet. Put this pass before shard.
