"""The `model` dialect: what a network computes, with symbolic shapes and placement in the types."""

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Dialect
from xdsl.irdl import IRDLOperation, irdl_op_definition, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.attention import AttentionOp
from gambrel.ir.experts import CombineOp, DispatchOp, RouteOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.op import strings
from gambrel.ir.pointwise import CastOp, ConcatOp, MapOp, NormOp, RopeOp, SliceOp
from gambrel.ir.scan import Conv1dOp, ScanOp
from gambrel.ir.tokens import EmbedOp, SampleOp, TakeLastOp
from gambrel.ir.types import TensorType, tensor

Role = Literal["matmul", "expert", "embedding", "head", "router", "norm", "bias", "scalar", "scan"]
"""What a weight is for: quantisation and sharding choose by it. `scan` are the small parameters of a recurrence and of
the convolution before it: they keep their format and are split with the heads."""


@irdl_op_definition
class WeightOp(IRDLOperation):
    """A parameter of the model, declared where it is used; the same name in two phases is one tensor in memory.

    Properties:
        label: Its name within the layer, `attn.q`.
        role: What it is for: matmul, expert, embedding, head, router, norm, bias, scalar or scan.
        dims: Logical name of each dim (`hidden`, `heads`, `ffn`, `experts`, `vocab`, ...); a sharding strategy maps
            these names to mesh axes.
    """

    name = "model.weight"
    label = prop_def(StringAttr)
    role = prop_def(StringAttr)
    dims = prop_def(ArrayAttr[StringAttr])
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$label `role` $role `dims` $dims attr-dict `:` type($res)"

    def __init__(self, label: str, role: Role, dims: Sequence[str], kind: TensorType) -> None:
        """Declare a weight."""
        properties = {"label": StringAttr(label), "role": StringAttr(role), "dims": strings(dims)}
        super().__init__(properties=properties, result_types=[kind])

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Logical names of the dims."""
        return tuple(item.data for item in self.dims)

    @property
    def type(self) -> TensorType:
        """Type of the weight."""
        return tensor(self.res)

    def verify_(self) -> None:
        """One name for each dim; a weight is never a partial sum."""
        if len(self.dims) != len(self.type.dims):
            raise VerifyException(f"{len(self.dims)} dim names for {self.type}")
        if self.type.partial:
            raise VerifyException("a weight cannot be partial")


@irdl_op_definition
class InputOp(IRDLOperation):
    """A tensor that comes from outside the step, such as the token ids."""

    name = "model.input"
    label = prop_def(StringAttr)
    dims = prop_def(ArrayAttr[StringAttr])
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$label `dims` $dims attr-dict `:` type($res)"

    def __init__(self, label: str, dims: Sequence[str], kind: TensorType) -> None:
        """Declare an input."""
        properties = {"label": StringAttr(label), "dims": strings(dims)}
        super().__init__(properties=properties, result_types=[kind])

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Logical names of the dims."""
        return tuple(item.data for item in self.dims)

    @property
    def type(self) -> TensorType:
        """Type of the input."""
        return tensor(self.res)

    def verify_(self) -> None:
        """One name for each dim."""
        if len(self.dims) != len(self.type.dims):
            raise VerifyException(f"{len(self.dims)} dim names for {self.type}")


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
