"""A dataflow graph of scalar arithmetic: inputs and constants, operations on them, and named outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.codegen.operations import OPERATIONS, Value

CONSTANT, INPUT = "constant", "input"
"""What a node is that is no operation."""


class Node(NamedTuple):
    """One node.

    Attributes:
        operation: A key of OPERATIONS, CONSTANT or INPUT.
        operands: Indices of the nodes that it takes.
        constant: The value of a constant.
        name: The name of an input.
    """

    operation: str
    operands: tuple[int, ...] = ()
    constant: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph without dead nodes.

    Attributes:
        nodes: Each after its operands.
        outputs: The node of each output.
    """

    nodes: Sequence[Node]
    outputs: Mapping[str, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that some output depends on."""
        return tuple(node.name for node in self.nodes if node.operation == INPUT)

    def evaluate(self, inputs: Mapping[str, NDArray[np.float64] | float]) -> dict[str, NDArray[np.float64]]:
        """The outputs; inputs are numbers, or arrays that broadcast against each other.

        Raises:
            KeyError: An input is missing.
        """
        values = self.values(inputs)
        return {name: np.asarray(values[index], dtype=np.float64) for name, index in self.outputs.items()}

    def values(self, inputs: Mapping[str, NDArray[np.float64] | float]) -> list[Value]:
        """The value of every node.

        Raises:
            KeyError: An input is missing.
        """
        values: list[Value] = []
        with np.errstate(all="ignore"):
            for node in self.nodes:
                if node.operation == CONSTANT:
                    values.append(node.constant)
                elif node.operation == INPUT:
                    values.append(inputs[node.name])
                else:
                    values.append(OPERATIONS[node.operation](*(values[i] for i in node.operands)))
        return values
