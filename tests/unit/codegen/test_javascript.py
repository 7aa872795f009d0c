"""The function in JavaScript computes what the graph does in Python, in Node and in a browser."""

import json

import numpy as np
import pytest
from browsers import needs_chromium, run_in_chromium, run_node
from estimate_cases import CASES, case, many_points

from gambrel.codegen.graph import Graph
from gambrel.codegen.javascript import javascript_function
from gambrel.codegen.tracing import Trace

POINTS = 100
RELATIVE, ABSOLUTE = 1e-9, 1e-12


def rows(points: dict[str, np.ndarray]) -> list[dict[str, float]]:
    return [dict(zip(points, map(float, row), strict=True)) for row in zip(*points.values(), strict=True)]


def compare(graph: Graph, points: dict[str, np.ndarray], got: list[dict[str, float]]) -> None:
    for path, wanted in graph.evaluate(points).items():
        found = [row[path] for row in got]
        every = np.broadcast_to(wanted, len(found))
        np.testing.assert_allclose(found, every, rtol=RELATIVE, atol=ABSOLUTE, err_msg=path)


@pytest.mark.parametrize("name", CASES)
def test_node_computes_the_same(name, tmp_path):
    traced = case(name).traced
    points = many_points(traced, POINTS)
    script = f"{javascript_function(traced.graph)}\nconst points = {json.dumps(rows(points))};\n"
    compare(traced.graph, points, run_node(script + "console.log(JSON.stringify(points.map(estimate)))", tmp_path))


@needs_chromium
@pytest.mark.parametrize("name", ["dense", "experts over replicas", "recurrence"])
def test_chromium_computes_the_same(name, tmp_path):
    traced = case(name).traced
    points = many_points(traced, POINTS)
    script = f"{javascript_function(traced.graph)}\nconst points = {json.dumps(rows(points))};\n"
    compare(traced.graph, points, run_in_chromium(script + "return points.map(estimate);", tmp_path))


def test_every_operation_is_the_same(tmp_path):
    """Halves are rounded to even, products are not regrouped, and conditions are numbers when they come out."""
    with Trace() as trace:
        x, y = trace.input("x"), trace.input("y")
        graph = trace.graph(
            {
                "rint": np.rint(x),
                "grouped": (x * (y / 3.0)) - (x - (y - 0.1)) + x / (y * 7.0) / (x + 5.0),
                "negative": -x * -2.0 - (-y) - -1e-7,
                "powers": np.power(np.abs(x) + 1.0, y) + np.sqrt(y) + np.exp(x / 9.0) + np.expm1(x / 9.0),
                "logarithms": np.log(y) + np.log1p(y) + np.log2(y) + np.ceil(x) + np.floor(x),
                "limits": np.maximum(np.minimum(x, y), np.where((x < y) & ~(x <= 1.0) | (x == y), 3.0, x)),
                "is less": x < y,
                "differs": (x != y) & (y > 0.0),
                "nested": np.where(np.where(x < 1.0, 2.0, x) == 2.0, (x < y) * 3.0, 4.0),
                "infinite": np.where(x > 100.0, np.inf, np.where(x < -100.0, -np.inf, 1e300)),
                "constant": 2.5,
            }
        )
    points = {"x": np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.0]), "y": np.array([3.0, 0.7, 1.1, 2.2, 1.5, 9.0, 2.0])}
    script = f"{javascript_function(graph)}\nconst points = {json.dumps(rows(points))};\n"
    got = run_node(script + "console.log(JSON.stringify(points.map(estimate)))", tmp_path)
    compare(graph, points, got)
    assert all(type(row["is less"]) is int for row in got)


def test_the_name_of_the_function_is_given():
    with Trace() as trace:
        graph = trace.graph({"out": trace.input('a strange "name"') + 1.0})
    text = javascript_function(graph, "other")
    assert text.startswith("function other(inputs) {")
    assert 'inputs["a strange \\"name\\""]' in text
