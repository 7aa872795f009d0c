// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=tp},insert-collectives,fuse' | filecheck %s
// RUN: gambrel-opt %s -p 'shard{strategy=megatron axes=cp},insert-collectives' | filecheck %s --check-prefix=CP
// RUN: gambrel-opt %s --print-op-generic | gambrel-opt | gambrel-opt --print-op-generic | filecheck %s --check-prefix=GENERIC

structure.phase "prefill" {
  %q = model.input "q" dims ["batch", "seq", "scan_groups", "state_key"] : !model.t<bf16, [b, s, 4, 16]>
  %v = model.input "v" dims ["batch", "seq", "scan_heads", "state_value"] : !model.t<bf16, [b, s, 8, 24]>
  %a = model.input "a" dims ["batch", "seq", "scan_heads"] : !model.t<bf16, [b, s, 8]>
  %w = model.weight "v_conv" role "scan" dims ["scan_heads", "state_value", "window"] : !model.t<bf16, [8, 24, 4]>
  %tail = kv.state "v_conv_state" dims ["batch", "scan_heads", "state_value", "window"] : !model.t<bf16, [b, 8, 24, 3]>
  %c = model.conv1d %v, %w, %tail {activation = "silu", label = "v_conv"} : (!model.t<bf16, [b, s, 8, 24]>, !model.t<bf16, [8, 24, 4]>, !model.t<bf16, [b, 8, 24, 3]>) -> !model.t<bf16, [b, s, 8, 24]>
  %state = kv.state "state" dims ["batch", "scan_heads", "state_key", "state_value"] : !model.t<fp32, [b, 8, 16, 24]>
  %log = model.weight "a_log" role "scan" dims ["scan_heads"] : !model.t<bf16, [8]>
  %o = model.scan "gdn" %q, %q, %c, %state, %a, %log {chunk = 64 : i64, label = "scan"} : (!model.t<bf16, [b, s, 4, 16]>, !model.t<bf16, [b, s, 4, 16]>, !model.t<bf16, [b, s, 8, 24]>, !model.t<fp32, [b, 8, 16, 24]>, !model.t<bf16, [b, s, 8]>, !model.t<bf16, [8]>) -> !model.t<bf16, [b, s, 8, 24]>
  %out = model.weight "out" role "matmul" dims ["scan_heads", "state_value", "hidden"] : !model.t<bf16, [8, 24, 64]>
  %y = model.einsum "bshe,hed->bsd" %o, %out {label = "out"} : (!model.t<bf16, [b, s, 8, 24]>, !model.t<bf16, [8, 24, 64]>) -> !model.t<bf16, [b, s, 64]>
  structure.yield
}

// Heads, their states and their small parameters are split alike; only the output projection leaves a sum.
// CHECK:      kv.state "state" {{.*}} : !model.t<fp32, [b, 8{tp}, 16, 24]>
// CHECK:      model.weight "a_log" {{.*}} : !model.t<bf16, [8{tp}]>
// CHECK-NOT:  dist.
// CHECK:      model.scan "gdn"
// CHECK-SAME: -> !model.t<bf16, [b, s, 8{tp}, 24]>
// CHECK:      model.einsum "bshe,hed->bsd"
// CHECK-SAME: -> !model.t<bf16, [b, s, 64] partial{tp}>

// A recurrence takes whole sequences: what context parallelism split is gathered before it.
// CP: dist.all_gather {{.*}} -> !model.t<bf16, [b, s, 8, 24]>
// CP: model.conv1d
// CP: dist.all_gather {{.*}} -> !model.t<bf16, [b, s, 4, 16]>
// CP: dist.all_gather {{.*}} -> !model.t<bf16, [b, s, 8]>
// CP: model.scan "gdn"
// CP-SAME: -> !model.t<bf16, [b, s, 8, 24]>

// GENERIC: "model.conv1d"(%v, %w, %tail) <{activation = "silu"
// GENERIC: "model.scan"(%q, %q, %c, %state, %a, %log) <{{{.*}}chunk = 64 : i64
