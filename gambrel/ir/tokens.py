"""The two ends of a language model: token embedding, the last position, sampling."""

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, result_def, traits_def
from xdsl.traits import Pure

from gambrel.ir.expr import ONE
from gambrel.ir.op import PlacedOp, label_property, rank_of
from gambrel.ir.types import Dim, TensorType, tensor


@irdl_op_definition
class EmbedOp(PlacedOp):
    """Rows of a table by token id: `[b, s]`, `[v, d]` -> `[b, s, d]`; partial over the axes that split the rows."""

    name = "model.embed"
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    ids = operand_def(TensorType)
    table = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$ids `,` $table attr-dict `:` functional-type(operands, results)"

    def __init__(self, ids: SSAValue, table: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        super().__init__(operands=[ids, table], properties=label_property(label), result_types=[table.type])
        self.retype()

    def infer(self) -> TensorType:
        """One row for each id."""
        table = rank_of(self.table, 2, "embedding table")
        return table.with_dims([*tensor(self.ids).dims, table.dims[1]], table.dims[0].axes)


@irdl_op_definition
class TakeLastOp(PlacedOp):
    """The last position of each sequence: `[b, s, d]` -> `[b, 1, d]`.

    Where the sequence is split one rank holds that position: the others add nothing, so the result is partial.
    """

    name = "model.take_last"
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        super().__init__(operands=[x], properties=label_property(label), result_types=[x.type])
        self.retype()

    def infer(self) -> TensorType:
        """One position; partial over the axes that split the sequence."""
        x = rank_of(self.x, 3, "x")
        return x.with_dims([x.dims[0], Dim(ONE), x.dims[2]], x.dims[1].axes)


@irdl_op_definition
class SampleOp(PlacedOp):
    """A token id from logits `[b, s, v]` -> `[b, s]`; the vocabulary must be whole."""

    name = "model.sample"
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    logits = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$logits attr-dict `:` functional-type(operands, results)"

    def __init__(self, logits: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        super().__init__(operands=[logits], properties=label_property(label), result_types=[logits.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """The vocabulary is gathered."""
        logits = rank_of(self.logits, 3, "logits")
        return [logits.with_dims([*logits.dims[:2], Dim(logits.dims[2].size)])]

    def infer(self) -> TensorType:
        """One id for each position."""
        logits = rank_of(self.logits, 3, "logits")
        return TensorType.of("i32", logits.dims[:2])
