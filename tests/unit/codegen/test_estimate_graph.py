"""The graph of an estimate computes what `evaluate` does, and its slopes are those of `evaluate`."""

from dataclasses import replace

import numpy as np
import pytest
from estimate_cases import CASES, WORKLOAD, case, many_points

from gambrel.codegen.estimate import trace_estimate, trace_steady
from gambrel.codegen.slopes import gradient
from gambrel.cost.numbers import device_numbers
from gambrel.cost.rates import rates_of
from gambrel.estimation.api import load, machine
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.resolve import resolve
from gambrel.estimation.steady import steady
from gambrel.estimation.variant import compile_variant
from gambrel.runtimes import load_engine


@pytest.mark.parametrize("name", CASES)
def test_a_graph_equals_evaluate(name):
    it = case(name)
    points = many_points(it.traced, 40)
    got, wanted = it.traced.graph.evaluate(points), it.evaluate(**points)
    assert got.keys() == wanted.keys()
    for path, value in wanted.items():
        np.testing.assert_allclose(*np.broadcast_arrays(got[path], value), rtol=1e-12, err_msg=path)


def test_a_point_on_its_own_is_as_among_others():
    it = case("experts over replicas")
    points = many_points(it.traced, 5)
    together = it.traced.graph.evaluate(points)["tpot_s"]
    for number in range(6):
        alone = it.traced.graph.evaluate({name: values[number] for name, values in points.items()})["tpot_s"]
        assert together[number] == alone


@pytest.mark.parametrize("engine", ["ideal", "vllm", "sglang"])
def test_the_steady_state_too(engine):
    architecture, device = load("llama-3.1-70b"), machine("h200-sxm")
    resolved = resolve(architecture, device, WORKLOAD, Plan(tp=4), None)
    variant, points, overheads = (
        compile_variant(architecture, resolved.structure),
        resolved.points(WORKLOAD),
        load_engine(engine),
    )
    traced = trace_steady(variant, device, points, overheads)
    for batch in (1.0, 16.0, 700.0, 5000.0):
        got = traced.graph.evaluate({**traced.point, "batch": batch})
        wanted = steady(variant, device, rates_of(device), replace(points, batch=np.asarray(batch)), overheads)
        for path, value in got.items():
            np.testing.assert_allclose(value, getattr(wanted, path), rtol=1e-12, err_msg=path)


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_those_of_finite_differences(name):
    it, step = case(name), 1e-5
    point, numbers = it.traced.point, list(device_numbers(it.device))
    # Row i is a little less, row i + len(numbers) a little more of number i.
    steps = np.concatenate([-np.eye(len(numbers)), np.eye(len(numbers))]) * step
    moved = it.evaluate(**{number: point[number] * (1.0 + steps[:, i]) for i, number in enumerate(numbers)})
    now = it.evaluate()
    for metric in {"ttft_s", "tpot_s", "energy_per_token_j", "usd_per_million_tokens"} & set(now):
        slopes = gradient(it.traced.graph, point, metric)
        low, high = np.broadcast_to(moved[metric], (2 * len(numbers),)).reshape(2, -1)
        for number, difference in zip(numbers, (high - low) / (2.0 * step), strict=True):
            got = slopes.get(number, 0.0) * point[number]
            assert got == pytest.approx(difference, abs=2e-6 * float(now[metric])), (metric, number)


def test_a_length_of_zero_is_no_input():
    architecture, device = load("llama-3.1-8b"), machine("h200-sxm")
    resolved = resolve(architecture, device, Workload(), Plan(), None)
    traced = trace_estimate(compile_variant(architecture, resolved.structure), device, resolved.points(Workload()))
    assert "prefix" not in traced.inputs
