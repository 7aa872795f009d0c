// RUN: gambrel-opt %s -p 'shard{strategy=attention-dp-moe-ep axes=dp,tp,ep},insert-collectives' | filecheck %s
// RUN: gambrel-opt %s -p 'shard{strategy=moe-ep axes=tp},insert-collectives' | filecheck %s --check-prefix=EP
// RUN: gambrel-opt %s -p 'shard{strategy=sequence-parallel axes=tp},insert-collectives' | filecheck %s --check-prefix=SP

structure.phase "prefill" {
  %x = model.input "x" dims ["batch", "tokens", "hidden"] : !model.t<bf16, [b, s, 64]>
  %router = model.weight "router" role "router" dims ["hidden", "routed"] : !model.t<bf16, [64, 8]>
  %logits = model.einsum "bsd,de->bse" %x, %router : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [64, 8]>) -> !model.t<bf16, [b, s, 8]>
  %routing = model.route %logits {top_k = 2 : i64} : (!model.t<bf16, [b, s, 8]>) -> !model.t<i32, [b, s, 2]>
  %rows = model.dispatch %x, %routing : (!model.t<bf16, [b, s, 64]>, !model.t<i32, [b, s, 2]>) -> !model.t<bf16, [2*b*s, 64]>
  %up = model.weight "up" role "expert" dims ["experts", "hidden", "expert_ffn"] : !model.t<bf16, [8, 64, 32]>
  %h = model.grouped_einsum %rows, %up {top_k = 2 : i64} : (!model.t<bf16, [2*b*s, 64]>, !model.t<bf16, [8, 64, 32]>) -> !model.t<bf16, [2*b*s, 32]>
  %down = model.weight "down" role "expert" dims ["experts", "expert_ffn", "hidden"] : !model.t<bf16, [8, 32, 64]>
  %o = model.grouped_einsum %h, %down {top_k = 2 : i64} : (!model.t<bf16, [2*b*s, 32]>, !model.t<bf16, [8, 32, 64]>) -> !model.t<bf16, [2*b*s, 64]>
  %y = model.combine %o, %routing : (!model.t<bf16, [2*b*s, 64]>, !model.t<i32, [b, s, 2]>) -> !model.t<bf16, [b, s, 64]>
  %z = model.map "add" %x, %y : (!model.t<bf16, [b, s, 64]>, !model.t<bf16, [b, s, 64]>) -> !model.t<bf16, [b, s, 64]>
  structure.yield
}

// Each device sends its share of the rows to the devices of their experts and gets them back.
// CHECK:      %rows = model.dispatch {{.*}}select = ["tp"]{{.*}} -> !model.t<bf16, [2*b*s{dp, tp}, 64]>
// CHECK:      dist.all_to_all %rows : !model.t<bf16, [2*b*s{dp, tp}, 64]> -> !model.t<bf16, [2*b*s{ep, edp}, 64]>
// CHECK:      model.grouped_einsum {{.*}} !model.t<bf16, [8{ep}, 64, 32]>) -> !model.t<bf16, [2*b*s{ep, edp}, 32]>
// CHECK-NEXT: model.weight "down"
// CHECK-NEXT: %o = model.grouped_einsum
// CHECK-NEXT: dist.all_to_all %o : !model.t<bf16, [2*b*s{ep, edp}, 64]> -> !model.t<bf16, [2*b*s{dp, tp}, 64]>
// CHECK-NEXT: model.combine {{.*}} -> !model.t<bf16, [b{dp}, s, 64] partial{tp}>
// CHECK-NEXT: dist.all_reduce

// Tokens are everywhere in the group, so nothing is sent: each device takes the rows of its experts.
// EP:      model.dispatch {{.*}}select = ["tp_ep"]{{.*}} -> !model.t<bf16, [2*b*s{tp_ep}, 64]>
// EP-NOT:  dist.
// EP:      model.grouped_einsum {{.*}} !model.t<bf16, [8{tp_ep}, 32{tp_etp}, 64]>) -> !model.t<bf16, [2*b*s{tp_ep}, 64] partial{tp_etp}>
// EP-NEXT: model.combine {{.*}} -> !model.t<bf16, [b, s, 64] partial{tp}>
// EP-NEXT: dist.all_reduce {{.*}} partial{tp}> -> !model.t<bf16, [b, s, 64]>
// EP-NOT:  dist.

// Rows are summed to tokens before the open sum is scattered along the sequence.
// SP:      model.combine {{.*}} -> !model.t<bf16, [b, s, 64] partial{tp}>
// SP-NEXT: dist.reduce_scatter %y : !model.t<bf16, [b, s, 64] partial{tp}> -> !model.t<bf16, [b, s{tp}, 64]>
