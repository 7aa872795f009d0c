"""NumPy functions of traced arrays give graphs that compute what NumPy computes."""

import numpy as np
import pytest

from gambrel.codegen.builder import Builder
from gambrel.codegen.traced import Traced, TraceError
from gambrel.codegen.tracing import Trace

X, Y = np.array([0.3, 1.0, 2.5]), np.array([2.0, 1.0, 0.7])

CASES = {
    "arithmetic": lambda x, y: (x + 2.0) * y - x / y + (-y) ** 2.0,
    "array on the left": lambda x, y: np.array([1.0, 2.0, 3.0]) * x + np.float64(2.0) / y,
    "comparisons": lambda x, y: np.where((x < y) & ~(x <= 0.5) | (y >= 1.0) & (y > x), x, y),
    "equality": lambda x, y: np.where((x == y) | (x != 2.5), 1.0, y),
    "logical": lambda x, y: np.where(np.logical_and(x > 0.5, np.logical_not(np.logical_or(y > 1.0, x > 2.0))), x, y),
    "roundings": lambda x, y: np.ceil(x * 3.0) + np.floor(y) + np.rint(x + 1.5),
    "whole division": lambda x, y: (7.0 * x) // y + (7.0 * x) % y,
    "powers": lambda x, y: np.sqrt(x) + np.square(y) + np.power(x, y) + np.reciprocal(x) + np.float_power(x, 1.5),
    "exponentials": lambda x, y: np.exp(x) + np.expm1(y) + np.log(x) + np.log1p(y) + np.log2(x) + np.abs(-x),
    "limits": lambda x, y: np.clip(x, 0.5, y) + np.clip(x, None, 1.0) + np.minimum(x, y) * np.maximum(x, y),
    "infinite": lambda x, y: np.where(np.isfinite(x) & ~np.isnan(y) & ~np.isinf(x), x, y),
    "select": lambda x, y: np.select([x < 0.5, x < 2.0], [y, x * y], 3.0),
    "sums": lambda x, y: np.sum(x) + np.prod(y) + np.add.reduce(x * y) + x @ y,
    "running maximum": lambda x, y: np.maximum.accumulate(np.stack([x, y, x - y])),
    "shapes": lambda x, y: np.stack(np.broadcast_arrays(x[..., None], y)).reshape(-1)[1:7] * x.size,
    "moved": lambda x, y: np.moveaxis(np.concatenate([x[None], y[None]]), 0, -1).ravel() + np.ndim(x) + np.size(y),
    "copied": lambda x, y: x.copy().astype(np.float64)[::-1] + len(y),
}


@pytest.mark.parametrize("case", CASES)
def test_a_graph_computes_what_numpy_does(case):
    b = Builder()
    x, y = (Traced(b, [b.input(f"{name}{i}") for i in range(3)]) for name in "xy")
    out = CASES[case](x, y)
    graph = b.graph({str(number): node for number, node in enumerate(out.ids.ravel().tolist())})
    inputs = {f"x{i}": X[i] for i in range(3)} | {f"y{i}": Y[i] for i in range(3)}
    got = np.reshape([float(value) for value in graph.evaluate(inputs).values()], out.shape)
    np.testing.assert_allclose(got, CASES[case](X, Y), rtol=1e-15)


def test_inputs_may_be_arrays():
    with Trace() as trace:
        x, y = trace.input("x"), trace.input("y")
        graph = trace.graph({"out": np.where(x > 1.0, x * y, np.ceil(y))})
    x, y = X, Y[:, None]
    np.testing.assert_array_equal(graph.evaluate({"x": x, "y": y})["out"], np.where(x > 1.0, x * y, np.ceil(y)))


def test_a_shortcut_for_uniform_arrays_is_not_taken():
    x = Trace().input("x")
    assert not np.all(x > 0.0)
    assert np.any(x > 0.0)


def test_what_holds_for_every_choice_is_known():
    tp = Trace().input("tp", (1.0, 2.0, 8.0))
    assert np.all(tp <= 8.0)
    assert not np.any(tp > 8.0)
    assert not np.all(tp < 8.0)
    assert np.any(tp == 2.0)
    assert (np.max(64.0 / tp), np.min(64.0 / tp), np.max(tp, initial=100.0)) == (64.0, 8.0, 100.0)


@pytest.mark.parametrize(
    "ask",
    [
        bool,
        int,
        float,
        np.max,
        lambda x: np.add(x, 1.0, out=np.zeros(())),
        np.tan,
        np.linalg.norm,
        lambda x: np.eye(2) @ np.stack([x, x])[:, None],
        lambda x: np.add.outer(x, x),
    ],
)
def test_what_a_graph_cannot_answer_is_an_error(ask):
    with pytest.raises(TraceError):
        ask(Trace().input("x"))


def test_plain_modules_take_traced_arrays_while_tracing():
    from gambrel.estimation import points

    with Trace() as trace:
        where = points.Points.of(batch=trace.input("batch"), isl=1024.0, osl=2.0, dp=4.0)
        graph = trace.graph({"b": where.binding("decode")["b"], "devices": where.devices})
    assert graph.evaluate({"batch": 9.0}) == {"b": 9.0, "devices": 4.0}
    assert points.np is np


def test_numpy_is_given_back_after_an_error():
    from gambrel.estimation import points

    def fail() -> None:
        with Trace():
            assert points.np is not np
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert points.np is np
