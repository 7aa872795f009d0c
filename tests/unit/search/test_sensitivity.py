import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from gambrel.codegen.estimate import results
from gambrel.cost.engines import lookup
from gambrel.cost.engines.collective import START_UPS
from gambrel.cost.numbers import with_numbers
from gambrel.cost.rates import rates_of
from gambrel.errors import PlanError
from gambrel.estimation.api import Question, ask, estimate, machine
from gambrel.estimation.evaluate import evaluate
from gambrel.estimation.points import Plan, Workload
from gambrel.search.metrics import ASKED
from gambrel.search.sensitivity import sensitivity

QUESTION = {"plan": Plan(tp=8), "workload": Workload(batch=64, isl=4096, osl=512)}
TIMES = ("launch", "overhead", "latency", "ramp", "time", "after", "floor", "hop")
"""How the names of engine parameters end that are times."""
WAVE_POWER, LONGEST_WAVE_S = 1.8, 2e-6
"""The power of a unit's matrix rate with which a wave of a product gets shorter, where it is not stated, below a limit.
"""


def time_power(name: str) -> int:
    return 1 if name.endswith(TIMES) else -1 if name.endswith("_per_s") else 0


def slower_kernels(resolve, factor: float):
    """`resolve`, with times of an engine's parameters longer by a factor and their rates lower, whoever gives them.

    But for the start-ups of transfers, which belong to their link, and for a wave of a product that the device does not
    state: the rate of the matrix units has its own share in it.
    """

    def resolved(default, device, family, *rest):
        p = resolve(default, device, family, *rest)
        powers = {name: time_power(name) for name in asdict(p)}
        if family.startswith("collective"):
            powers |= dict.fromkeys(START_UPS, 0)
        if family == "gemm" and p.wave_overhead == default.wave_overhead < LONGEST_WAVE_S:
            powers["wave_overhead"] -= WAVE_POWER
        return replace(p, **{name: getattr(p, name) * factor**power for name, power in powers.items()})

    return resolved


def slower_host(asked: Question, factor: float) -> Question:
    times = {n: getattr(asked.engine, n) * factor for n in asked.engine.__dataclass_fields__ if n.endswith("_s")}
    return replace(asked, engine=replace(asked.engine, **times))


CASES = {
    "dense": ("llama-3.1-70b", "h200-sxm", QUESTION),
    "eager host": ("llama-3.1-8b", "h100-sxm", {"plan": Plan(tp=2, engine="vllm-2023-eager")}),
    "experts": ("deepseek-v3", "b200-sxm", {"plan": Plan(dp=16, ep=16), "workload": Workload(batch=64)}),
    "stages": ("mixtral-8x7b", "mi300x", {"plan": Plan(tp=4, pp=2), "workload": Workload(batch=16)}),
}


@pytest.mark.parametrize(
    ("case", "metric"),
    [
        *(("dense", metric) for metric in ASKED if metric not in ("memory", "tokens_per_s_per_device")),
        ("eager host", "ttft"),
        ("eager host", "energy_per_token"),
        ("experts", "tpot"),
        ("stages", "tokens_per_s"),
    ],
)
def test_elasticities_add_up_to_the_power_of_time(case, metric, monkeypatch):
    """Scaling every time by f and every rate by 1/f scales a time by f, a rate by 1/f, and energy and money not."""
    model, device, question = CASES[case]
    found = sensitivity(model, device, metric, **question)
    asked, step, resolve = ask(model, device, **question), 1e-5, lookup.resolve

    def at(factor: float) -> float:
        moved = slower_host(asked, factor)
        monkeypatch.setattr(lookup, "resolve", slower_kernels(resolve, factor))
        return float(results(moved.evaluate(), moved.points)[ASKED[metric].path])

    # What the numbers of the device leave to the times of kernels and host is their own share.
    assert found.fixed == pytest.approx((at(1.0 + step) - at(1.0 - step)) / (2.0 * step * at(1.0)), abs=1e-6)


@pytest.mark.parametrize("metric", ASKED)
def test_elasticities_are_those_of_finite_differences(metric):
    found = sensitivity("llama-3.1-70b", "h200-sxm", metric, **QUESTION)
    asked, step, count = ask("llama-3.1-70b", "h200-sxm", **QUESTION), 1e-5, len(found.numbers)
    # Row i is a little less, row i + count a little more of number i.
    factors = 1.0 + step * np.concatenate([-np.eye(count), np.eye(count)])
    moved = with_numbers(asked.device, {each.name: each.value * factors[:, i] for i, each in enumerate(found.numbers)})
    low, high = np.broadcast_to(results(asked.evaluate(moved), asked.points)[ASKED[metric].path], (2 * count,)).reshape(
        2, -1
    )
    for each, difference in zip(found.numbers, (high - low) / (2.0 * step * found.value), strict=True):
        assert each.elasticity == pytest.approx(difference, abs=1e-6), each.name
    assert [abs(each.elasticity) for each in found.numbers] == sorted(
        (abs(each.elasticity) for each in found.numbers), reverse=True
    )


def test_counts_are_estimates_at_half_and_twice():
    found = sensitivity("llama-3.1-70b", "h200-sxm", "tpot", **QUESTION)
    by_name = {each.name: each for each in found.counts}
    now, half, twice = (
        estimate("llama-3.1-70b", "h200-sxm", plan=Plan(tp=8), workload=Workload(batch=b, isl=4096, osl=512)).tpot_s
        for b in (64, 32, 128)
    )
    batch = by_name["batch"]
    assert found.value == now
    assert (batch.half, batch.twice) == (pytest.approx(half / now), pytest.approx(twice / now))
    assert batch.elasticity == pytest.approx(math.log(twice / half) / math.log(4.0))
    assert set(by_name) == {"batch", "isl", "osl"}, "nothing is cached beforehand"


def test_microbatches_follow_the_batch():
    question = {"plan": Plan(pp=8), "workload": Workload(batch=8, isl=512, osl=64)}
    found = sensitivity("llama-3.1-70b", "h200-sxm", "tpot", **question)
    half = estimate("llama-3.1-70b", "h200-sxm", plan=Plan(pp=8), workload=Workload(batch=4, isl=512, osl=64))
    assert next(c for c in found.counts if c.name == "batch").half == pytest.approx(half.tpot_s / found.value)


def test_what_cannot_run_has_no_answer():
    found = sensitivity("opt-6.7b", "h200-sxm", "latency", workload=Workload(batch=1, isl=1500, osl=300))
    by_name = {each.name: each for each in found.counts}
    assert by_name["isl"].twice is None, "the model has a table of 2048 positions"
    assert by_name["batch"].half is None, "there is no half of one sequence"
    assert by_name["isl"].elasticity > 0.0


def test_a_limit_that_is_just_reached_is_seen_from_both_sides():
    """On a roofline machine whose products are exactly as long as their bytes, more of one alone changes nothing."""
    device = machine("tpu-v5e")
    asked = ask("llama-3.2-1b", device, workload=Workload(batch=1, isl=1024, osl=2))
    phase = evaluate(asked.variant, device, rates_of(device), asked.points).decode
    row = max((p for p in phase.rows if p.row.rate), key=lambda p: float(p.seconds))
    p = device.parameters["roofline"]
    share = float(np.ravel(row.flops / (row.bytes_read + row.bytes_written))[0])
    peak = share * device.memory_bandwidth_bytes_per_s * p["memory_efficiency"]
    balanced = replace(device, matrix_flops_per_s=dict.fromkeys(device.matrix_flops_per_s, peak))
    found = sensitivity("llama-3.2-1b", balanced, "tpot", workload=asked.workload)
    kinked = {each.name: each for each in found.numbers if each.left is not None}
    assert kinked["matrix.bf16"].left < kinked["matrix.bf16"].right <= 0.0
    assert kinked["memory.bandwidth"].left < kinked["memory.bandwidth"].right <= 0.0


@pytest.mark.parametrize(
    ("metric", "device", "osl", "why"),
    [
        ("tpot", "h200-sxm", 1, "a single output token"),
        ("usd_per_million_tokens", "ascend-910b", 9, "has not the numbers"),
    ],
)
def test_an_answer_that_is_not_there(metric, device, osl, why):
    with pytest.raises(PlanError, match=why):
        sensitivity("llama-3.2-1b", device, metric, workload=Workload(osl=osl))
