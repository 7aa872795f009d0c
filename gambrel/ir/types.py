"""The tensor type: number format, symbolic dims, and where each dim lives on the device mesh.

`!model.t<bf16, [b{dp}, s, 8192{tp}] partial{cp}>` is a global shape. Each dim names the mesh axes that split it, major
to minor; `partial` names the axes over which the value is a sum that has not been reduced yet. Conventions follow
Shardy (axes per dim) and PyTorch's DTensor (partial).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from xdsl.ir import Attribute, Data, SSAValue, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import CALLS, ZERO, Expr, ExprLike, as_expr, ceildiv, hit, maximum, minimum, product
from gambrel.ir.formats import FORMATS

AXES = ("dp", "cp", "tp", "pp", "ep", "edp", "tp_ep", "tp_etp")
"""Mesh axes. `tp` is `tp_ep x tp_etp` where experts are split inside a tensor-parallel group; `ep x edp` covers the
devices of `dp x cp x tp` where experts are split across data-parallel ranks."""

TP_SUB_AXES = ("tp_ep", "tp_etp")

Axes = tuple[str, ...]


class Dim(NamedTuple):
    """One dim: its global size and the mesh axes that split it, major to minor."""

    size: Expr
    axes: Axes = ()

    @property
    def local(self) -> Expr:
        """Elements on one device; a split that does not divide is rounded up, as padded shards run."""
        return _local(self.size, self.axes) if self.axes else self.size

    def __str__(self) -> str:
        return f"{self.size}{_braces(self.axes)}"


@lru_cache(maxsize=4096)
def _local(size: Expr, axes: Axes) -> Expr:
    return ceildiv(size, product(axes))


DimLike = Dim | ExprLike


def as_dim(value: DimLike) -> Dim:
    """An unsplit dim of that size, or the dim as it is."""
    return value if isinstance(value, Dim) else Dim(as_expr(value))


class Tensor(NamedTuple):
    """What a `TensorType` holds."""

    format: str
    dims: tuple[Dim, ...]
    partial: Axes = ()


@irdl_attr_definition
class TensorType(Data[Tensor], TypeAttribute):
    """`!model.t<format, [dims] partial{axes}>`; placement is part of the type, so checking types checks it."""

    name = "model.t"

    @staticmethod
    def of(format_name: str, dims: Iterable[DimLike], partial: Iterable[str] = ()) -> "TensorType":
        """Build the type; a sum over both sub-axes of tp is a sum over tp.

        Raises:
            VerifyException: The format is unknown or an axis is used twice.
        """
        axes = tuple(dict.fromkeys(partial))
        if set(TP_SUB_AXES) <= set(axes):
            axes = (*(axis for axis in axes if axis not in TP_SUB_AXES and axis != "tp"), "tp")
        kind = TensorType(Tensor(format_name, tuple(map(as_dim, dims)), axes))
        kind.verify()
        return kind

    @property
    def format(self) -> str:
        """Name of the number format, a key of FORMATS."""
        return self.data.format

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Global dims with their placement."""
        return self.data.dims

    @property
    def partial(self) -> Axes:
        """Axes over which the value is an unreduced sum."""
        return self.data.partial

    @property
    def sizes(self) -> tuple[Expr, ...]:
        """Global sizes."""
        return tuple(dim.size for dim in self.data.dims)

    @property
    def local_elements(self) -> Expr:
        """Elements on one device."""
        return product(dim.local for dim in self.data.dims)

    @property
    def global_elements(self) -> Expr:
        """Elements of the whole tensor."""
        return product(dim.size for dim in self.data.dims)

    @property
    def local_bytes(self) -> Expr:
        """Bytes on one device, block scales counted."""
        return _local_bytes(self.data)

    def complete(self) -> "TensorType":
        """The same placement with nothing left to reduce."""
        return TensorType.of(self.format, self.dims) if self.partial else self

    def with_dims(self, dims: Iterable[DimLike], partial: Iterable[str] = ()) -> "TensorType":
        """The same format with other dims."""
        return TensorType.of(self.format, dims, partial)

    def with_format(self, format_name: str) -> "TensorType":
        """The same shape and placement in another number format."""
        return TensorType.of(format_name, self.dims, self.partial)

    def verify(self) -> None:
        """Check the format's name and that no axis is used twice."""
        if self.data.format not in FORMATS:
            raise VerifyException(f"unknown number format '{self.data.format}'; known: {', '.join(FORMATS)}")
        used = [axis for dim in self.data.dims for axis in dim.axes] + list(self.data.partial)
        unknown = [axis for axis in used if axis not in AXES]
        if unknown:
            raise VerifyException(f"unknown mesh axis '{unknown[0]}'; known: {', '.join(AXES)}")
        twice = {axis for axis in used if used.count(axis) > 1}
        if twice:
            raise VerifyException(f"mesh axis '{sorted(twice)[0]}' is used twice in {self}")

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Tensor:
        """Parse `<format, [dims] partial{axes}>`."""
        with parser.in_angle_brackets():
            format_name = parser.parse_identifier("number format expected")
            parser.parse_punctuation(",")
            dims = parser.parse_comma_separated_list(
                parser.Delimiter.SQUARE, lambda: Dim(parse_expr(parser), _parse_axes(parser))
            )
            partial: Sequence[str] = ()
            if parser.parse_optional_keyword("partial") is not None:
                partial = parser.parse_comma_separated_list(parser.Delimiter.BRACES, parser.parse_identifier)
            return Tensor(format_name, tuple(dims), tuple(partial))

    def print_parameter(self, printer: Printer) -> None:
        """Print `<format, [dims] partial{axes}>`."""
        printer.print_string(str(self).removeprefix("!model.t"))

    def __str__(self) -> str:
        dims = ", ".join(map(str, self.data.dims))
        partial = f" partial{_braces(self.data.partial)}" if self.data.partial else ""
        return f"!model.t<{self.data.format}, [{dims}]{partial}>"


@lru_cache(maxsize=4096)
def _local_bytes(data: Tensor) -> Expr:
    width = FORMATS[data.format].bytes_per_element
    return product(dim.local for dim in data.dims) * width.numerator / width.denominator


def tensor(value: SSAValue | Attribute) -> TensorType:
    """The tensor type of a value; our ops define all their operands as tensors."""
    kind = value.type if isinstance(value, SSAValue) else value
    assert isinstance(kind, TensorType)
    return kind


@irdl_attr_definition
class ExprAttr(Data[Expr]):
    """A symbolic count, `#structure.expr<80>`."""

    name = "structure.expr"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Expr:
        """Parse `<expression>`."""
        with parser.in_angle_brackets():
            return parse_expr(parser)

    def print_parameter(self, printer: Printer) -> None:
        """Print `<expression>`."""
        printer.print_string(f"<{self.data}>")


def parse_expr(parser: AttrParser) -> Expr:
    """Parse a sum of products of integers, symbols and calls.

    Raises:
        ParseError: The text is not an expression.
    """
    out = _parse_product(parser)
    while parser.parse_optional_punctuation("+") is not None:
        out = out + _parse_product(parser)
    return out


def _parse_product(parser: AttrParser) -> Expr:
    out = _parse_primary(parser)
    while parser.parse_optional_punctuation("*") is not None:
        out = out * _parse_primary(parser)
    return out


def _parse_primary(parser: AttrParser) -> Expr:
    number = parser.parse_optional_integer(allow_boolean=False)
    if number is not None:
        return as_expr(number)
    name = parser.parse_identifier("dimension expression expected")
    if name not in CALLS:
        return as_expr(name)
    args = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: parse_expr(parser))
    if name == "ceildiv" and len(args) == 2:
        if args[1] is ZERO:
            parser.raise_error("division by zero")
        return ceildiv(*args)
    if name == "hit" and len(args) == 4:
        return hit(*args)
    if name in ("min", "max") and args:
        return minimum(*args) if name == "min" else maximum(*args)
    parser.raise_error(f"{name} does not take {len(args)} arguments")


def _parse_axes(parser: AttrParser) -> Axes:
    return tuple(parser.parse_optional_comma_separated_list(parser.Delimiter.BRACES, parser.parse_identifier) or ())


def _braces(axes: Sequence[str]) -> str:
    return "{" + ", ".join(axes) + "}" if axes else ""
