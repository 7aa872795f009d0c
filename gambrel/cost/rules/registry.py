"""The table of cost rules by op, and what a rule returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from xdsl.ir import Operation, SSAValue

from gambrel.cost.rows import Family, KernelSpec
from gambrel.errors import Problem, UnpricedOpError
from gambrel.ir.expr import ZERO, Expr, total
from gambrel.ir.formats import FORMATS
from gambrel.ir.model import WeightOp
from gambrel.ir.verify import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a rule says of one kernel.

    Attributes:
        family: What its time is booked under.
        kernel: What is priced.
        flops: FLOPs of one execution on one device.
        reads: Bytes read from device memory by value; a value that a fused neighbour makes is not read.
        writes: Bytes written to device memory by value.
        network_bytes: Size of the transferred buffer.
        rate: Number format whose matrix rate applies.
        formula: The closed form, in words, with its source.
    """

    family: Family
    kernel: KernelSpec
    flops: Expr = ZERO
    reads: Mapping[SSAValue, Expr] = field(default_factory=dict[SSAValue, Expr])
    writes: Mapping[SSAValue, Expr] = field(default_factory=dict[SSAValue, Expr])
    network_bytes: Expr = ZERO
    rate: str = ""
    formula: str = ""

    @property
    def bytes_read(self) -> Expr:
        """All bytes read."""
        return total(self.reads.values())

    @property
    def bytes_written(self) -> Expr:
        """All bytes written."""
        return total(self.writes.values())

    @property
    def weight_bytes(self) -> Expr:
        """Bytes of parameters among those read."""
        return weights_among(self.reads)


def weights_among(reads: Mapping[SSAValue, Expr]) -> Expr:
    """Bytes of parameters among those that are read."""
    return total(size for value, size in reads.items() if isinstance(value.owner, WeightOp))


OpT = TypeVar("OpT", bound=Operation)
Rule = Callable[[Operation], Draft | None]

_RULES: dict[type[Operation], Rule] = {}


def rule(*ops: type[OpT]) -> Callable[[Callable[[OpT], Draft | None]], Callable[[OpT], Draft | None]]:
    """Register the cost rule of some ops; it returns None for an op that launches no kernel (a view)."""

    def register(function: Callable[[OpT], Draft | None]) -> Callable[[OpT], Draft | None]:
        for op in ops:
            if op in _RULES:
                raise ValueError(f"{op.name} has two cost rules: {_RULES[op].__module__} and {function.__module__}")
            _RULES[op] = cast(Rule, function)
        return function

    return register


def draft(op: Operation) -> Draft | None:
    """What an op costs; None where it launches no kernel.

    Raises:
        UnpricedOpError: The op has no rule.
    """
    found = _RULES.get(type(op))
    if found is None:
        raise UnpricedOpError(
            Problem(
                where=describe(op),
                what=f"{op.name} has no cost rule",
                why="an op without a rule would be free by omission",
                fix="Register one with gambrel.cost.rules.registry.rule, or allow unpriced ops for a lower bound",
            )
        )
    return found(op)


def has_rule(op: Operation) -> bool:
    """Whether an op has a cost rule."""
    return type(op) in _RULES


def priced_ops() -> dict[str, str]:
    """Ops with a rule, by name, and the first line of the rule's description."""
    return {
        op.name: (function.__doc__ or "").strip().splitlines()[0]
        for op, function in sorted(_RULES.items(), key=lambda item: item[0].name)
    }


def bytes_of(format_name: str) -> float:
    """Bytes of one element as a double."""
    return float(FORMATS[format_name].bytes_per_element)


def element_bytes(elements: Expr, format_name: str) -> Expr:
    """Bytes of so many elements, block scales counted."""
    width = FORMATS[format_name].bytes_per_element
    return elements * width.numerator / width.denominator


def product_rate(left: str, right: str) -> str:
    """Number format whose matrix rate multiplies two formats: the wider one, after the narrower is widened.

    Two formats of the same width but different kind meet in bf16.
    """
    first, second = FORMATS[left], FORMATS[right]
    if first.rate == second.rate:
        return first.rate
    if first.bits != second.bits:
        wider = first if first.bits > second.bits else second
        return wider.rate if wider.bits != 4 else "bf16"
    return "bf16" if first.bits <= 16 else "fp32"
