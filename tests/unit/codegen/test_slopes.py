import math

import numpy as np
import pytest

from gambrel.codegen.operations import CONDITIONS, OPERATIONS, ROUNDINGS
from gambrel.codegen.slopes import SLOPES, Kink, gradient, kinks
from gambrel.codegen.tracing import Trace


def graph_of(function, *names):
    with Trace() as trace:
        return trace.graph({"out": function(*(trace.input(name) for name in names))})


def test_every_operation_has_a_slope_or_is_flat():
    assert set(SLOPES) | CONDITIONS | ROUNDINGS == set(OPERATIONS)


@pytest.mark.parametrize("operation", sorted(SLOPES))
def test_slopes_are_those_of_finite_differences(operation):
    function, x, step = OPERATIONS[operation], [1.0, 0.6, 1.7], 1e-6
    count = 3 if operation == "where" else getattr(function, "nin", 1)
    x = x[:count]
    slopes = SLOPES[operation](x, function(*x))
    assert len(slopes) == count
    for i, slope in enumerate(slopes):
        if operation == "where" and i == 0:
            continue
        high, low = (function(*(v + sign * step * (i == j) for j, v in enumerate(x))) for sign in (1.0, -1.0))
        assert slope == pytest.approx((high - low) / (2.0 * step), rel=1e-8, abs=1e-8)


def test_gradient_of_a_shared_node_adds_up():
    graph = graph_of(lambda x, y: (x * y) * (x * y) + x * y, "x", "y")
    assert gradient(graph, {"x": 3.0, "y": 2.0}, "out") == {"x": 2.0 * 6.0 * 2.0 + 2.0, "y": 2.0 * 6.0 * 3.0 + 3.0}


def test_the_branch_that_is_not_taken_does_not_count():
    graph = graph_of(lambda x: np.where(x > 1.0, x, np.sqrt(x - 1.0) / (x - 1.0)), "x")
    assert gradient(graph, {"x": 2.0}, "out") == {"x": 1.0}
    safe = graph_of(lambda x: np.where(x > 1.0, np.sqrt(x - 1.0), 5.0 * x), "x")
    assert gradient(safe, {"x": 1.0}, "out") == {"x": 5.0}


@pytest.mark.parametrize(
    ("function", "point", "left", "right"),
    [
        (lambda x: np.maximum(x, 2.0), 2.0, 0.0, 1.0),
        (lambda x: np.minimum(x, 2.0), 2.0, 1.0, 0.0),
        (lambda x: np.maximum(3.0 * x, 6.0) + np.minimum(x, 2.0), 2.0, 1.0, 3.0),
        (lambda x: np.maximum(2.0 * x, x + 1.0), 1.0, 1.0, 2.0),
        (lambda x: np.maximum(x, 2.0), 1.0, 0.0, 0.0),
        (lambda x: np.where(x < 2.0, x, 2.0), 2.0, 1.0, 0.0),
        (lambda x: np.where((x <= 2.0) & ~(x < 1.0), 3.0 * x, x + 4.0), 2.0, 3.0, 1.0),
        (lambda x: 1.0 / np.maximum(x, 2.0), 2.0, 0.0, -0.25),
        (np.ceil, 2.5, 0.0, 0.0),
        (np.ceil, 2.0, 0.0, math.nan),
        (np.floor, 2.0, math.nan, 0.0),
        (np.rint, 1.5, math.nan, math.nan),
        (lambda x: np.where(x < 2.0, x, 3.0), 2.0, math.nan, 0.0),
        (lambda x: np.minimum(np.ceil(x), 1.0), 2.0, 0.0, 0.0),
    ],
)
def test_kinks(function, point, left, right):
    found = kinks(graph_of(function, "x"), {"x": point}, "out")["x"]
    assert found.left == pytest.approx(left, nan_ok=True)
    assert found.right == pytest.approx(right, nan_ok=True)


def test_a_kink_is_by_one_input():
    graph = graph_of(lambda x, y: np.maximum(x, y) * y, "x", "y")
    found = kinks(graph, {"x": 2.0, "y": 2.0}, "out")
    assert (found["x"].left, found["x"].right) == (0.0, 2.0)
    assert (found["y"].left, found["y"].right) == (2.0, 4.0)


def test_a_constant_has_no_kink():
    assert kinks(graph_of(lambda x: 0.0 * x, "x"), {"x": 2.0}, "out") == {}


def test_without_ties_both_sides_have_the_slope():
    graph = graph_of(lambda x, y: np.where(x > y, np.maximum(x, y) ** 3.0, y) / (x + np.ceil(y)), "x", "y")
    point = {"x": 2.0, "y": 1.5}
    for name, slope in gradient(graph, point, "out").items():
        assert kinks(graph, point, "out")[name] == Kink(left=slope, right=slope)
