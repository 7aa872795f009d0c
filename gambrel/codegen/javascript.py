"""A graph as a JavaScript function: plain arithmetic in the same order, so that it rounds as NumPy does.

Only powers, roots, exponentials and logarithms may differ in their last bit, as between any two libraries of C.
"""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

from gambrel.codegen.graph import CONSTANT, INPUT, Graph, Node
from gambrel.codegen.operations import CONDITIONS

OPERATORS: Mapping[str, str] = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "and": "&&",
    "or": "||",
}
"""Operations that are operators between two operands."""

CALLS: Mapping[str, str] = {
    **{name: name for name in ("abs", "pow", "sqrt", "exp", "expm1", "log", "log1p", "log2", "ceil", "floor")},
    **{name: name for name in ("max", "min", "rint")},
}
"""Operations that are calls: of `Math`, or of a function that comes along."""

LONGEST = 400
"""Characters of an expression beyond which its value gets a name."""

_HEAD = """\
"use strict";
const {abs, pow, sqrt, exp, expm1, log, log1p, log2, ceil, floor, max, min} = Math;
const rint = (x) => {
  const low = floor(x), rest = x - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
};"""


class _Text(NamedTuple):
    """An expression; `closed` ones need no parentheses around them."""

    text: str
    closed: bool


def javascript_function(graph: Graph, name: str = "estimate") -> str:
    """The text of a function from an object of inputs to an object of outputs, both by their names.

    Args:
        graph: What it computes.
        name: Of the function.
    """
    writer = _Writer(graph)
    outputs = ", ".join(f"{json.dumps(key)}: {writer.output(node)}" for key, node in graph.outputs.items())
    body = "\n".join((_HEAD, *writer.lines, f"return {{{outputs}}};"))
    return f"function {name}(inputs) {{\n{body}\n}}"


class _Writer:
    """Writes a constant for each node that is used several times, or whose expression becomes long."""

    def __init__(self, graph: Graph) -> None:
        self.lines: list[str] = []
        self._graph = graph
        self._uses = _uses(graph)
        self._texts: list[_Text] = []
        for index, node in enumerate(graph.nodes):
            text = self._expression(node)
            named = node.operation not in (CONSTANT, INPUT) and (self._uses[index] > 1 or len(text.text) > LONGEST)
            if named or node.operation == INPUT:
                self.lines.append(f"const v{index} = {text.text};")
                text = _Text(f"v{index}", True)
            self._texts.append(text)

    def output(self, index: int) -> str:
        """A node as a number."""
        text = self._closed(index)
        return f"Number({text})" if self._graph.nodes[index].operation in CONDITIONS else text

    def _expression(self, node: Node) -> _Text:
        operation, operands = node.operation, node.operands
        if operation == CONSTANT:
            return _Text(_number(node.constant), node.constant >= 0.0)
        if operation == INPUT:
            return _Text(f"inputs[{json.dumps(node.name)}]", True)
        if operation in CALLS:
            return _Text(f"{CALLS[operation]}({', '.join(self._texts[i].text for i in operands)})", True)
        closed = [self._closed(i) for i in operands]
        if operation == "where":
            return _Text(f"{closed[0]} ? {closed[1]} : {closed[2]}", False)
        if operation in ("neg", "not"):
            return _Text(f"{'-' if operation == 'neg' else '!'}{closed[0]}", False)
        return _Text(f"{closed[0]} {OPERATORS[operation]} {closed[1]}", False)

    def _closed(self, index: int) -> str:
        text = self._texts[index]
        return text.text if text.closed else f"({text.text})"


def _uses(graph: Graph) -> list[int]:
    """How often each node is used, as an output too."""
    uses = [0] * len(graph.nodes)
    for node in graph.nodes:
        for operand in node.operands:
            uses[operand] += 1
    for index in graph.outputs.values():
        uses[index] += 1
    return uses


def _number(value: float) -> str:
    """A constant, with all the digits that it takes to be the same."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0.0 else "-Infinity"
    text = repr(value)
    return text.removesuffix(".0")
