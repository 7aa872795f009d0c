// RUN: gambrel-opt %s -p insert-collectives | filecheck %s
// Each kind of collective follows from the two types of a reshard.

dist.mesh "by hand" axes ["dp", "tp", "ep", "edp"]
structure.phase "prefill" {
  %p = model.input "p" dims ["tokens", "hidden"] : !model.t<bf16, [s, 64] partial{tp}>
  %split = model.input "split" dims ["tokens", "hidden"] : !model.t<bf16, [s{tp}, 64]>
  %whole = model.input "whole" dims ["tokens", "hidden"] : !model.t<bf16, [s, 64]>
  %rows = model.input "rows" dims ["tokens", "hidden"] : !model.t<bf16, [s{dp, tp}, 64]>
  %both = model.input "both" dims ["tokens", "hidden"] : !model.t<bf16, [s{dp}, 64] partial{tp}>

  // CHECK: dist.all_reduce %p {label = "reduce"} : !model.t<bf16, [s, 64] partial{tp}> -> !model.t<bf16, [s, 64]>
  %0 = dist.reshard %p {label = "reduce"} : !model.t<bf16, [s, 64] partial{tp}> -> !model.t<bf16, [s, 64]>
  // CHECK-NEXT: dist.reduce_scatter %p {label = "scatter"} : !model.t<bf16, [s, 64] partial{tp}> -> !model.t<bf16, [s, 64{tp}]>
  %1 = dist.reshard %p {label = "scatter"} : !model.t<bf16, [s, 64] partial{tp}> -> !model.t<bf16, [s, 64{tp}]>
  // CHECK-NEXT: dist.all_gather %split {label = "gather"} : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64]>
  %2 = dist.reshard %split {label = "gather"} : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64]>
  // CHECK-NEXT: dist.all_to_all %split {label = "move"} : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64{tp}]>
  %3 = dist.reshard %split {label = "move"} : !model.t<bf16, [s{tp}, 64]> -> !model.t<bf16, [s, 64{tp}]>
  // CHECK-NEXT: dist.slice %whole {label = "keep"} : !model.t<bf16, [s, 64]> -> !model.t<bf16, [s{tp}, 64]>
  %4 = dist.reshard %whole {label = "keep"} : !model.t<bf16, [s, 64]> -> !model.t<bf16, [s{tp}, 64]>
  // CHECK-NEXT: dist.all_to_all %rows {label = "experts"} : !model.t<bf16, [s{dp, tp}, 64]> -> !model.t<bf16, [s{ep, edp}, 64]>
  %5 = dist.reshard %rows {label = "experts"} : !model.t<bf16, [s{dp, tp}, 64]> -> !model.t<bf16, [s{ep, edp}, 64]>
  // Where one collective is not enough the sum is closed first.
  // CHECK-NEXT: [[SUM:%[0-9]+]] = dist.all_reduce %both {label = "both"} : !model.t<bf16, [s{dp}, 64] partial{tp}> -> !model.t<bf16, [s{dp}, 64]>
  // CHECK-NEXT: dist.all_gather [[SUM]] {label = "both"} : !model.t<bf16, [s{dp}, 64]> -> !model.t<bf16, [s, 64]>
  %6 = dist.reshard %both {label = "both"} : !model.t<bf16, [s{dp}, 64] partial{tp}> -> !model.t<bf16, [s, 64]>
  // CHECK-NEXT: structure.yield
  structure.yield
}
