from dataclasses import replace

import numpy as np
import pytest

from gambrel.codegen.estimate import results, trace_estimate
from gambrel.codegen.slopes import gradient
from gambrel.cost.numbers import device_numbers, with_numbers
from gambrel.errors import PlanError
from gambrel.estimation.api import ask, machine
from gambrel.estimation.points import Plan, Workload
from gambrel.search.levers import Search, levers_of, nearest
from gambrel.search.metrics import ASKED
from gambrel.search.require import Need, require

QUESTION = {"plan": Plan(tp=8), "workload": Workload(batch=64, isl=4096, osl=512)}
EXACT = 1e-6


def metrics(numbers: dict[str, float], **question) -> dict[str, float]:
    """The metrics of a question with other numbers of the device."""
    asked = ask("llama-3.1-70b", "h200-sxm", **(question or QUESTION))
    found = results(asked.evaluate(with_numbers(asked.device, numbers)), asked.points)
    return {name: float(found[metric.path]) for name, metric in ASKED.items()}


def moved(needs: list[Need], margin: float = 1.0) -> dict[str, float]:
    """All numbers that a set of needs stands for; `margin` makes each that much worse."""
    asked = ask("llama-3.1-70b", "h200-sxm", **QUESTION)
    numbers = {name: each.value for name, each in device_numbers(asked.device).items()}
    out = {}
    for lever in levers_of(asked):
        for need in needs:
            if need.name == lever.name:
                gain = need.factor if lever.is_rate else 1.0 / need.factor
                out |= {name: numbers[name] * (gain / margin) ** power for name, power in lever.powers.items()}
    return out


@pytest.mark.parametrize(
    "targets",
    [{"tpot": 0.012}, {"latency": 20.0}, {"tokens_per_s": 2000.0, "tpot": 0.016}],
    ids=str,
)
def test_each_number_alone_just_meets_the_targets(targets):
    found = require("llama-3.1-70b", "h200-sxm", targets, **QUESTION)
    enough = [need for need in found.alone if need.factor is not None]
    assert enough
    for need in enough:
        assert need.needed == pytest.approx(need.today * need.factor)
        now, worse = metrics(moved([need])), metrics(moved([need], 1.0 + 2.0 * EXACT))
        assert all(meets(name, now[name], wanted) for name, wanted in targets.items()), need
        assert not all(meets(name, worse[name], wanted) for name, wanted in targets.items()), need


def meets(name: str, value: float, wanted: float) -> bool:
    return value >= wanted if ASKED[name].higher_is_better else value <= wanted


def test_what_no_number_alone_reaches_says_how_far_it_goes():
    found = require("llama-3.1-70b", "h200-sxm", {"tpot": 0.009}, **QUESTION)
    bandwidth = next(need for need in found.alone if need.name == "memory.bandwidth")
    assert (bandwidth.factor, bandwidth.needed) == (None, None)
    far = metrics({"memory.bandwidth": 1e9 * bandwidth.today})["tpot"]
    assert 0.009 < bandwidth.reached["tpot"] == pytest.approx(far, rel=1e-6)


@pytest.mark.parametrize("targets", [{"tpot": 0.01}, {"ttft": 20.0, "latency": 30.0}], ids=str)
def test_one_factor_on_all_rates(targets):
    found = require("llama-3.1-70b", "h200-sxm", targets, **QUESTION)
    assert len({need.factor for need in found.together}) == 1
    assert {need.unit for need in found.together} == {"B/s", "FLOP/s"}
    now, worse = metrics(moved(found.together)), metrics(moved(found.together, 1.0 + 2.0 * EXACT))
    assert all(meets(name, now[name], wanted) for name, wanted in targets.items())
    assert not all(meets(name, worse[name], wanted) for name, wanted in targets.items())


@pytest.mark.parametrize("targets", [{"tpot": 0.01}, {"tpot": 0.01, "ttft": 5.0}], ids=str)
def test_no_smaller_joint_change_meets_the_targets(targets):
    search = Search(ask("llama-3.1-70b", "h200-sxm", **QUESTION), targets)
    logs = search.least()
    assert search.missed(logs[None, :])[0] <= 0.0
    norm, rng = np.linalg.norm(logs), np.random.default_rng(3)
    near = np.abs(logs * np.exp(rng.normal(0.0, 0.2, (40, len(logs)))))
    anywhere = rng.uniform(0.0, 1.0, (40, len(logs)))
    directions = np.concatenate([near, anywhere])
    others = search.shortest(directions) * np.linalg.norm(directions, axis=1)
    assert np.min(others) >= norm * (1.0 - 1e-3)


def test_the_least_change_is_along_the_elasticities_at_its_end():
    asked = ask("llama-3.1-70b", "h200-sxm", **QUESTION)
    search = Search(asked, {"tpot": 0.0125})  # no kink of the formulas near its end
    logs = search.least()
    traced = trace_estimate(asked.variant, asked.device, asked.points, asked.engine)
    point = traced.point
    for lever, log in zip(search.levers, logs, strict=True):
        for name, power in lever.powers.items():
            point[name] *= 2.0 ** (power * log)
    slopes = gradient(traced.graph, point, "tpot_s")
    pull = np.array([-sum(p * slopes[n] * point[n] for n, p in x.powers.items() if n in slopes) for x in search.levers])
    np.testing.assert_allclose(logs / np.linalg.norm(logs), pull / np.linalg.norm(pull), atol=0.01)


def test_what_nothing_reaches():
    found = require("llama-3.1-70b", "h200-sxm", {"tpot": 0.003}, **QUESTION)
    assert all(need.factor is None for need in found.alone)
    assert (found.together, found.least) == ([], [])
    assert found.limits["tpot"] > 0.003
    assert not found.met


def test_targets_that_are_met_leave_room():
    found = require("llama-3.1-70b", "h200-sxm", {"tpot": 0.02}, **QUESTION)
    assert found.met
    assert found.least == []
    for need in found.alone:
        assert need.factor > 1.0 if need.unit == "s" else need.factor < 1.0


def test_capacity_is_a_need_of_its_own():
    found = require("llama-3.1-70b", "h200-sxm", {"tpot": 1.0}, workload=Workload(batch=64))
    assert found.memory.needed == metrics({}, workload=Workload(batch=64))["memory"]
    assert found.memory.factor == found.memory.needed / found.memory.today > 1.0
    assert all(target.met for target in found.targets)
    assert not found.fits
    assert not found.met


def test_links_that_no_group_crosses_are_no_levers():
    found = require("llama-3.1-70b", "h200-sxm", {"tpot": 0.01}, **QUESTION)
    assert {need.name for need in found.alone} == {
        "memory.bandwidth",
        "matrix.bf16",
        "links.nvlink.bandwidth",
        "links.nvlink.latency",
    }


def test_compute_stands_for_the_format_with_most_flops():
    found = require("deepseek-v3", "h200-sxm", {"tpot": 0.02}, plan=Plan(dp=16, ep=16), workload=Workload(batch=64))
    assert "compute (fp8)" in {need.title for need in found.alone}


def test_a_machine_that_already_has_it():
    """The answer of one question is a machine of which the same question asks nothing."""
    found = require("llama-3.1-70b", "h200-sxm", {"tpot": 0.011}, **QUESTION)
    better = with_numbers(machine("h200-sxm"), moved(found.least))
    again = require("llama-3.1-70b", replace(better, name="better"), {"tpot": 0.011}, **QUESTION)
    assert again.met
    assert again.together[0].factor == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("targets", "osl", "why"),
    [
        ({}, 9, "there are none"),
        ({"tpot": 0.0}, 9, "0 is no target"),
        ({"ttft": float("nan")}, 9, "nan is no target"),
        ({"tpot": 0.1}, 1, "a single output token"),
    ],
)
def test_what_is_no_target(targets, osl, why):
    with pytest.raises(PlanError, match=why):
        require("llama-3.2-1b", "h200-sxm", targets, workload=Workload(osl=osl))


@pytest.mark.parametrize(
    ("rows", "limits", "point"),
    [
        ([[-1.0, -1.0]], [-2.0], [1.0, 1.0]),
        ([[-3.0, -4.0]], [-5.0], [0.6, 0.8]),
        ([[-1.0, 0.0], [0.0, -1.0]], [-2.0, -3.0], [2.0, 3.0]),
        ([[-1.0, 0.0], [-1.0, -0.1]], [-1.0, -1.0], [1.0, 0.0]),
        ([[1.0, 1.0]], [1.0], [0.0, 0.0]),
    ],
)
def test_the_nearest_point_of_half_planes(rows, limits, point):
    np.testing.assert_allclose(nearest(np.array(rows), np.array(limits)), point, atol=1e-7)
