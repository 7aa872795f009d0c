"""Builds a graph node by node: equal nodes are one, and what is known beforehand is computed at once."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gambrel.codegen.graph import CONSTANT, INPUT, Graph, Node
from gambrel.codegen.operations import OPERATIONS

COMMUTATIVE = frozenset(("add", "mul", "max", "min", "eq", "ne", "and", "or"))


class Builder:
    """Nodes so far.

    An input with *choices* takes one of a few values, such as a degree. A node that depends on no other inputs is
    known at every combination of them, and is a constant where it has the same value at all.
    """

    def __init__(self) -> None:
        """Start without nodes."""
        self.nodes: list[Node] = []
        self._made: dict[tuple[str, tuple[int, ...], str | float], int] = {}
        self._known: dict[int, NDArray[np.float64]] = {}
        self._axes = 0

    def constant(self, value: float) -> int:
        """The node of a constant."""
        value = float(value)
        key = (CONSTANT, (), repr(value))
        if key not in self._made:
            self._made[key] = self._add(Node(CONSTANT, constant=value))
            self._known[self._made[key]] = np.asarray(value)
        return self._made[key]

    def input(self, name: str, choices: Sequence[float] = ()) -> int:
        """The node of an input; `choices` are all the values that it ever takes, where those are few."""
        key = (INPUT, (), name)
        if key not in self._made:
            self._made[key] = self._add(Node(INPUT, name=name))
            if choices:
                self._known[self._made[key]] = np.asarray(choices, dtype=np.float64).reshape(-1, *(1,) * self._axes)
                self._axes += 1
        return self._made[key]

    def known(self, node: int) -> NDArray[np.float64] | None:
        """Every value that a node takes, where it depends on inputs with choices only."""
        return self._known.get(node)

    def value(self, node: int) -> float | None:
        """The value of a constant; None for every other node."""
        found = self.nodes[node]
        return found.constant if found.operation == CONSTANT else None

    def apply(self, operation: str, *operands: int) -> int:
        """The node of an operation on nodes, or a simpler one with the same value."""
        simpler = self._simpler(operation, operands)
        if simpler is not None:
            return simpler
        known = self._evaluated(operation, operands)
        if known is not None and (known == known.flat[0]).all():
            return self.constant(float(known.flat[0]))
        key = (operation, tuple(sorted(operands)) if operation in COMMUTATIVE else operands, "")
        if key not in self._made:
            self._made[key] = self._add(Node(operation, operands))
            if known is not None:
                self._known[self._made[key]] = known
        return self._made[key]

    def graph(self, outputs: Mapping[str, int]) -> Graph:
        """The graph of some outputs, without what none of them needs."""
        needed: set[int] = set()
        stack = list(outputs.values())
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack += self.nodes[node].operands
        order = sorted(needed)
        index = {old: new for new, old in enumerate(order)}
        nodes = tuple(
            self.nodes[old]._replace(operands=tuple(index[i] for i in self.nodes[old].operands)) for old in order
        )
        return Graph(nodes=nodes, outputs={name: index[node] for name, node in outputs.items()})

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _evaluated(self, operation: str, operands: Sequence[int]) -> NDArray[np.float64] | None:
        values = [self._known.get(node) for node in operands]
        if any(value is None for value in values):
            return None
        with np.errstate(all="ignore"):
            return np.asarray(OPERATIONS[operation](*values), dtype=np.float64)

    def _simpler(self, operation: str, operands: Sequence[int]) -> int | None:
        """A node that is already there, or a constant, with the value of an operation on finite numbers."""
        if operation == "where":
            condition, yes, no = operands
            known = self.value(condition)
            return yes if yes == no else None if known is None else yes if known else no
        if len(operands) != 2:
            return None
        left, right = operands
        x, y = self.value(left), self.value(right)
        match operation:
            case "add":
                return right if x == 0.0 else left if y == 0.0 else None
            case "sub":
                return left if y == 0.0 else self.constant(0.0) if left == right else None
            case "mul":
                if x == 0.0 or y == 0.0:
                    return self.constant(0.0)
                return right if x == 1.0 else left if y == 1.0 else None
            case "div":
                if x == 0.0 or y == 1.0:
                    return left
                return self.constant(1.0) if left == right else None
            case "pow":
                return left if y == 1.0 else self.constant(1.0) if y == 0.0 else None
            case "max" | "min":
                least = -math.inf if operation == "max" else math.inf
                return left if left == right or y == least else right if x == least else None
            case "lt" | "ne":
                return self.constant(0.0) if left == right else None
            case "le" | "eq":
                return self.constant(1.0) if left == right else None
            case "and":
                if x == 0.0 or y == 0.0:
                    return self.constant(0.0)
                return right if x is not None else left if y is not None or left == right else None
            case "or":
                if (x is not None and x != 0.0) or (y is not None and y != 0.0):
                    return self.constant(1.0)
                return right if x == 0.0 else left if y == 0.0 or left == right else None
            case _:
                return None
