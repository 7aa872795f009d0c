"""Derivatives of a graph at a point: exact by reverse mode, and from either side where two operands tie.

Between their steps roundings have slope zero, so that a derivative by what is rounded says nothing about the next step:
it is meant for numbers that are not counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gambrel.codegen.graph import CONSTANT, INPUT, Graph, Node
from gambrel.codegen.operations import CONDITIONS, OPERATIONS, ROUNDINGS

Vector = NDArray[np.float64]

TIE = 1e-12
"""Relative difference below which two operands count as equal, and a number as whole: some thousand roundings."""


Slopes = Callable[[Sequence[float], float], Sequence[float]]
"""From the operands and the result to the derivative by each operand."""


def _fixed(*slopes: float) -> Slopes:
    return lambda _, __: slopes


def _of_choice(x: Sequence[float], out: float) -> Sequence[float]:
    """That of the operand that is picked, the first of two equal ones."""
    return (1.0, 0.0) if x[0] == out else (0.0, 1.0)


def _of_power(x: Sequence[float], out: float) -> Sequence[float]:
    return x[1] * np.power(x[0], x[1] - 1.0), out * math.log(x[0]) if x[0] > 0.0 else 0.0


def _of_selection(x: Sequence[float], _: float) -> Sequence[float]:
    return (0.0, 1.0, 0.0) if x[0] else (0.0, 0.0, 1.0)


SLOPES: Mapping[str, Slopes] = {
    "add": _fixed(1.0, 1.0),
    "sub": _fixed(1.0, -1.0),
    "mul": lambda x, _: (x[1], x[0]),
    "div": lambda x, out: (1.0 / x[1], -out / x[1]),
    "neg": _fixed(-1.0),
    "abs": lambda x, _: (math.copysign(1.0, x[0]),),
    "pow": _of_power,
    "sqrt": lambda _, out: (0.5 / out,),
    "exp": lambda _, out: (out,),
    "expm1": lambda _, out: (out + 1.0,),
    "log": lambda x, _: (1.0 / x[0],),
    "log1p": lambda x, _: (1.0 / (1.0 + x[0]),),
    "log2": lambda x, _: (1.0 / (x[0] * math.log(2.0)),),
    "max": _of_choice,
    "min": _of_choice,
    "where": _of_selection,
}
"""Derivatives by the operands. Conditions have none, and roundings are flat between their steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kink:
    """Derivatives from either side; NaN where the output jumps."""

    left: float
    right: float


def gradient(graph: Graph, inputs: Mapping[str, float], output: str) -> dict[str, float]:
    """The derivative of an output by every input, almost everywhere: of two operands that tie, the first counts.

    One pass forward for the values and one back, each node once (reverse-mode automatic differentiation).

    Source: A. Griewank, A. Walther, "Evaluating Derivatives", 2nd edition, SIAM 2008, chapter 3.

    Raises:
        KeyError: An input is missing, or there is no such output.
    """
    values = _numbers(graph, inputs)
    adjoints = [0.0] * len(graph.nodes)
    adjoints[graph.outputs[output]] = 1.0
    with np.errstate(all="ignore"):
        for index in range(graph.outputs[output], -1, -1):
            node, adjoint = graph.nodes[index], adjoints[index]
            if adjoint == 0.0 or node.operation in (CONSTANT, INPUT):
                continue
            slopes = SLOPES.get(node.operation)
            if slopes is not None:
                found = slopes([values[i] for i in node.operands], values[index])
                for operand, slope in zip(node.operands, found, strict=True):
                    if slope != 0.0:
                        adjoints[operand] += adjoint * float(slope)
    return {node.name: adjoints[i] for i, node in enumerate(graph.nodes) if node.operation == INPUT}


def kinks(graph: Graph, inputs: Mapping[str, float], output: str) -> dict[str, Kink]:
    """The derivatives of an output by every input from the left and from the right.

    Where `max` or `min` has two equal operands, the one that is picked a little further on counts. Where a rounding or
    a condition changes at this very point, and the output with it, there is none: NaN. One pass forward, with all
    inputs and both sides at once.

    Raises:
        KeyError: An input is missing, or there is no such output.
    """
    names = graph.inputs
    slopes = _Rays(graph, _numbers(graph, inputs)).slopes[graph.outputs[output]]
    left, right = (-slopes[0::2], slopes[1::2]) if slopes is not None else (np.zeros(len(names)),) * 2
    return {name: Kink(left=float(a), right=float(b)) for name, a, b in zip(names, left, right, strict=True)}


class _Rays:
    """How every node moves as one input sets out from a point, for each input down and up.

    Attributes:
        slopes: Of each node by direction; None where it moves in none.
    """

    def __init__(self, graph: Graph, values: Sequence[np.float64]) -> None:
        self._values = values
        self.slopes: list[Vector | None] = []
        self._after: list[Vector | np.float64] = []
        names, self._directions = graph.inputs, 2 * len(graph.inputs)
        with np.errstate(all="ignore"):
            for node, value in zip(graph.nodes, values, strict=True):
                if node.operation == INPUT:
                    moves = np.zeros(self._directions)
                    moves[2 * names.index(node.name) :][:2] = -1.0, 1.0
                    self._add(moves, value)
                elif node.operation in CONDITIONS:
                    self._add(None, self._holds(node))
                else:
                    self._add(self._slope(node, value), value)

    def _add(self, slope: Vector | None, after: Vector | np.float64) -> None:
        self.slopes.append(slope)
        self._after.append(after)

    def _slope(self, node: Node, value: np.float64) -> Vector | None:
        slopes = [self.slopes[i] for i in node.operands]
        values = [self._values[i] for i in node.operands]
        if node.operation == "where":
            return self._selected(node, value)
        if all(slope is None for slope in slopes):
            return None
        if node.operation in ROUNDINGS:
            return _rounded(node.operation, values[0], slopes[0])
        moves = [np.zeros(self._directions) if slope is None else slope for slope in slopes]
        if node.operation in ("max", "min") and _ties(*values):
            return np.asarray(OPERATIONS[node.operation](*moves))
        out = np.zeros(self._directions)
        for factor, move in zip(SLOPES[node.operation](values, value), moves, strict=True):
            if factor != 0.0:
                out = out + factor * move
        return out

    def _selected(self, node: Node, value: np.float64) -> Vector | None:
        """Of the operand that is selected a little further on, where its value is the same."""
        condition, yes, no = node.operands
        after, sides = self._after[condition], [self.slopes[yes], self.slopes[no]]
        steady = np.ndim(after) == 0
        if steady and sides[0 if after else 1] is None:
            return None
        picked = [
            np.where(_ties(self._values[i], value), 0.0 if slope is None else slope, np.nan)
            for i, slope in zip((yes, no), sides, strict=True)
        ]
        return np.where(after != 0.0, picked[0], picked[1]) * np.ones(self._directions)

    def _holds(self, node: Node) -> Vector | np.float64:
        """Whether a condition holds a little further on."""
        if node.operation in ("and", "or", "not"):
            return np.float64(1.0) * OPERATIONS[node.operation](*(self._after[i] for i in node.operands))
        now = OPERATIONS[node.operation](*(self._values[i] for i in node.operands))
        if not _ties(*(self._values[i] for i in node.operands)):
            return np.float64(now)
        left, right = (0.0 if (slope := self.slopes[i]) is None else slope for i in node.operands)
        return np.where(np.equal(left, right), now, OPERATIONS[node.operation](left, right))


def _rounded(operation: str, value: float, slope: Vector | None) -> Vector | None:
    """Zero, or NaN where the next step begins here."""
    step = value - 0.5 if operation == "rint" else value
    if slope is None or not _ties(step, np.rint(step)):
        return None
    leaves = slope > 0.0 if operation == "ceil" else slope < 0.0 if operation == "floor" else slope != 0.0
    return np.where(leaves, np.nan, 0.0)


def _numbers(graph: Graph, inputs: Mapping[str, float]) -> list[np.float64]:
    """The value of every node as NumPy has it, whose division by zero is infinite."""
    return [np.float64(value) for value in graph.values(inputs)]


def _ties(x: float, y: float) -> bool:
    return bool(x == y or abs(x - y) <= TIE * max(abs(x), abs(y)))
