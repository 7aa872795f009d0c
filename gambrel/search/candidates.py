"""Candidate plans of one machine: degrees and placements that can run, grouped by the variant that prices them.

What is left out is left out for a proof, and counted: a rule of `gambrel.estimation.checks` forbids it, or it is priced
exactly as another candidate is (the same kernels, and transfers over the same links).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.kernel import Transfer
from gambrel.cost.vectorise import Array, Vectorised
from gambrel.estimation.checks import check_lengths, fixed_problems, placement_problems
from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.resolve import is_moe, resolve
from gambrel.estimation.variant import Structure, Variant, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.ir.types import Axes
from gambrel.search.space import Space, divisors, factorisations

DEGREES = ("tp", "pp", "dp", "cp", "ep")

EXPERTS_ONLY = ("moe-ep", "attention-dp-moe-ep")
DENSE_ONLY = ("attention-dp",)
"""Strategies that split experts, and one that splits a feed-forward network as these do experts."""

SAME = "the same as another plan: no device would do anything else"
SAME_LINKS = "the same as another placement: every transfer crosses the same links"
RULES = {
    "plan.tp": "attention heads do not divide over tp",
    "plan.ep": "experts do not divide over ep",
    "plan.pp": "more pipeline stages than layers",
    "plan.placement": "ranks of one group do not follow each other",
    "plan": "more devices than the topology joins",
}
"""Why a plan is left out, by where its problem is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Number formats as a plan states them, and the structure that they lead to."""

    weights: str | None
    experts: str | None
    activations: str | None
    kv: str | None
    structure: Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Candidates that one compiled variant prices.

    Attributes:
        variant: Compiled.
        formats: Of all of them.
        strategy: Of all of them.
        degrees: `[candidates]` of each of DEGREES.
        placements: `[candidates, places]` indices into PLACEMENTS; -1 beyond a candidate's last one.
        same_links: `[candidates]` placements that were left out.
    """

    variant: Variant
    formats: Formats
    strategy: str
    degrees: Mapping[str, Array]
    placements: NDArray[np.intp]
    same_links: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.placements)

    def take(self, rows: slice) -> "Group":
        """Some of the candidates, without columns of placements that none of them has."""
        placements = self.placements[rows]
        used = placements[:, (placements >= 0).any(axis=0)]
        degrees = {name: values[rows] for name, values in self.degrees.items()}
        return replace(self, degrees=degrees, placements=used, same_links=self.same_links[rows])


def formats_of(architecture: Architecture, device: Device, space: Space) -> list[Formats]:
    """The combinations of number formats of a space that differ on a device."""
    out: dict[Structure, Formats] = {}
    for weights in space.weights:
        for experts in space.experts:
            for activations in space.activations:
                for kv in space.kv:
                    plan = Plan(weights=weights, experts=experts, activations=activations, kv=kv, engine=space.engine)
                    structure = resolve(architecture, device, Workload(), plan, None).structure
                    formats = Formats(
                        weights=weights, experts=experts, activations=activations, kv=kv, structure=structure
                    )
                    out.setdefault(structure, formats)
    return list(out.values())


def shared_axes(strategy: str, degrees: Mapping[str, int]) -> Axes:
    """Axes of a variant that prices a plan exactly, for as many plans as possible.

    An axis of size one costs nothing, so that dp and cp may always be there. Where a tensor-parallel sum is closed two
    kernels cannot be one, a stage hands its tokens on, and tokens that cp copies are shared out before the experts:
    those axes are there only where they are larger than one.
    """
    experts: Axes = {"moe-ep": ("tp_ep", "tp_etp"), "attention-dp-moe-ep": ("ep", "edp")}.get(strategy, ())
    spread = strategy == "attention-dp-moe-ep"
    several = tuple(axis for axis in ("tp", "pp", *(("cp",) if spread else ())) if degrees[axis] > 1)
    return (*several, *(("dp",) if spread else ("dp", "cp")), *experts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompiled:
    """A group whose variant is not compiled yet.

    Attributes:
        structure: Of the variant.
        formats: Of all candidates.
        strategy: Of all of them.
        members: Their degrees.
    """

    structure: Structure
    formats: Formats
    strategy: str
    members: Sequence[Mapping[str, int]]

    @property
    def staged(self) -> bool:
        """Whether there are pipeline stages: all members have them, or none."""
        return "pp" in self.structure.axes

    def compile(self, architecture: Architecture, device: Device, space: Space) -> Group:
        """The group, with the placements that differ. Its IR is not verified."""
        variant = compile_variant(architecture, self.structure, verify=False)
        columns = {name: np.array([each[name] for each in self.members], dtype=np.float64) for name in DEGREES}
        places, same = _distinct_placements(variant, device, space, self.strategy, columns)
        return Group(
            variant=variant,
            formats=self.formats,
            strategy=self.strategy,
            degrees=columns,
            placements=places,
            same_links=same,
        )


def groups(
    architecture: Architecture, device: Device, devices: int, space: Space, work: Workload, pruned: Counter[str]
) -> Iterator[Uncompiled]:
    """The candidates on so many devices of a machine; `pruned` counts degrees that are left out.

    Raises:
        PlanError: The model cannot take sequences of these lengths.
    """
    check_lengths(architecture, work)
    runnable = list(_runnable(architecture, device, devices, space, pruned))
    for formats in formats_of(architecture, device, space):
        by_axes: dict[tuple[str, Axes], list[dict[str, int]]] = {}
        for strategy, degrees in runnable:
            by_axes.setdefault((strategy, shared_axes(strategy, degrees)), []).append(degrees)
        for (strategy, axes), members in by_axes.items():
            structure = replace(formats.structure, strategy=strategy, axes=axes)
            yield Uncompiled(structure=structure, formats=formats, strategy=strategy, members=members)


def _runnable(
    architecture: Architecture, device: Device, devices: int, space: Space, pruned: Counter[str]
) -> Iterator[tuple[str, dict[str, int]]]:
    """Strategies with degrees that no rule forbids, in the order in which ties are broken."""
    for strategy in space.strategy_names:
        if strategy in (DENSE_ONLY if is_moe(architecture) else EXPERTS_ONLY):
            continue
        for tp, pp, cp, dp in factorisations(devices, space):
            for ep in _expert_degrees(strategy, tp, tp * cp * dp):
                if space.ep is not None and ep not in space.ep:
                    continue
                degrees = {"tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep}
                if _repeats(strategy, degrees):
                    pruned[SAME] += 1
                    continue
                plan = Plan(strategy=strategy, tp=tp, pp=pp, dp=dp, cp=cp, ep=ep)
                problem = next(fixed_problems(architecture, device, plan, devices), None)
                if problem is None:
                    yield strategy, degrees
                else:
                    pruned[RULES[problem.where]] += 1


def _expert_degrees(strategy: str, tp: int, group: int) -> Sequence[int]:
    return {"moe-ep": divisors(tp), "attention-dp-moe-ep": divisors(group)}.get(strategy, (1,))


def _repeats(strategy: str, degrees: Mapping[str, int]) -> bool:
    """Whether another strategy of these degrees is the same plan."""
    match strategy:
        case "sequence-parallel":
            return degrees["tp"] == 1
        case "moe-ep":
            return degrees["ep"] == 1
        case "attention-dp":
            return degrees["dp"] == 1
        case "attention-dp-moe-ep":
            return degrees["tp"] * degrees["cp"] * degrees["dp"] == 1
        case _:
            return False


def _distinct_placements(
    variant: Variant, device: Device, space: Space, strategy: str, degrees: Mapping[str, Array]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Placements of each candidate by the links that its transfers cross: one for each way, and the rest counted."""
    names = space.placement_names
    codes = np.array([PLACEMENTS.index(name) for name in names], dtype=np.intp)
    count = len(degrees["tp"])
    crossed = _crossed(variant, device, codes, degrees)
    allowed = _allowed(strategy, names, degrees)
    first = np.zeros((count, len(codes)), dtype=np.bool_)
    for number in range(len(codes)):
        earlier = (crossed[:, :, :number] == crossed[:, :, number : number + 1]).all(axis=0) & allowed[:, :number]
        first[:, number] = allowed[:, number] & ~earlier.any(axis=1)
    most = max(int(first.sum(axis=1).max(initial=0)), 1)
    places = np.full((count, most), -1, dtype=np.intp)
    rows, columns = np.nonzero(first)
    places[rows, first.cumsum(axis=1)[rows, columns] - 1] = codes[columns]
    return places, (len(codes) - first.sum(axis=1)).astype(np.intp)


def _crossed(variant: Variant, device: Device, codes: NDArray[np.intp], degrees: Mapping[str, Array]) -> Array:
    """`[transfers x levels, candidates, placements]`: members of each transfer's group inside each link's domain."""
    transfers = {
        (row.kernel.sizes["stride"], row.kernel.sizes["group"])
        for row in variant.program.table.rows
        if row.kernel is not None and row.kernel.kind is Transfer
    }
    inner = device.links[:-1]
    shape = (len(degrees["tp"]), len(codes))
    if not transfers or not inner:
        return np.zeros((1, *shape))
    columns = {name: values[:, None] for name, values in degrees.items()}
    points = Points.of(batch=1.0, isl=1.0, osl=1.0, placement=codes[None, :].astype(np.float64), **columns)
    values = Vectorised(e for pair in transfers for e in pair)(points.binding("decode"))
    reach = [
        np.broadcast_to(np.clip(np.floor(link.size / np.maximum(values[stride], 1.0)), 1.0, values[group]), shape)
        for stride, group in sorted(transfers, key=str)
        for link in inner
    ]
    return np.stack(reach)


def _allowed(strategy: str, names: Sequence[str], degrees: Mapping[str, Array]) -> NDArray[np.bool_]:
    """`[candidates, placements]`: whether the ranks of each group follow each other."""
    rows = np.stack([degrees[axis] > 1.0 for axis in ("tp", "cp", "dp", "pp")], axis=1)
    kinds, index = np.unique(rows, axis=0, return_inverse=True)
    table = np.array([[_follows(strategy, name, kind) for name in names] for kind in kinds.tolist()], dtype=np.bool_)
    return table[index.ravel()]


def _follows(strategy: str, name: str, several: Sequence[bool]) -> bool:
    tp, cp, dp, pp = (2 if more else 1 for more in several)
    return not list(placement_problems(Plan(strategy=strategy, placement=name, tp=tp, cp=cp, dp=dp, pp=pp)))
