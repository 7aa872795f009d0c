"""Ops whose cost is their traffic: norms, elementwise maps, rotary embedding, casts and views."""

from abc import ABC
from collections.abc import Sequence
from typing import NamedTuple

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.errors import did_you_mean
from gambrel.ir.expr import ONE, Expr, as_expr
from gambrel.ir.op import PlacedOp, integer, label_property
from gambrel.ir.types import Axes, Dim, TensorType, tensor


class MapFunction(NamedTuple):
    """An elementwise function: operands, FLOPs per element (transcendentals as one each), and whether it is linear."""

    operands: int
    flops: int
    linear: bool = False


MAPS: dict[str, MapFunction] = {
    "add": MapFunction(2, 1, linear=True),
    "bias": MapFunction(2, 1),
    "mul": MapFunction(2, 1),
    "scale": MapFunction(1, 1, linear=True),
    "relu": MapFunction(1, 1),
    "relu2": MapFunction(1, 2),
    "silu": MapFunction(1, 4),
    "gelu": MapFunction(1, 8),
    "sigmoid": MapFunction(1, 3),
    "softcap": MapFunction(1, 3),
    "silu_mul": MapFunction(2, 5),
    "gelu_mul": MapFunction(2, 9),
    "relu_mul": MapFunction(2, 2),
    "sigmoid_mul": MapFunction(2, 4),
    "clamped_silu_mul": MapFunction(2, 8),
}
"""Elementwise functions by name. FLOPs run outside the matrix units; what they take is nearly always traffic."""


@irdl_op_definition
class MapOp(PlacedOp):
    """An elementwise function of one or two tensors; the second may lack leading dims (a bias) or have dims of size 1.

    Linear functions take partial sums where all operands are partial over the same axes.
    """

    name = "model.map"
    fn = prop_def(StringAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    args_ = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$fn $args_ attr-dict `:` functional-type(operands, results)"

    def __init__(self, fn: str, *args: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"fn": StringAttr(fn), **label_property(label)}
        super().__init__(operands=[args], properties=properties, result_types=[args[0].type])
        self.retype()

    @property
    def function(self) -> MapFunction:
        """What the function is.

        Raises:
            VerifyException: The name is unknown or the number of operands does not fit.
        """
        found = MAPS.get(self.fn.data)
        if found is None:
            raise VerifyException(f"unknown elementwise function '{self.fn.data}'. {did_you_mean(self.fn.data, MAPS)}")
        if found.operands != len(self.args_):
            raise VerifyException(f"'{self.fn.data}' takes {found.operands} operands, got {len(self.args_)}")
        return found

    def accept(self) -> Sequence[TensorType]:
        """All operands are placed like the first complete one; partial sums stay where the function is linear."""
        kinds = [tensor(arg) for arg in self.args_]
        if self.function.linear and len({kind.partial for kind in kinds}) == 1 and len({k.dims for k in kinds}) == 1:
            return kinds
        full = [kind for kind in kinds if len(kind.dims) == len(kinds[0].dims)]
        lead = next((kind for kind in full if not kind.partial), full[0].complete())
        return [kind.with_dims(_follow(kind, lead)) for kind in kinds]

    def infer(self) -> TensorType:
        """The first operand's type."""
        first, *rest = (tensor(arg) for arg in self.args_)
        for kind in rest:
            if not _broadcasts(first.sizes[len(first.sizes) - len(kind.sizes) :], kind.sizes):
                raise VerifyException(f"shapes do not fit: {first} and {kind}")
        return first


def _broadcasts(sizes: Sequence[Expr], others: Sequence[Expr]) -> bool:
    return len(sizes) == len(others) and all(
        ours is theirs or theirs is ONE for ours, theirs in zip(sizes, others, strict=True)
    )


def _follow(kind: TensorType, lead: TensorType) -> list[Dim]:
    """The dims of one operand, split like the leading operand's where they are not repeated."""
    tail = lead.dims[len(lead.dims) - len(kind.dims) :]
    return [ours if ours.size is dim.size else Dim(dim.size) for ours, dim in zip(tail, kind.dims, strict=True)]


class RowOp(PlacedOp, ABC):
    """An op over rows: the last `dims` dims of its first operand, together.

    Properties:
        kind: Of the norm, `rms` or `layer`.
        dims: Trailing dims that make a row; 1 where it is left out.
    """

    kind = prop_def(StringAttr)
    dims = opt_prop_def(IntegerAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")

    @property
    def num_dims(self) -> int:
        """How many trailing dims make a row."""
        return self.dims.value.data if self.dims is not None else 1

    def split_dims(self) -> tuple[Sequence[Dim], Sequence[Dim]]:
        """Dims of the operand that count rows, and those of a row."""
        dims = tensor(self.operands[0]).dims
        return dims[: len(dims) - self.num_dims], dims[len(dims) - self.num_dims :]


def _row_properties(kind: str, dims: int, label: str) -> dict[str, Attribute | None]:
    return {"kind": StringAttr(kind), "dims": integer(dims) if dims != 1 else None, **label_property(label)}


@irdl_op_definition
class NormOp(RowOp):
    """RMS or layer normalisation over the last `dims` dims, which every device must hold whole.

    Operands after the first are the scale and the bias, where the norm has them.

    Properties:
        dims: Trailing dims that are normalised together; 1 where it is left out.
        groups: The first of those dims falls into so many groups, each normalised apart, so that it may stay split.
            More devices than groups would exchange one scalar a token and group, which is not counted.

    A norm of one group whose rows arrive split is sharded into `model.moments`, their sum over the devices, and
    `model.normalize`.
    """

    name = "model.norm"
    groups = opt_prop_def(IntegerAttr)
    x = operand_def(TensorType)
    params = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$kind $x (`,` $params^)? attr-dict `:` functional-type(operands, results)"

    def __init__(
        self, kind: str, x: SSAValue, *params: SSAValue, dims: int = 1, groups: int = 1, label: str = ""
    ) -> None:
        """Build with the inferred result type."""
        properties = _row_properties(kind, dims, label) | {"groups": integer(groups) if groups != 1 else None}
        super().__init__(operands=[x, params], properties=properties, result_types=[x.type])
        self.retype()

    @property
    def num_groups(self) -> int:
        """How many groups are normalised apart."""
        return self.groups.value.data if self.groups is not None else 1

    @property
    def row_axes(self) -> Axes:
        """The axes that split the rows of one group, whose devices have to exchange their sums."""
        alone = self.num_groups == 1 and not tensor(self.x).partial
        return tuple(axis for dim in self.split_dims()[1] for axis in dim.axes) if alone else ()

    def accept(self) -> Sequence[TensorType]:
        """The normalised dims are whole on every device, but for a first one of several groups."""
        x = tensor(self.x)
        kept = len(x.dims) - self.num_dims
        normed = [Dim(dim.size) for dim in x.dims[kept:]]
        if self.num_groups > 1:
            normed[0] = x.dims[kept]
        params = [
            param.with_dims(Dim(dim.size, like.axes) for dim, like in zip(param.dims, normed, strict=True))
            for param in map(tensor, self.params)
            if len(param.dims) == len(normed)
        ]
        if len(params) != len(self.params):
            raise VerifyException(f"scale and bias of the norm have {len(normed)} dims")
        return [x.with_dims([*x.dims[:kept], *normed]), *params]

    def infer(self) -> TensorType:
        """The operand's type."""
        if self.kind.data not in ("rms", "layer"):
            raise VerifyException(f"unknown norm '{self.kind.data}'; known: rms, layer")
        x = tensor(self.x)
        first, groups = x.dims[len(x.dims) - self.num_dims].size.constant, self.num_groups
        if isinstance(first, int) and first % groups:
            raise VerifyException(f"{first} does not fall into {groups} groups")
        for param in self.params:
            if tensor(param).sizes != x.sizes[len(x.sizes) - self.num_dims :]:
                raise VerifyException(f"scale or bias {param.type} does not fit {x}")
        return x


MOMENTS = {"rms": 1, "layer": 2}
"""Numbers a row that a norm needs of it: the sum of squares; for layer normalisation the sum, too."""


@irdl_op_definition
class MomentsOp(RowOp):
    """What a norm over split dims needs of each row: its sums, partial over the axes that split the row.

    Properties:
        kind: Of the norm.
        dims: Trailing dims that make a row.
    """

    name = "model.moments"
    x = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$kind $x attr-dict `:` functional-type(operands, results)"

    def __init__(self, kind: str, x: SSAValue, *, dims: int = 1, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = _row_properties(kind, dims, label)
        super().__init__(operands=[x], properties=properties, result_types=[x.type])
        self.retype()

    def infer(self) -> TensorType:
        """`[rows.., sums]` in fp32, partial over the axes of the row."""
        x, (rows, row) = tensor(self.x), self.split_dims()
        axes = tuple(axis for dim in row for axis in dim.axes)
        return x.with_format("fp32").with_dims([*rows, Dim(as_expr(_num_moments(self.kind.data)))], axes)


def _num_moments(kind: str) -> int:
    if kind not in MOMENTS:
        raise VerifyException(f"unknown norm '{kind}'; known: {', '.join(MOMENTS)}")
    return MOMENTS[kind]


@irdl_op_definition
class NormalizeOp(RowOp):
    """The rest of a norm whose rows are split: scales each row by its complete moments, wherever its parts are.

    Operands after the moments are the scale and the bias, where the norm has them.

    Properties:
        kind: Of the norm.
        dims: Trailing dims that make a row.
    """

    name = "model.normalize"
    x = operand_def(TensorType)
    moments = operand_def(TensorType)
    params = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$kind $x `by` $moments (`,` $params^)? attr-dict `:` functional-type(operands, results)"

    def __init__(
        self, kind: str, x: SSAValue, moments: SSAValue, *params: SSAValue, dims: int = 1, label: str = ""
    ) -> None:
        """Build with the inferred result type."""
        properties = _row_properties(kind, dims, label)
        super().__init__(operands=[x, moments, params], properties=properties, result_types=[x.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """Moments are complete and placed as the rows, parameters as the row."""
        x, moments, (rows, row) = tensor(self.x).complete(), tensor(self.moments), self.split_dims()
        params = [
            param.with_dims(Dim(dim.size, like.axes) for dim, like in zip(param.dims, row, strict=True))
            for param in map(tensor, self.params)
        ]
        return [x, moments.with_dims([*rows, Dim(as_expr(_num_moments(self.kind.data)))]), *params]

    def infer(self) -> TensorType:
        """The operand's type."""
        x, moments = tensor(self.x), tensor(self.moments)
        if moments.sizes[:-1] != x.sizes[: len(x.sizes) - self.num_dims]:
            raise VerifyException(f"moments {moments} are not those of the rows of {x}")
        return x


@irdl_op_definition
class RopeOp(PlacedOp):
    """Rotary position embedding of the first `width` elements of each head of `[b, s, h, e]`, in place."""

    name = "model.rope"
    width = prop_def(IntegerAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `width` $width attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue, width: int, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"width": integer(width), **label_property(label)}
        super().__init__(operands=[x], properties=properties, result_types=[x.type])
        self.retype()

    def infer(self) -> TensorType:
        """The operand's type."""
        x, width = tensor(self.x), self.width.value.data
        whole = x.dims[-1].size.constant
        if whole is not None and not 0 < width <= whole:
            raise VerifyException(f"{width} of {whole} elements cannot be rotated")
        return x


@irdl_op_definition
class CastOp(PlacedOp):
    """The same values in another number format (quantisation of activations)."""

    name = "model.cast"
    to = prop_def(StringAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `to` $to attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue, to: str, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"to": StringAttr(to), **label_property(label)}
        super().__init__(operands=[x], properties=properties, result_types=[x.type])
        self.retype()

    def infer(self) -> TensorType:
        """The operand's placement in the new format."""
        return tensor(self.x).with_format(self.to.data)


@irdl_op_definition
class SliceOp(PlacedOp):
    """A view of `size` elements of one dim: no kernel, the consumer reads with a stride."""

    name = "model.slice"
    dim = prop_def(IntegerAttr)
    size = prop_def(IntegerAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `dim` $dim `size` $size attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue, dim: int, size: int, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"dim": integer(dim), "size": integer(size), **label_property(label)}
        super().__init__(operands=[x], properties=properties, result_types=[x.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """The sliced dim is whole on every device."""
        x, cut = tensor(self.x), self.dim.value.data
        return [x.with_dims(Dim(d.size) if i == cut else d for i, d in enumerate(x.dims))]

    def infer(self) -> TensorType:
        """The operand with a smaller dim."""
        x, cut, size = tensor(self.x), self.dim.value.data, self.size.value.data
        if not 0 <= cut < len(x.dims):
            raise VerifyException(f"dim {cut} is not in {x}")
        whole = x.dims[cut].size.constant
        if whole is not None and whole < size:
            raise VerifyException(f"slice of {size} from {whole}")
        return x.with_dims(Dim(as_expr(size)) if i == cut else d for i, d in enumerate(x.dims))


@irdl_op_definition
class ConcatOp(PlacedOp):
    """Two tensors joined along their last dim, which is whole on every device; a copy unless a pass fuses it.

    Leading dims of size 1 of the right tensor are repeated (one rotated key for all heads).
    """

    name = "model.concat"
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(self, lhs: SSAValue, rhs: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        super().__init__(operands=[lhs, rhs], properties=label_property(label), result_types=[lhs.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """Both are placed like the left one; the joined dim is whole."""
        left, right = tensor(self.lhs), tensor(self.rhs)
        lead = [*left.dims[:-1], Dim(left.dims[-1].size)]
        pairs = zip(lead[:-1], right.dims[:-1], strict=True)
        follow = [ours if ours.size is theirs.size else Dim(theirs.size) for ours, theirs in pairs]
        return [left.with_dims(lead), right.with_dims([*follow, Dim(right.dims[-1].size)])]

    def infer(self) -> TensorType:
        """The left operand with a longer last dim."""
        left, right = tensor(self.lhs), tensor(self.rhs)
        if not _broadcasts(left.sizes[:-1], right.sizes[:-1]):
            raise VerifyException(f"shapes do not fit: {left} and {right}")
        return left.with_dims([*left.dims[:-1], Dim(left.dims[-1].size + right.dims[-1].size)])
