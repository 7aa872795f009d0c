"""The `structure` dialect: phases, repeated layers, pipeline stages and groups of ops that run as one kernel."""

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import StringAttr, UnitAttr
from xdsl.ir import Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import Expr
from gambrel.ir.types import ExprAttr, TensorType, parse_expr

PhaseName = Literal["prefill", "decode"]
GroupKind = Literal["product", "pointwise"]


@irdl_op_definition
class YieldOp(IRDLOperation):
    """What a region hands out."""

    name = "structure.yield"
    values = var_operand_def(TensorType)
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "($values^ `:` type($values))? attr-dict"

    def __init__(self, *values: SSAValue) -> None:
        """Hand out these values."""
        super().__init__(operands=[values])


@irdl_op_definition
class PhaseOp(IRDLOperation):
    """One kind of step of the model: `prefill` (all tokens of the prompt) or `decode` (one token per sequence).

    Symbols: `b` sequences, `s` new tokens of each, `c` tokens of each that are cached already.
    """

    name = "structure.phase"
    phase = prop_def(StringAttr)
    body = region_def("single_block")
    assembly_format = "$phase $body attr-dict"

    def __init__(self, phase: PhaseName, body: Region) -> None:
        """Wrap the body."""
        super().__init__(properties={"phase": StringAttr(phase)}, regions=[body])

    def verify_(self) -> None:
        """The name is known and the region ends with a yield."""
        if self.phase.data not in ("prefill", "decode"):
            raise VerifyException(f"unknown phase '{self.phase.data}'; known: prefill, decode")
        _terminator(self.body, self.name)


@irdl_op_definition
class RepeatOp(IRDLOperation):
    """`N` layers of the same shape, stored once: `%y = structure.repeat 80 (%x = %x0) : type { ... }`.

    Weights and caches inside the body exist once for each repetition.
    """

    name = "structure.repeat"
    count = prop_def(ExprAttr)
    label = opt_prop_def(StringAttr)
    init = var_operand_def(TensorType)
    res = var_result_def(TensorType)
    body = region_def("single_block")
    traits = traits_def(RecursiveMemoryEffect())

    def __init__(self, count: Expr, init: Sequence[SSAValue], body: Region, label: str = "") -> None:
        """Repeat the body; its block arguments are what one repetition hands to the next."""
        super().__init__(
            properties={"count": ExprAttr(count), "label": StringAttr(label) if label else None},
            operands=[init],
            result_types=[[value.type for value in init]],
            regions=[body],
        )

    def verify_(self) -> None:
        """Carried values keep their types."""
        wanted = [value.type for value in self.init]
        for types in (
            [arg.type for arg in self.body.block.args],
            [value.type for value in _terminator(self.body, self.name).operands],
            [result.type for result in self.res],
        ):
            if types != wanted:
                raise VerifyException("values carried from one repetition to the next must keep their types")

    def print(self, printer: Printer) -> None:
        """Print `N "label" (%x = %init) : types { ... }`."""
        printer.print_string(f" {self.count.data} ")
        if self.label is not None:
            printer.print_attribute(self.label)
            printer.print_string(" ")
        printer.print_string("(")
        for number, (arg, init) in enumerate(zip(self.body.block.args, self.init, strict=True)):
            printer.print_string(", " if number else "")
            printer.print_ssa_value(arg)
            printer.print_string(" = ")
            printer.print_ssa_value(init)
        printer.print_string(") : ")
        printer.print_list(self.init.types, printer.print_attribute)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> "RepeatOp":
        """Parse what `print` writes."""
        count = parse_expr(parser)
        label = parser.parse_optional_str_literal() or ""

        def pair() -> tuple[Parser.UnresolvedArgument, UnresolvedOperand]:
            arg = parser.parse_argument(expect_type=False)
            parser.parse_punctuation("=")
            return arg, parser.parse_unresolved_operand()

        pairs = parser.parse_comma_separated_list(parser.Delimiter.PAREN, pair)
        parser.parse_punctuation(":")
        types = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
        init = parser.resolve_operands([value for _, value in pairs], types, parser.pos)
        args = [arg.resolve(kind) for (arg, _), kind in zip(pairs, types, strict=True)]
        return cls(count, init, parser.parse_region(args), label)


@irdl_op_definition
class StageOp(IRDLOperation):
    """Layers that are dealt in order to the pipeline stages of axis `pp`, as evenly as whole layers allow.

    The carried values cross from each stage to the next by a point-to-point send.
    """

    name = "structure.stage"
    init = var_operand_def(TensorType)
    res = var_result_def(TensorType)
    body = region_def("single_block")
    traits = traits_def(RecursiveMemoryEffect())
    assembly_format = "$init `:` type($init) $body attr-dict `->` type($res)"

    def __init__(self, init: Sequence[SSAValue], body: Region, result_types: Sequence[TensorType]) -> None:
        """Wrap the layers."""
        super().__init__(operands=[init], result_types=[list(result_types)], regions=[body])

    def verify_(self) -> None:
        """The stage hands on what it took in."""
        if [value.type for value in self.init] != [value.type for value in self.res]:
            raise VerifyException("values that cross stages must keep their types")
        if [value.type for value in _terminator(self.body, self.name).operands] != [r.type for r in self.res]:
            raise VerifyException("the yielded types differ from the results")


@irdl_op_definition
class GroupOp(IRDLOperation):
    """Ops that run as one kernel: what flows between them stays on chip.

    Properties:
        kind: What the kernel is, one of GroupKind.
        joins_previous: The kernel is the tail of the last kernel of the repetition before (a norm that runs together
            with the residual addition that ends the layer before it).
    """

    irdl_options = (ParsePropInAttrDict(),)
    name = "structure.group"
    kind = prop_def(StringAttr)
    joins_previous = opt_prop_def(UnitAttr)
    res = var_result_def(TensorType)
    body = region_def("single_block")
    traits = traits_def(RecursiveMemoryEffect())
    assembly_format = "$kind $body attr-dict `->` type($res)"

    def __init__(self, kind: GroupKind, body: Region, result_types: Sequence[TensorType]) -> None:
        """Wrap the ops."""
        super().__init__(properties={"kind": StringAttr(kind)}, result_types=[list(result_types)], regions=[body])

    @property
    def yielded(self) -> Sequence[SSAValue]:
        """Values inside that the results stand for."""
        return _terminator(self.body, self.name).operands

    def verify_(self) -> None:
        """The results are what the region yields."""
        if [value.type for value in self.yielded] != [result.type for result in self.res]:
            raise VerifyException("the yielded types differ from the results")


def _terminator(region: Region, name: str) -> Operation:
    last = region.block.last_op
    if not isinstance(last, YieldOp):
        raise VerifyException(f"the region of {name} must end with structure.yield")
    return last


STRUCTURE = Dialect("structure", [YieldOp, PhaseOp, RepeatOp, StageOp, GroupOp], [ExprAttr])
