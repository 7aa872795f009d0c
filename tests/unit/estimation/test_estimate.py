"""What must hold inside one estimate, on models and devices of every kind."""

from dataclasses import replace

import numpy as np
import pytest

from gambrel.cost.rates import rates_of
from gambrel.errors import PlanError
from gambrel.estimation.api import estimate, load, machine
from gambrel.estimation.evaluate import evaluate
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.result import Estimate, PhaseEstimate
from gambrel.estimation.variant import Structure, compile_variant

CASES = [
    ("llama-3.1-8b", "h100-sxm", Plan(), Workload()),
    ("llama-3.1-70b", "h100-sxm", Plan(tp=8), Workload(batch=32, isl=4096, osl=512)),
    ("llama-3.1-70b", "mi300x", Plan(tp=8, weights="fp8", kv="fp8"), Workload(batch=1, isl=1, osl=2)),
    ("mixtral-8x7b", "a100-sxm-80gb", Plan(tp=2), Workload(batch=16, isl=300, osl=40)),
    ("deepseek-v3", "h200-sxm", Plan(dp=16, ep=16), Workload(batch=256, isl=1000, osl=1000)),
    ("gpt3-175b", "a100-sxm-80gb", Plan(tp=8, pp=3), Workload(batch=30, isl=128, osl=64)),
    ("gemma-3-27b", "tpu-v5e", Plan(tp=8), Workload(batch=4, isl=9000, osl=50)),
    ("gpt-oss-120b", "gb200-nvl72", Plan(tp=4), Workload(batch=64, isl=1024, osl=1024)),
    ("llama-2-7b", "rtx-4090", Plan(weights="int4"), Workload(batch=1, isl=512, osl=128)),
    ("llama-3.1-8b", "l40s", Plan(tp=2, pp=2), Workload(batch=8, isl=2000, osl=1)),
]
IDS = [f"{model} on {device} {plan.tp}x{plan.pp}" for model, device, plan, _ in CASES]
CLOSE = 1e-9


@pytest.fixture(params=CASES, ids=IDS, scope="module")
def answer(request: pytest.FixtureRequest) -> Estimate:
    model, device, plan, workload = request.param
    return estimate(model, device, plan=plan, workload=workload)


def phases(answer: Estimate) -> list[PhaseEstimate]:
    return [phase for phase in (answer.prefill, answer.decode) if phase is not None]


def test_latency_is_the_first_token_and_the_others(answer: Estimate) -> None:
    steps = answer.workload.osl - 1
    assert answer.latency_s == pytest.approx(answer.ttft_s + steps * (answer.tpot_s or 0.0), rel=CLOSE)


def test_rates_are_tokens_over_latency(answer: Estimate) -> None:
    tokens = answer.workload.batch * answer.workload.osl
    assert answer.tokens_per_s == pytest.approx(tokens / answer.latency_s, rel=CLOSE)
    assert answer.tokens_per_s_per_device == pytest.approx(answer.tokens_per_s / answer.devices, rel=CLOSE)


def test_one_output_token_has_no_decode(answer: Estimate) -> None:
    assert (answer.decode is None) == (answer.tpot_s is None) == (answer.workload.osl == 1)


def test_shares_of_the_peaks_are_shares(answer: Estimate) -> None:
    for phase in phases(answer):
        assert 0.0 < phase.mfu <= 1.0
        assert 0.0 < phase.mbu <= 1.0


def test_busy_time_is_the_sum_over_families_and_over_bounds(answer: Estimate) -> None:
    for phase in phases(answer):
        busy = phase.seconds - phase.bubble_seconds
        assert sum(phase.seconds_by_family.values()) == pytest.approx(busy, rel=CLOSE)
        assert sum(phase.seconds_by_bound.values()) == pytest.approx(busy, rel=CLOSE)
        assert sum(row.total_seconds for row in phase.rows) == pytest.approx(busy, rel=CLOSE)


def test_nothing_is_faster_than_the_plain_roofline(answer: Estimate) -> None:
    for phase in phases(answer):
        assert phase.floor_seconds <= phase.seconds
        for row in phase.rows:
            assert row.floor_seconds <= row.seconds * (1.0 + CLOSE), row.name


def test_totals_of_a_phase_are_sums_over_its_rows(answer: Estimate) -> None:
    for phase in phases(answer):
        assert phase.flops == pytest.approx(sum(r.flops * r.count for r in phase.rows), rel=CLOSE)
        moved = sum((r.bytes_read + r.bytes_written) * r.count for r in phase.rows)
        assert phase.bytes == pytest.approx(moved, rel=CLOSE)


def test_memory_is_the_sum_of_its_kinds(answer: Estimate) -> None:
    memory = answer.memory
    assert memory.total_bytes == pytest.approx(sum(memory.bytes_by_kind.values()), rel=CLOSE)
    assert list(memory.bytes_by_kind) == ["weights", "kv_cache", "activations", "communication", "runtime"]
    assert all(size >= 0 for size in memory.bytes_by_kind.values())
    assert answer.feasible == memory.fits == (memory.total_bytes <= memory.capacity_bytes)


def test_energy_stays_below_the_power_limit(answer: Estimate) -> None:
    device = machine(answer.provenance.profile)
    if answer.energy_j is not None:
        limit_w = float(np.asarray(device.power.tdp_w)) * answer.devices
        idle_w = float(np.asarray(device.power.idle_w)) * answer.devices
        assert idle_w * answer.latency_s < answer.energy_j <= limit_w * answer.latency_s


def test_everything_is_priced(answer: Estimate) -> None:
    assert (answer.coverage.ops, answer.coverage.flops, answer.coverage.bytes) == (1.0, 1.0, 1.0)
    assert not answer.provenance.lower_bound


def test_weights_of_an_unsplit_model_are_its_parameters() -> None:
    answer = estimate("llama-3.1-8b", "h100-sxm")
    assert answer.memory.bytes_by_kind["weights"] == 2 * answer.parameters


def test_cache_of_grouped_attention() -> None:
    answer = estimate("llama-3.1-8b", "h100-sxm", workload=Workload(batch=3, isl=1000, osl=24))
    layers, kv_heads, head_dim, bf16 = 32, 8, 128, 2
    per_token = layers * 2 * kv_heads * head_dim * bf16
    assert answer.memory.bytes_by_kind["kv_cache"] == 3 * (1000 + 24) * per_token


def test_cache_of_latent_attention_is_one_vector_for_all_heads() -> None:
    answer = estimate("deepseek-v3", "b200-sxm", plan=Plan(tp=8), workload=Workload(batch=2, isl=500, osl=12))
    layers, rank, rotated, bf16 = 61, 512, 64, 2
    assert answer.memory.bytes_by_kind["kv_cache"] == 2 * (500 + 12) * layers * (rank + rotated) * bf16


def test_key_value_heads_are_replicated_beyond_their_number() -> None:
    workload = Workload(batch=4, isl=1000, osl=24)
    at_eight = estimate("llama-3.1-70b", "gb200-nvl72", plan=Plan(tp=8), workload=workload)
    at_sixteen = estimate("llama-3.1-70b", "gb200-nvl72", plan=Plan(tp=16), workload=workload)
    kinds = at_eight.memory.bytes_by_kind, at_sixteen.memory.bytes_by_kind
    assert kinds[0]["kv_cache"] == kinds[1]["kv_cache"]
    assert kinds[0]["weights"] > kinds[1]["weights"]


def test_all_reduces_of_a_megatron_layer() -> None:
    batch, isl, hidden, layers, bf16 = 4, 256, 8192, 80, 2
    answer = estimate("llama-3.1-70b", "h100-sxm", plan=Plan(tp=8), workload=Workload(batch=batch, isl=isl, osl=2))
    reduced = [row for row in answer.prefill.rows if row.name.endswith(("attn.o", "mlp.down")) and row.network_bytes]
    assert sum(row.count for row in reduced) == 2 * layers
    assert {row.network_bytes for row in reduced} == {batch * isl * hidden * bf16}


@pytest.mark.parametrize(("model", "device"), [("gpt3-175b", "a100-sxm-80gb"), ("deepseek-v3", "h200-sxm")])
def test_one_stage_is_no_pipeline(model: str, device: str) -> None:
    machine_ = machine(device)
    point = Points.of(batch=16.0, isl=512.0, osl=64.0, tp=8.0, pp=1.0)
    plain = evaluate(compile_variant(load(model), Structure(axes=("tp",))), machine_, rates_of(machine_), point)
    staged = evaluate(compile_variant(load(model), Structure(axes=("tp", "pp"))), machine_, rates_of(machine_), point)
    assert staged.latency_s == pytest.approx(float(plain.latency_s), rel=CLOSE)
    for kind in ("weights", "kv_cache"):
        assert staged.memory_bytes[kind] == pytest.approx(float(plain.memory_bytes[kind]), rel=CLOSE)
    assert staged.prefill.bubble_seconds == pytest.approx(0.0, abs=1e-12)


def test_stages_split_the_work_and_wait_for_each_other() -> None:
    workload = Workload(batch=8, isl=512, osl=64)
    one = estimate("gpt3-175b", "a100-sxm-80gb", plan=Plan(tp=8), workload=workload)
    four = estimate(
        "gpt3-175b", "a100-sxm-80gb", plan=Plan(tp=8, pp=4, prefill_microbatches=1, microbatches=1), workload=workload
    )
    assert four.prefill.flops == pytest.approx(one.prefill.flops / 4, rel=CLOSE)
    # One microbatch is on one stage at a time: three quarters of the devices wait.
    assert four.prefill.bubble_seconds == pytest.approx(0.75 * four.prefill.seconds, rel=0.01)
    assert four.ttft_s > one.ttft_s


@pytest.mark.parametrize(("model", "isl", "osl"), [("llama-2-7b", 100, 2000), ("mistral-7b", 3000, 3000)])
def test_mean_of_the_decode_lies_between_its_first_and_last_step(model: str, isl: int, osl: int) -> None:
    device = machine("h100-sxm")
    variant = compile_variant(load(model), Structure())

    def step(first: float, tokens: float) -> float:
        result = evaluate(variant, device, rates_of(device), Points.of(batch=32.0, isl=first, osl=tokens))
        return float(result.tpot_s)

    first, last, mean = step(isl, 2.0), step(isl + osl - 2.0, 2.0), step(isl, float(osl))
    assert first < mean < last
    steps = [step(isl + i, 2.0) for i in np.linspace(0, osl - 2, 21)]
    assert mean == pytest.approx(np.trapezoid(steps) / 20, rel=2e-3)


@pytest.mark.parametrize(
    ("model", "device", "plan", "workload"),
    [
        ("llama-3.1-70b", "h100-sxm", Plan(), Workload(batch=8)),
        ("llama-3.1-8b", "rtx-4090", Plan(), Workload(batch=64, isl=8192, osl=512)),
        ("llama-2-70b", "a100-sxm-80gb", Plan(tp=2), Workload(batch=64, isl=4096, osl=128)),
        ("deepseek-v3", "h200-sxm", Plan(dp=4, ep=4), Workload(batch=64, isl=4096, osl=128)),
    ],
)
def test_each_lever_makes_it_fit(model: str, device: str, plan: Plan, workload: Workload) -> None:
    answer = estimate(model, device, plan=plan, workload=workload)
    (violation,) = answer.violations
    assert violation.gap_bytes == violation.demand_bytes - violation.limit_bytes > 0
    assert violation.demand_bytes == answer.memory.total_bytes
    assert violation.levers
    for lever in violation.levers:
        name, _, change = lever.change.partition(" ")
        value = change.rpartition("-> ")[2]
        changed_plan, changed_workload = apply(answer.plan, workload, name, value)
        again = estimate(model, device, plan=changed_plan, workload=changed_workload)
        assert again.feasible, lever.change
        assert again.memory.total_bytes == pytest.approx(lever.demand_bytes, rel=CLOSE), lever.change


def apply(plan: Plan, workload: Workload, name: str, value: str) -> tuple[Plan, Workload]:
    """What a lever says, done by hand: what follows from the degrees is left open."""
    opened = replace(
        plan, prefill_microbatches=None, microbatches=None, ep=plan.ep if plan.strategy == "megatron" else None
    )
    if name == "batch":
        return opened, replace(workload, batch=int(value))
    field = name.removeprefix("plan.")
    return replace(opened, **{field: int(value) if value.isdigit() else value}), workload


def test_what_fits_has_no_violation() -> None:
    answer = estimate("llama-3.1-8b", "h100-sxm")
    assert answer.feasible
    assert list(answer.violations) == []


def test_upcast_is_said_and_costs_the_wider_rate() -> None:
    workload = Workload(batch=64, isl=2048, osl=2)
    plain = estimate("llama-3.1-8b", "a100-sxm-80gb", workload=workload)
    narrow = estimate("llama-3.1-8b", "a100-sxm-80gb", plan=Plan(weights="fp8"), workload=workload)
    assert any("fp8" in note for note in narrow.assumptions)
    assert narrow.memory.bytes_by_kind["weights"] < 0.6 * plain.memory.bytes_by_kind["weights"]
    assert narrow.ttft_s == pytest.approx(plain.ttft_s, rel=0.1)


@pytest.mark.parametrize(
    ("plan", "workload", "says"),
    [
        (Plan(tp=3), Workload(), "32 % 3 = 2"),
        (Plan(pp=64), Workload(), "64 stages for 32 layers"),
        (Plan(ep=8), Workload(), "has no experts"),
        (Plan(pp=2, microbatches=4), Workload(batch=2), "4 microbatches of a batch of 2"),
        (Plan(tp=8192), Workload(), "joins at most"),
    ],
)
def test_a_plan_that_cannot_run_is_refused_with_the_numbers(plan: Plan, workload: Workload, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        estimate("llama-3.1-8b", "h100-sxm", plan=plan, workload=workload)


@pytest.mark.parametrize("value", [0, -1, 2**60, float("nan"), float("inf"), 1.5, True])
def test_absurd_counts_are_refused(value: float) -> None:
    with pytest.raises(PlanError, match=r"workload\.batch"):
        Workload(batch=value)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"plan\.tp"):
        Plan(tp=value)  # type: ignore[arg-type]


def test_all_bad_counts_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        Workload(batch=0, isl=-5, osl=0)
    assert [problem.where for problem in caught.value.problems] == ["workload.batch", "workload.isl", "workload.osl"]
