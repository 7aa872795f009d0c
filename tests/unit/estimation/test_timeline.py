from itertools import pairwise

import pytest

import gambrel
from gambrel.errors import PlanError
from gambrel.estimation import timeline as timelines
from gambrel.estimation.details import timeline
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.timeline import COMPUTE, HOST, LAYERS, PASSES, PhaseTimeline

EAGER = "vllm-2023-eager"
CASES = {
    "one device": ("llama-3.1-8b", Plan(), Workload(batch=4)),
    "one token": ("llama-3.1-8b", Plan(), Workload(osl=1)),
    "tensor parallel": ("llama-3.1-70b", Plan(tp=8), Workload(batch=16)),
    "stages": ("llama-3.1-70b", Plan(tp=2, pp=4), Workload(batch=16)),
    "uneven stages": ("llama-3.1-8b", Plan(pp=5), Workload(batch=16)),
    "fewer microbatches than stages": ("llama-3.1-8b", Plan(pp=4, microbatches=2), Workload(batch=16)),
    "layers in groups over stages": ("qwen3.5-9b", Plan(tp=2, pp=3), Workload(batch=8)),
    "experts": ("deepseek-v3", Plan(tp=8, pp=2), Workload(batch=8)),
    "two halves": ("deepseek-v3", Plan(dp=16, ep=16, sub_batches=2), Workload(batch=256)),
    "two halves without transfers": ("llama-3.1-8b", Plan(sub_batches=2), Workload(batch=8)),
    "two halves in microbatches": ("llama-3.1-8b", Plan(tp=2, sub_batches=2, microbatches=3), Workload(batch=12)),
    "chunks": ("llama-3.1-8b", Plan(tp=2, pp=2, prefill_chunk=1024), Workload(batch=4, isl=4000)),
    "eager": ("llama-3.1-8b", Plan(tp=2, engine=EAGER), Workload(batch=2, isl=128)),
    "eager in stages": ("llama-3.1-8b", Plan(pp=4, engine=EAGER), Workload(batch=8, isl=64)),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request):
    model, plan, workload = request.param
    asked = {"plan": plan, "workload": workload}
    return gambrel.estimate(model, "h200-sxm", **asked), timeline(model, "h200-sxm", **asked)


def phases(case) -> list[tuple]:
    estimate, its = case
    return [(estimate.prefill, its.prefill), *([(estimate.decode, its.decode)] if its.decode else [])]


def lanes(phase: PhaseTimeline) -> dict[tuple[int, str], list]:
    out: dict[tuple[int, str], list] = {}
    for item in sorted(phase.slices, key=lambda item: item.start_s):
        out.setdefault((item.stage, item.lane), []).append(item)
    return out


def test_it_ends_when_the_estimate_does(case):
    for estimated, phase in phases(case):
        assert phase.seconds == estimated.seconds
        assert min(item.start_s for item in phase.slices) >= 0.0
        assert max(item.end_s for item in phase.slices) == pytest.approx(estimated.seconds, rel=1e-9)
    estimate, its = case
    assert its.seconds == pytest.approx(estimate.ttft_s + (estimate.tpot_s or 0.0), rel=1e-12)


def test_slices_of_a_lane_do_not_overlap(case):
    for _, phase in phases(case):
        for items in lanes(phase).values():
            for before, after in pairwise(items):
                assert before.start_s <= before.end_s <= after.start_s + 1e-9 * phase.seconds


def test_kernels_and_transfers_take_what_the_estimate_books(case):
    estimate, _ = case
    stages = estimate.plan.pp
    for estimated, phase in phases(case):
        booked = sum(row.total_seconds for row in estimated.rows) * stages
        kernels = [item for item in phase.slices if item.kind == "kernel"]
        merged = [item for item in phase.slices if item.kind == "merged"]
        shares = (float(k.args.get("share_of_repetition", 1.0)) for k in kernels)
        # A kernel that is cut at the end of a round is drawn in two pieces: count the one that continues.
        whole = sum(
            float(k.args["seconds"]) * float(k.args["executions"]) * share
            for k, share in zip(kernels, shares, strict=True)
            if "continues" not in k.args
        )
        rest = sum(float(value) for m in merged for name, value in m.args.items() if name.endswith("_seconds"))
        assert whole + rest == pytest.approx(booked, rel=1e-9)
        if estimate.plan.sub_batches == 1:
            drawn = sum(k.end_s - k.start_s for k in kernels)
            assert drawn + rest == pytest.approx(booked, rel=1e-9)


def test_layers_hold_their_kernels(case):
    for _, phase in phases(case):
        layers = [item for item in phase.slices if item.kind == "layer"]
        slack = 1e-9 * phase.seconds
        for kernel in [item for item in phase.slices if item.kind == "kernel"][:: max(len(phase.slices) // 50, 1)]:
            assert any(
                layer.stage == kernel.stage
                and layer.name == kernel.args["layer"]
                and layer.args["pass"] == kernel.args["pass"]
                and layer.start_s - slack <= kernel.start_s
                and kernel.end_s <= layer.end_s + slack
                for layer in layers
            )


def test_every_layer_is_there_once_for_each_microbatch():
    its = timeline("llama-3.1-8b", "h100-sxm", plan=Plan(pp=4), workload=Workload(batch=8))
    names = [item.name for item in its.prefill.slices if item.kind == "layer" and item.name.startswith("layer ")]
    assert sorted(names) == sorted(f"layer {n}" for n in range(32) for _ in range(8))
    assert {item.name for item in its.prefill.slices if item.lane == LAYERS[0] and item.stage == 0} == {
        "embedding",
        "send",
        *(f"layer {n}" for n in range(8)),
    }


def test_a_microbatch_waits_for_its_own_stage_before():
    its = timeline("llama-3.1-8b", "h100-sxm", plan=Plan(pp=4), workload=Workload(batch=8))
    passes = {(item.name, item.stage): item for item in its.prefill.slices if item.lane == PASSES}
    for (name, stage), item in passes.items():
        if stage:
            assert passes[name, stage - 1].end_s <= item.start_s * (1 + 1e-12)


def test_transfers_are_on_the_outermost_link_that_they_cross():
    its = timeline("llama-3.1-70b", "h100-sxm", plan=Plan(tp=8, pp=2), workload=Workload(batch=8))
    on = {item.name: item.lane for item in its.prefill.slices if item.kind == "kernel"}
    assert on["all_reduce attn.o"] == "nvlink"
    assert on["stage.send"] == "ib"
    assert on["attn"] == COMPUTE


def test_halves_overlap_transfers_with_compute():
    model, plan, workload = CASES["two halves"]
    its = timeline(model, "h200-sxm", plan=plan, workload=workload).prefill
    compute = [item for item in its.slices if item.kind == "kernel" and item.lane == COMPUTE]
    transfers = [item for item in its.slices if item.kind == "kernel" and item.lane != COMPUTE]
    together = [t for t in transfers if any(c.start_s < t.end_s and t.start_s < c.end_s for c in compute)]
    assert len(together) > len(transfers) / 2
    assert any("take turns" in note for note in its.notes)


@pytest.mark.parametrize(("model", "bound_by_launches"), [("qwen3-0.6b", True), ("llama-3.1-8b", False)])
def test_host_time_leaves_gaps(model, bound_by_launches):
    its = timeline(model, "h200-sxm", plan=Plan(engine=EAGER), workload=Workload(batch=2, isl=512)).decode
    assert its is not None
    overhead, launches = sorted((item for item in its.slices if item.lane == HOST), key=lambda item: item.start_s)
    kernels = [item for item in its.slices if item.kind == "kernel"]
    assert min(item.start_s for item in kernels) == pytest.approx(overhead.end_s)
    assert all(item.end_s - item.start_s == pytest.approx(float(item.args["seconds"])) for item in kernels)
    idle = sum(after.start_s - before.end_s for before, after in pairwise(kernels))
    assert (launches.end_s == pytest.approx(its.seconds)) is bound_by_launches
    assert (idle > 0.1 * (launches.end_s - launches.start_s)) is bound_by_launches


def test_a_long_phase_is_merged_and_says_so(monkeypatch):
    monkeypatch.setattr(timelines, "MOST_SLICES", 1000)
    its = timeline("llama-3.1-8b", "h100-sxm", plan=Plan(pp=4), workload=Workload(batch=16)).prefill
    (note,) = its.notes
    assert note.startswith("micro-batch 3 to micro-batch 15 are merged")
    assert sum(item.kind in ("kernel", "layer") for item in its.slices) <= 1000
    assert sum(item.kind == "merged" for item in its.slices) == 13 * 4


def test_too_many_microbatches_are_refused():
    plan = Plan(pp=4, prefill_microbatches=20_000)
    with pytest.raises(PlanError, match="at most 12500"):
        timeline("llama-3.1-8b", "h100-sxm", plan=plan, workload=Workload(batch=20_000, isl=1, osl=1))
