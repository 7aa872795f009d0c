"""Collectives and point-to-point sends over mesh axes."""

from collections.abc import Sequence

from gambrel.cost.kernel import Collective, Transfer
from gambrel.cost.rows import KernelSpec
from gambrel.cost.rules.registry import Draft, rule
from gambrel.ir.dist import AllGatherOp, AllReduceOp, AllToAllOp, ConversionOp, PermuteOp, ReduceScatterOp, SliceOp
from gambrel.ir.expr import ONE, Expr, product

FORMULA = "alpha-beta of the cheapest algorithm over the crossed links; docs/explanation/cost-model.md, 'Collectives'"

_INNER_AXES: dict[str, tuple[str, ...]] = {
    "tp": (),
    "tp_etp": (),
    "tp_ep": ("tp_etp",),
    "ep": (),
    "edp": ("ep",),
    "cp": ("tp",),
    "dp": ("tp", "cp"),
    "pp": ("tp", "cp", "dp"),
}
"""Axes whose devices lie between two neighbours of an axis: ranks are laid out tp, cp, dp, pp from the inside."""

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
    """Distance in ranks between neighbours: the product of the axes inside the innermost one of the group."""
    order = list(_INNER_AXES)
    innermost = min(axes, key=order.index, default="tp")
    inner = [axis for axis in _INNER_AXES[innermost] if axis not in axes]
    return product(inner) if inner else ONE
