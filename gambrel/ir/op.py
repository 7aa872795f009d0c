"""What every op of our dialects states once and the verifier, the sharding pass and the cost rules share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, ParsePropInAttrDict, prop_def, result_def
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import Expr, product
from gambrel.ir.types import TP_SUB_AXES, Axes, Dim, TensorType, tensor

_EXPERT_AXES = ("ep", "edp")


def overlap(left: str, right: str) -> bool:
    """Whether two mesh axes share devices, so that one tensor cannot be split over both independently."""
    if left == right:
        return True
    pair = {left, right}
    if pair & set(_EXPERT_AXES):
        return not pair <= set(_EXPERT_AXES) and "pp" not in pair
    return "tp" in pair and bool(pair & set(TP_SUB_AXES))


def without(axes: Iterable[str], taken: Iterable[str]) -> Axes:
    """The axes that share no device with the taken ones."""
    used = tuple(taken)
    return tuple(axis for axis in axes if not any(overlap(axis, other) for other in used))


class DeclarationOp(IRDLOperation):
    """A tensor that a phase does not compute: a weight, an input, a cache or a state, with a name for each dim.

    A sharding strategy maps the names to mesh axes.
    """

    irdl_options = (ParsePropInAttrDict(),)
    label = prop_def(StringAttr)
    dims = prop_def(ArrayAttr[StringAttr])
    res = result_def(TensorType)

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Logical names of the dims."""
        return tuple(item.data for item in self.dims)

    @property
    def type(self) -> TensorType:
        """Type of what is declared."""
        return tensor(self.res)

    def verify_(self) -> None:
        """One name for each dim."""
        if len(self.dims) != len(self.type.dims):
            raise VerifyException(f"{len(self.dims)} dim names for {self.type}")

    def verify_complete(self) -> None:
        """What is kept in memory between steps is never a partial sum."""
        if self.type.partial:
            raise VerifyException(f"a {self.name.partition('.')[2]} cannot be partial")


class PlacedOp(IRDLOperation, ABC):
    """An op with one tensor result whose type follows from its operands.

    `accept` says which placement each operand must have; the sharding pass reshards to it and the verifier compares
    with it. `infer` gives the result for accepted operands; both use the same rule, so a missing collective is a
    verifier error.
    """

    irdl_options = (ParsePropInAttrDict(),)

    def accept(self) -> Sequence[TensorType]:
        """The types that the operands must have; by default they must be complete and stay where they are."""
        return [tensor(operand).complete() for operand in self.operands]

    @abstractmethod
    def infer(self) -> TensorType:
        """The result's type for operands that were accepted.

        Raises:
            VerifyException: The operands do not fit each other.
        """

    @property
    def label(self) -> str:
        """What people call this op, such as `attn.q`; empty where nobody named it."""
        value = self.properties.get("label")
        return value.data if isinstance(value, StringAttr) else ""

    @property
    def type(self) -> TensorType:
        """The result's type."""
        return tensor(self.results[0])

    def retype(self) -> None:
        """Give the result the type that the operands imply now."""
        inferred = self.infer()
        if inferred != self.results[0].type:
            Rewriter.replace_value_with_new_type(self.results[0], inferred)

    def verify_(self) -> None:
        """Check operands and result against the shared rules."""
        for number, (operand, wanted) in enumerate(zip(self.operands, self.accept(), strict=True)):
            if operand.type != wanted:
                raise VerifyException(
                    f"operand {number} is {operand.type} but must be {wanted}: a collective is missing before it"
                )
        inferred = self.infer()
        if inferred != self.results[0].type:
            raise VerifyException(f"result is {self.results[0].type} but the operands give {inferred}")


def label_property(label: str) -> dict[str, Attribute | None]:
    """The property of a label; none where it is empty."""
    return {"label": StringAttr(label)} if label else {}


def strings(values: Iterable[str]) -> ArrayAttr[StringAttr]:
    """An array attribute of strings."""
    return ArrayAttr([StringAttr(value) for value in values])


def integer(value: int) -> IntegerAttr:
    """A 64-bit integer attribute."""
    return IntegerAttr(value, i64)


def match_sizes(left: Dim, right: Dim, name: str) -> None:
    """Check that two dims that stand for the same thing have the same size.

    Raises:
        VerifyException: They differ.
    """
    if left.size is not right.size:
        raise VerifyException(f"size of '{name}' is {left.size} in one operand and {right.size} in the other")


def rank_of(value: SSAValue, rank: int, name: str) -> TensorType:
    """The tensor type of an operand that must have so many dims.

    Raises:
        VerifyException: It has another number of dims.
    """
    kind = tensor(value)
    if len(kind.dims) != rank:
        raise VerifyException(f"{name} must have {rank} dims, got {kind}")
    return kind


def local_product(dims: Iterable[Dim]) -> Expr:
    """Elements of these dims on one device."""
    return product(dim.local for dim in dims)
