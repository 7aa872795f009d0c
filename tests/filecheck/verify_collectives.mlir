// RUN: not gambrel-opt %s --verify-only 2>&1 | filecheck %s
// A collective that does not do what its name says is an error.

dist.mesh "by hand" axes ["tp", "dp"]
structure.phase "prefill" {
  %p = model.input "p" dims ["tokens", "hidden"] : !model.t<bf16, [s, 64] partial{tp}>
  %split = model.input "split" dims ["tokens", "hidden"] : !model.t<bf16, [s{tp}, 64]>
  // CHECK: :9:3: {{.*}}all_reduce turns a partial value into a complete one and keeps its dims
  %0 = dist.all_reduce %split : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64]>
  // CHECK-NEXT: :11:3: {{.*}}all_gather only removes axes from dims
  %1 = dist.all_gather %p : !model.t<bf16, [s, 64] partial{tp}> -> !model.t<bf16, [s, 64]>
  // CHECK-NEXT: :13:3: {{.*}}reduce_scatter turns a partial axis into a split of one dim
  %2 = dist.reduce_scatter %p : !model.t<bf16, [s, 64] partial{tp}> -> !model.t<bf16, [s{dp}, 64]>
  // CHECK-NEXT: :15:3: {{.*}}all_to_all moves a split between dims or regroups rows by expert
  %3 = dist.all_to_all %split : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64{dp}]>
  // CHECK-NEXT: :17:3: {{.*}}slice only adds axes to dims
  %4 = dist.slice %split : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s{dp}, 64]>
  // CHECK-NEXT: :19:3: {{.*}}permute keeps the placement
  %5 = dist.permute %split along "tp" : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64]>
  // CHECK-NEXT: :21:3: {{.*}}dist.all_gather keeps shape and format
  %6 = dist.all_gather %split : !model.t<bf16, [s{tp}, 64]> -> !model.t<fp8, [s, 64]>
  structure.yield
}
