"""Derivatives of a graph at a point: exact by reverse mode, and from either side where two operands tie.

Between their steps roundings have slope zero, so that a derivative by what is rounded says nothing about the next step:
it is meant for numbers that are not counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gambrel.codegen.graph import CONSTANT, INPUT, Graph, Node
from gambrel.codegen.operations import CONDITIONS, OPERATIONS, ROUNDINGS

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


def kink(graph: Graph, inputs: Mapping[str, float], output: str, name: str) -> Kink:
    """The derivatives of an output by one input from the left and from the right.

    Where `max` or `min` has two equal operands, the one that is picked a little further on counts. Where a rounding or
    a condition changes at this very point, and the output with it, there is none: NaN.

    Raises:
        KeyError: An input is missing, or there is no such input or output.
    """
    if name not in graph.inputs:
        raise KeyError(name)
    values = _numbers(graph, inputs)
    return Kink(left=-_Ray(graph, values, name, -1.0).slope(output), right=_Ray(graph, values, name, 1.0).slope(output))


class _Ray:
    """How every node moves as one input sets out from a point: its slope, and for conditions what holds then."""

    def __init__(self, graph: Graph, values: Sequence[float], name: str, direction: float) -> None:
        self._values = values
        self._outputs = graph.outputs
        self._slopes: list[float] = []
        self._after: list[float] = []
        with np.errstate(all="ignore"):
            for index, node in enumerate(graph.nodes):
                start = direction if node.operation == INPUT and node.name == name else 0.0
                slope, after = (start, values[index]) if not node.operands else self._moved(node, index)
                self._slopes.append(slope)
                self._after.append(after)

    def slope(self, output: str) -> float:
        """Slope of an output."""
        return self._slopes[self._outputs[output]]

    def _moved(self, node: Node, index: int) -> tuple[float, float]:
        values = [self._values[i] for i in node.operands]
        slopes = [self._slopes[i] for i in node.operands]
        out = self._values[index]
        if node.operation in CONDITIONS:
            return 0.0, self._holds(node, values, slopes)
        if node.operation in ROUNDINGS:
            return self._rounded(node.operation, values[0], slopes[0]), out
        if node.operation in ("max", "min") and _ties(*values):
            return (max if node.operation == "max" else min)(slopes), out
        if node.operation == "where":
            taken = 1 if self._after[node.operands[0]] else 2
            same = _ties(values[taken], out)
            return (slopes[taken] if same else np.nan), out
        if not any(slopes):
            return 0.0, out
        found = SLOPES.get(node.operation)
        parts = found(values, out) if found else ()
        return sum(float(d) * s for d, s in zip(parts, slopes, strict=True) if d != 0.0 and s != 0.0), out

    def _holds(self, node: Node, values: Sequence[float], slopes: Sequence[float]) -> float:
        """Whether a condition holds a little further on."""
        if node.operation in ("and", "or", "not"):
            after = [self._after[i] for i in node.operands]
            return float(OPERATIONS[node.operation](*after))
        if _ties(*values) and slopes[0] != slopes[1]:
            values = slopes
        return float(OPERATIONS[node.operation](*values))

    @staticmethod
    def _rounded(operation: str, value: float, slope: float) -> float:
        """Zero, or NaN where the next step begins here."""
        if slope == 0.0:
            return 0.0
        step = value - 0.5 if operation == "rint" else value
        leaves = slope > 0.0 if operation == "ceil" else slope < 0.0 if operation == "floor" else True
        return np.nan if _ties(step, np.rint(step)) and leaves else 0.0


def _numbers(graph: Graph, inputs: Mapping[str, float]) -> list[np.float64]:
    """The value of every node as NumPy has it, whose division by zero is infinite."""
    return [np.float64(value) for value in graph.values(inputs)]


def _ties(x: float, y: float) -> bool:
    return x == y or abs(x - y) <= TIE * max(abs(x), abs(y))
