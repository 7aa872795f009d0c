"""Collectives and point-to-point sends over mesh axes."""

from collections.abc import Sequence

from gambrel.cost.kernel import Collective, Transfer
from gambrel.cost.rows import KernelSpec
from gambrel.cost.rules.registry import Draft, rule
from gambrel.ir.dist import AllGatherOp, AllReduceOp, AllToAllOp, ConversionOp, PermuteOp, ReduceScatterOp, SliceOp
from gambrel.ir.expr import ONE, Expr, minimum, product

FORMULA = "alpha-beta of the cheapest algorithm over the crossed links; docs/explanation/cost-model.md, 'Collectives'"

_KINDS: dict[type[ConversionOp], Collective] = {
    AllReduceOp: "all_reduce",
    ReduceScatterOp: "reduce_scatter",
    AllGatherOp: "all_gather",
    AllToAllOp: "all_to_all",
    PermuteOp: "permute",
}


@rule(AllReduceOp, ReduceScatterOp, AllGatherOp, AllToAllOp, PermuteOp)
def collective(op: ConversionOp) -> Draft:
    """A collective over the devices of its axes; nothing where the group is one device."""
    size = op.after.local_bytes if isinstance(op, AllGatherOp) else op.before.local_bytes
    return transfer(_KINDS[type(op)], size, op.axes)


@rule(SliceOp)
def local_slice(op: SliceOp) -> None:
    """Each device keeps its part of what it holds already: no kernel."""


def transfer(kind: Collective, message_bytes: Expr, axes: Sequence[str]) -> Draft:
    """A transfer of so many bytes over the devices of some axes."""
    sizes = {"message_bytes": message_bytes, "group": product(axes), "stride": stride(axes)}
    spec = KernelSpec(kind=Transfer, sizes=sizes, constants={"op": kind})
    return Draft(family="collective", kernel=spec, network_bytes=message_bytes, formula=FORMULA)


def stride(axes: Sequence[str]) -> Expr:
    """Ranks between neighbours of a group: the least stride of its axes, which follow each other in a placement.

    The strides of axes are symbols (`stride_tp`), so that one compiled variant serves every placement.
    """
    return minimum(*(f"stride_{axis}" for axis in axes)) if axes else ONE
