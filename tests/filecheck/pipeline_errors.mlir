// RUN: not gambrel-opt %s -p 'shardd,shard{strateg=megatron axes=3},quantize{weights=1 kv},fuse{x=1}' 2>&1 | filecheck %s
// RUN: not gambrel-opt %s -p 'shard{strategy=' 2>&1 | filecheck %s --check-prefix=SYNTAX
// RUN: not gambrel-opt %s -p 'shard{strategy=megatorn}' 2>&1 | filecheck %s --check-prefix=STRATEGY
// RUN: not gambrel-opt %s -p 'shard{axes=tq}' 2>&1 | filecheck %s --check-prefix=AXIS
// RUN: not gambrel-opt %s -p 'quantize{weights=fp9}' 2>&1 | filecheck %s --check-prefix=FORMAT
// RUN: not gambrel-opt %s -p 'shard,shard' 2>&1 | filecheck %s --check-prefix=TWICE
// RUN: not gambrel-opt %s -p 'shard' --print-ir-after fuse 2>&1 | filecheck %s --check-prefix=AFTER
// RUN: gambrel-opt %s -p ' shard{ strategy=megatron axes=dp, tp } , insert-collectives ' --print-ir-after all 2>&1 | filecheck %s --check-prefix=ALL

builtin.module {}

// All mistakes of a pipeline at once.
// CHECK:      error: pipeline: unknown pass 'shardd'. Did you mean 'shard'
// CHECK-NEXT: error: pass 'shard': unknown option 'strateg'. Did you mean 'strategy'
// CHECK-NEXT: error: pass 'shard': option 'axes' cannot be 3
// CHECK-NEXT: error: pass 'quantize': option 'weights' cannot be 1
// CHECK-NEXT: error: pass 'fuse': unknown option 'x'. Known: apart.

// SYNTAX: error: pipeline, column 16 of 'shard{strategy=': Unknown argument value
// STRATEGY: error: strategy: unknown strategy 'megatorn'. Did you mean 'megatron'
// AXIS: error: shard: unknown mesh axis 'tq'.
// FORMAT: error: weights format: unknown number format 'fp9'.
// TWICE: error: pass 'shard': it cannot run on this module: it needs that the module is not placed yet.
// AFTER: error: --print-ir-after: no pass 'fuse' in the pipeline.

// ALL:      // -----// IR after shard{axes="dp","tp"} //----- //
// ALL-NEXT: builtin.module {
// ALL:      // -----// IR after insert-collectives //----- //
