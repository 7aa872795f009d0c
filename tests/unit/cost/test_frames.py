"""Kernels are priced on the distinct values of what they depend on; every point gets the price of its own."""

import numpy as np
import pytest

from gambrel.cost.frames import Frame, atoms_of, find_frames
from gambrel.cost.program import add
from gambrel.cost.vectorise import Interpreted, Vectorised
from gambrel.ir.expr import as_expr, ceildiv, hit, maximum, minimum

B, S, TP, DP = (as_expr(name) for name in ("b", "s", "tp", "dp"))
LOCAL = ceildiv(B, DP)
EXPRESSIONS = (
    LOCAL * S * 7168,
    LOCAL * ceildiv(as_expr(128), TP) * 2 + 3,
    minimum(S, 512) * maximum(LOCAL, TP) + S * S / 2,
    hit(as_expr(8), as_expr(256), as_expr(8), LOCAL * S),
    as_expr(5),
    as_expr(0),
)


def grid() -> dict[str, np.ndarray]:
    """Batches that grow with the replicas, so that local batches repeat: `[degrees, batches, lengths]`."""
    dp = np.array([1.0, 2.0, 4.0, 8.0] * 10)[:, None, None]
    return {
        "dp": dp,
        "tp": np.repeat([1.0, 2.0, 4.0, 8.0], 10)[:, None, None],
        "b": dp * np.arange(1.0, 41.0)[None, :, None],
        "s": np.array([64.0, 512.0, 4000.0])[None, None, :],
    }


def test_interpreted_has_the_bits_of_the_compiled_function() -> None:
    values, compiled = Interpreted(grid().items()), Vectorised(EXPRESSIONS)(grid())
    for expression in EXPRESSIONS:
        np.testing.assert_array_equal(values(expression), compiled[expression], err_msg=str(expression))
        assert values(expression).shape == compiled[expression].shape
    with pytest.raises(KeyError):
        values(as_expr("unknown"))


def frames_of(*groups: tuple, nodes: bool = False, binding: dict | None = None) -> list[Frame]:
    """A frame for each group of expressions."""
    points = Interpreted((binding or grid()).items())
    atoms = [atoms_of(group) for group in groups]
    found = find_frames({atom: points.atom(atom) for each in atoms for atom in each}, atoms, nodes=nodes)
    return [found[each] for each in atoms]


def test_spread_is_what_all_points_would_have() -> None:
    (frame,) = frames_of(EXPRESSIONS[:2])
    assert frame.shape == (4 * 3, 40)  # degrees with lengths, and local batches
    on_frame, at_points = Interpreted(frame.values.items()), Interpreted(grid().items())
    for expression in EXPRESSIONS[:2]:
        spread = np.broadcast_to(frame.spread(on_frame(expression)), (40, 40, 3))
        np.testing.assert_array_equal(spread, np.broadcast_to(at_points(expression), (40, 40, 3)))


def test_kernels_of_the_same_axes_share_a_frame_on_which_they_are_added_up() -> None:
    first, second, third = frames_of((LOCAL * S,), (LOCAL * S * TP,), (LOCAL * TP,))
    assert first is second
    assert third is not first  # does not vary with the length
    on_frame, at_points = Interpreted(first.values.items()), Interpreted(grid().items())
    both = first.spread(add([on_frame(LOCAL * S), on_frame(LOCAL * S * TP)]))
    np.testing.assert_array_equal(both, at_points(LOCAL * S) + at_points(LOCAL * S * TP))


def test_some_points_are_those_of_all() -> None:
    (frame,) = frames_of((LOCAL * S * TP,))
    value = Interpreted(frame.values.items())(LOCAL * S * TP)
    where = (np.array([0, 3, 39]), np.array([39, 0, 7]), np.array([2, 1, 0]))
    few = frame.spread(value, lambda values: np.broadcast_to(values, (40, 40, 3))[where])
    np.testing.assert_array_equal(few, frame.spread(value)[where])


def test_nodes_of_a_quadrature_stay_together() -> None:
    first = np.array([0.0, 100.0, 0.0, 100.0])[:, None]
    binding = {"c": first + np.array([1.0, 2.0, 3.0]), "b": np.array([1.0, 1.0, 2.0, 2.0] * 500)[:, None, None]}
    c, b = as_expr("c"), as_expr("b")
    (frame,) = frames_of((c * b,), nodes=True, binding=binding)
    assert frame.shape == (2, 2)
    on_frame = Interpreted(frame.values.items())(c * b)
    np.testing.assert_array_equal(
        frame.spread(on_frame[..., 1]), np.broadcast_to((binding["c"] * binding["b"])[..., 1], (2000, 4))
    )


def test_there_is_none_where_points_share_too_little() -> None:
    binding = {"b": np.arange(1.0, 5001.0), "s": np.arange(5000.0, 0.0, -1.0)}
    points = {name: binding[name] for name in ("b", "s")}
    assert find_frames(points, [("b", "s")], nodes=False) == {}
