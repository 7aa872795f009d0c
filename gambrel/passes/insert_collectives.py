"""`insert-collectives`: turn each `dist.reshard` into the collectives that its two types imply."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from gambrel.ir.dist import (
    AllGatherOp,
    AllReduceOp,
    AllToAllOp,
    ConversionOp,
    ReduceScatterOp,
    ReshardOp,
    SliceOp,
    closed_axes,
)
from gambrel.ir.op import without
from gambrel.ir.types import Dim, TensorType, tensor
from gambrel.passes.rewrite import insert_before


@dataclass(frozen=True)
class InsertCollectivesPass(ModulePass):
    """Choose collectives from the types alone.

    A sum that is open is closed first: by a reduce-scatter over those of its axes that split one dim further, and by an
    all-reduce over the others. Then a split that moves between dims, or between tokens and experts, is an all-to-all; a
    split that vanishes is an all-gather; a split that appears is a local slice.
    """

    name = "insert-collectives"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Replace all reshards."""
        for inner in list(op.walk()):
            if isinstance(inner, ReshardOp):
                value = lower_reshard(inner)
                inner.res.replace_all_uses_with(value)
                inner.detach()
                inner.erase()


def lower_reshard(op: ReshardOp) -> SSAValue:
    """Insert the collectives of one reshard before it; returns the converted value."""
    value: SSAValue = op.x
    target = op.after

    def emit(kind: type[ConversionOp], wanted: TensorType) -> None:
        nonlocal value
        new = kind(value, wanted, op.label)
        insert_before(op, new)
        value = new.res

    closed = closed_axes(tensor(value), target)
    if closed:
        scattered = _scatter(tensor(value), target)
        if scattered is not None:
            emit(ReduceScatterOp, scattered)
        if closed_axes(tensor(value), target):
            emit(AllReduceOp, tensor(value).with_dims(tensor(value).dims, target.partial))
    if _moves(tensor(value), target):
        emit(AllToAllOp, target)
    kept = _kept(tensor(value), target)
    if kept != value.type:
        emit(AllGatherOp, kept)
    if value.type != target:
        emit(SliceOp, target)
    return value


def _scatter(before: TensorType, after: TensorType) -> TensorType | None:
    """The type after a reduce-scatter, where one dim of the target is split further over closed axes and no others."""
    closed = closed_axes(before, after)
    for number, (old, new) in enumerate(zip(before.dims, after.dims, strict=True)):
        further = new.axes[len(old.axes) :]
        if further and new.axes[: len(old.axes)] == old.axes and set(further) <= set(closed):
            dims = [new if i == number else dim for i, dim in enumerate(before.dims)]
            return before.with_dims(dims, without(before.partial, further))
    return None


def _moves(before: TensorType, after: TensorType) -> bool:
    changed = [(old, new) for old, new in zip(before.dims, after.dims, strict=True) if old.axes != new.axes]
    old_axes = {axis for old, _ in changed for axis in old.axes}
    new_axes = {axis for _, new in changed for axis in new.axes}
    if len(changed) == 2:
        return old_axes == new_axes
    return len(changed) == 1 and bool(old_axes) and bool(new_axes) and "ep" in old_axes ^ new_axes


def _kept(before: TensorType, after: TensorType) -> TensorType:
    """The placement that both share: what is left after gathering what the target does not split."""
    dims = [
        Dim(old.size, tuple(axis for axis in old.axes if axis in new.axes))
        for old, new in zip(before.dims, after.dims, strict=True)
    ]
    return before.with_dims(dims, before.partial)
