"""The `model` dialect: what a network computes, with symbolic shapes and placement in the types."""

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Dialect
from xdsl.irdl import irdl_op_definition, prop_def, traits_def
from xdsl.traits import Pure

from gambrel.ir.attention import AttentionOp
from gambrel.ir.experts import CombineOp, DispatchOp, RouteOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.op import DeclarationOp, strings
from gambrel.ir.pointwise import CastOp, ConcatOp, MapOp, MomentsOp, NormalizeOp, NormOp, RopeOp, SliceOp
from gambrel.ir.scan import Conv1dOp, ScanOp
from gambrel.ir.tokens import EmbedOp, SampleOp, TakeLastOp
from gambrel.ir.types import TensorType

Role = Literal["matmul", "expert", "embedding", "head", "router", "norm", "bias", "scalar", "scan"]
"""What a weight is for: quantisation and sharding choose by it. `scan` are the small parameters of a recurrence and of
the convolution before it: they keep their format and are split with the heads."""


@irdl_op_definition
class WeightOp(DeclarationOp):
    """A parameter of the model, declared where it is used; the same name in two phases is one tensor in memory.

    Properties:
        label: Its name within the layer, `attn.q`.
        role: What it is for: matmul, expert, embedding, head, router, norm, bias, scalar or scan.
        dims: Logical name of each dim (`hidden`, `heads`, `ffn`, `experts`, `vocab`, ...); a sharding strategy maps
            these names to mesh axes.
    """

    name = "model.weight"
    role = prop_def(StringAttr)
    traits = traits_def(Pure())
    assembly_format = "$label `role` $role `dims` $dims attr-dict `:` type($res)"

    def __init__(self, label: str, role: Role, dims: Sequence[str], kind: TensorType) -> None:
        """Declare a weight."""
        properties = {"label": StringAttr(label), "role": StringAttr(role), "dims": strings(dims)}
        super().__init__(properties=properties, result_types=[kind])

    def verify_(self) -> None:
        """One name for each dim; a weight is never a partial sum."""
        super().verify_()
        self.verify_complete()


@irdl_op_definition
class InputOp(DeclarationOp):
    """A tensor that comes from outside the step, such as the token ids."""

    name = "model.input"
    traits = traits_def(Pure())
    assembly_format = "$label `dims` $dims attr-dict `:` type($res)"

    def __init__(self, label: str, dims: Sequence[str], kind: TensorType) -> None:
        """Declare an input."""
        properties = {"label": StringAttr(label), "dims": strings(dims)}
        super().__init__(properties=properties, result_types=[kind])


MODEL = Dialect(
    "model",
    [
        WeightOp,
        InputOp,
        EinsumOp,
        GroupedEinsumOp,
        AttentionOp,
        ScanOp,
        Conv1dOp,
        MapOp,
        NormOp,
        MomentsOp,
        NormalizeOp,
        RopeOp,
        CastOp,
        SliceOp,
        ConcatOp,
        EmbedOp,
        TakeLastOp,
        SampleOp,
        RouteOp,
        DispatchOp,
        CombineOp,
    ],
    [TensorType],
)
