"""How ranks are laid out: which mesh axis has the neighbouring devices, and so which links its groups cross.

Device r of a machine lies in the innermost link domain `r // size`. A placement orders the axes from the inside: two
neighbours of an axis are `stride` ranks apart, the product of the sizes of all axes inside it.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem, did_you_mean

AXES = ("tp", "cp", "dp", "pp")
"""The axes that are laid out; expert axes are parts of them."""

PLACEMENTS = tuple("-".join(order) for order in permutations(AXES))
"""All orders, from the inside; the first is the one that plans have by default."""

_POSITIONS = np.array([[order.index(axis) for axis in AXES] for order in permutations(AXES)], dtype=np.float64)
"""Position of each axis, by placement."""

EXPERT_AXES = ("tp", "cp", "dp")
"""Axes whose devices hold the experts together, where a strategy spreads experts over replicas."""


def check_placement(name: str) -> None:
    """Refuse what is no order of the axes.

    Raises:
        PlanError: It is none.
    """
    if name not in PLACEMENTS:
        fix = f"Order the axes from the inside, neighbouring ranks first. {did_you_mean(name, PLACEMENTS)}"
        raise PlanError(Problem(where="plan.placement", what=f"'{name}' is no order of {', '.join(AXES)}", fix=fix))


def neighbours(name: str, axes: Sequence[str]) -> bool:
    """Whether axes follow each other in a placement, so that a group over all of them is a block of ranks."""
    places = sorted(name.split("-").index(axis) for axis in axes)
    return places[-1] - places[0] == len(places) - 1


def strides(placement: Array, sizes: Mapping[str, Array]) -> dict[str, Array]:
    """Ranks between two neighbours of each mesh axis: `stride_tp`, ..., the symbols that transfers are priced with.

    `stride_a` is the product of the sizes of the axes inside a. `tp_etp` lies inside `tp_ep`, both within tp; `ep` is
    the inner part of the block that tp, cp and dp make, `edp` the rest.

    Args:
        placement: Index into PLACEMENTS.
        sizes: Of `tp cp dp pp`, and of `tp_etp` and `ep`.
    """
    if placement.ndim == 0:
        order = PLACEMENTS[int(placement)].split("-")
        out: dict[str, Array] = {}
        inside = np.ones(())
        for axis in order:
            out[axis] = inside
            inside = inside * sizes[axis]
    else:
        where = _POSITIONS[placement.astype(np.intp)]
        out = {axis: _inside(number, where, sizes) for number, axis in enumerate(AXES)}
    experts = np.minimum(np.minimum(out["tp"], out["cp"]), out["dp"])
    out |= {"tp_etp": out["tp"], "tp_ep": out["tp"] * sizes["tp_etp"], "ep": experts, "edp": experts * sizes["ep"]}
    return {f"stride_{axis}": stride for axis, stride in out.items()}


def _inside(number: int, where: Array, sizes: Mapping[str, Array]) -> Array:
    """Product of the sizes of the axes that lie inside one of them; `where` holds their positions on its last axis."""
    stride = np.ones(())
    for other, axis in enumerate(AXES):
        if other != number:
            stride = stride * np.where(where[..., other] < where[..., number], sizes[axis], 1.0)
    return stride
