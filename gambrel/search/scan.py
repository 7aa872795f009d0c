"""Price all candidates of a group on a grid, and keep what can matter: the best of each, and the front.

Legend of the axes of a grid: K candidates (degrees), L placements, R batches, C chunks of a prompt, S sub-batches, P
micro-batches of a prefill, M micro-batches of decode. A prefill does not vary along M, nor decode along C and P, and
only transfers vary along L, so that a grid costs far less than its points.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.energy import has_energy
from gambrel.cost.frames import Pick, Scalar
from gambrel.cost.program import Rates
from gambrel.cost.vectorise import Array
from gambrel.estimation.evaluate import memory_by_kind, phase_totals
from gambrel.estimation.points import Points, Workload
from gambrel.estimation.steady import steady
from gambrel.hardware.device import Device
from gambrel.runtimes.profile import EngineOverheads
from gambrel.search.answers import Answers
from gambrel.search.candidates import DEGREES, SAME_LINKS, Group
from gambrel.search.front import front
from gambrel.search.metrics import METRICS, Metric
from gambrel.search.space import PARTS, PREFILL_PARTS, REPLICA_BATCHES, SUB_BATCHES, Space
from gambrel.search.targets import Limits, excess, goodness

Batching = Literal["static", "continuous"]

AXES = 7

PIECE_POINTS = 2**19
"""Points of a grid that are held at once."""

LARGE_BYTES = 2**25 - 2**16
"""The largest block after which glibc raises its threshold, with room for a header.

Source: glibc, malloc/malloc.c, `DEFAULT_MMAP_THRESHOLD_MAX`, and mallopt(3) on `M_MMAP_THRESHOLD`.
"""

TIE = 1e-12
"""Values this near to each other, relatively, are equal: the first one wins."""

SAMPLE = 16
"""One of so many points tells most others that they are not on a front."""

CHOICES = (*DEGREES, "placement", "batch", "prefill_chunk", "sub_batches", "prefill_microbatches", "microbatches")
"""Columns of a plan in a scan, in the order in which ties are broken."""

Columns = dict[str, Array]


UNFIT = "does not fit in memory"
SAME_PARTS = "the same as another plan: micro-batches are no more than sequences"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What is looked for.

    Attributes:
        work: Lengths; the batch is a choice.
        batching: One static batch, or requests that are replaced as they end.
        objective: What is optimised.
        limits: What has to be met.
        front: Metrics of the Pareto front.
        top: Most plans to return.
        points: Whether to return the best point of each plan and batch too.
    """

    work: Workload
    batching: Batching
    objective: Metric
    limits: Limits
    front: tuple[str, ...]
    top: int
    points: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A device in some number, with the engine that runs on it, as it was named."""

    name: str
    device: Device
    devices: int
    rates: Rates
    engine: EngineOverheads


class Grid(NamedTuple):
    """Points on the axes K L R C S P M, and which of them are plans of their own."""

    points: Points
    valid: NDArray[np.bool_]


class Scanned(NamedTuple):
    """What is kept of a group.

    Attributes:
        kept: Plans by column of CHOICES and METRICS, with `misses`, the largest excess over a limit.
        priced: Points that were priced.
        fit: Of them, those that fit in memory.
        met: Of them, those that meet the limits.
        points: All points of these candidates, those that are left out too.
    """

    kept: Columns
    priced: int
    fit: int
    met: int
    points: int = 0


def keep_memory() -> None:
    """Have the C library keep what arrays free, for those that follow.

    It gives a large block back to the system when it is freed, and the next one starts with page faults, which take as
    long as a sum. That of glibc counts as large what is larger than any block that was freed so far, up to 32 MiB: one
    is taken and freed, and never touched. Elsewhere this does nothing.
    """
    np.empty(LARGE_BYTES, dtype=np.uint8)


def scan(group: Group, machine: Machine, space: Space, aim: Aim, pruned: Counter[str]) -> Iterator[Scanned]:
    """Price the candidates of a group, piece by piece; `pruned` counts points that are left out."""
    for rows in _slices(group, space, aim):
        part = group.take(rows)
        grid = make_grid(part, space, aim)
        points = len(part) * len(space.placement_names) * math.prod(grid.valid.shape[2:])
        pruned[SAME_LINKS] += int(part.same_links.sum()) * math.prod(grid.valid.shape[2:])
        places = int((part.placements >= 0).sum()) * math.prod(grid.valid.shape[2:])
        pruned[SAME_PARTS] += places - int(np.count_nonzero(grid.valid))
        held = _held(part, grid, machine, aim)
        fits = grid.valid & (held <= machine.device.memory_bytes)
        some: NDArray[np.bool_] = np.asarray(fits.any(axis=tuple(range(1, fits.ndim))))
        pruned[UNFIT] += int(np.count_nonzero(grid.valid[~some]))
        if not some.any():
            yield _smallest(part, grid, machine)._replace(points=points)
            continue
        left = _Piece(part, grid, fits, held).only(some)
        yield _scan_piece(left, machine, aim)._replace(points=points)


def make_grid(group: Group, space: Space, aim: Aim) -> Grid:
    """All points of some candidates."""
    degrees = {name: _along(group.degrees[name], 0) for name in DEGREES}
    staged = bool(np.any(group.degrees["pp"] > 1.0))
    batch = _along(np.array(space.batches, dtype=np.float64), 2) if space.batches else None
    if batch is None:
        batch = degrees["dp"] * _along(np.array(REPLICA_BATCHES, dtype=np.float64), 2)
    replica = np.ceil(batch / degrees["dp"])
    chunks = _along(np.array(space.chunks(aim.work.isl)), 3)
    asked = space.sub_batches or SUB_BATCHES
    halves = _along(np.array((1,) if staged else asked, dtype=np.float64), 4)  # stages overlap transfers already
    each = _Sequences(batch=batch, replica=replica, pp=degrees["pp"])
    prefill = _parts(space.prefill_microbatches, PREFILL_PARTS if staged else (1,), each, 5)
    decode = _parts(space.microbatches, PARTS if staged else (1,), each, 6)
    if aim.batching == "continuous":
        prefill = prefill._replace(parts=np.ones((1,) * AXES), valid=np.ones((1,) * AXES, dtype=np.bool_))
    points = Points.of(
        batch=batch,
        isl=float(aim.work.isl),
        osl=float(aim.work.osl),
        prefix=float(aim.work.prefix),
        prefill_microbatches=prefill.parts,
        microbatches=decode.parts,
        sub_batches=halves,
        prefill_chunk=chunks,
        placement=np.maximum(group.placements, 0).astype(np.float64).reshape(*group.placements.shape, 1, 1, 1, 1, 1),
        **degrees,
    )
    real = (group.placements >= 0).reshape(*group.placements.shape, 1, 1, 1, 1, 1)
    enough = ((halves <= 1.0) | (replica >= halves)) & (not staged or 1 in asked)
    valid = real & enough & prefill.valid & decode.valid
    shape = np.broadcast_shapes(*(getattr(points, name).shape for name in Points.__slots__), valid.shape)
    return Grid(points, np.broadcast_to(valid, shape))


class _Parts(NamedTuple):
    parts: Array
    valid: NDArray[np.bool_]


class _Sequences(NamedTuple):
    batch: Array
    replica: Array
    pp: Array


def _parts(asked: tuple[int, ...] | None, multiples: tuple[int, ...], each: _Sequences, axis: int) -> _Parts:
    """Micro-batches along an axis: as asked, at most a batch, or multiples of the stages, at most a replica's batch."""
    if asked is not None:
        parts = _along(np.array(asked, dtype=np.float64), axis)
        return _Parts(parts, parts <= each.batch)
    parts = np.minimum(each.pp * _along(np.array(multiples, dtype=np.float64), axis), each.replica)
    before = np.roll(parts, 1, axis=axis)
    number = _along(np.arange(parts.shape[axis], dtype=np.float64), axis)
    return _Parts(parts, (parts != before) | (number == 0.0))


def _along(values: Array, axis: int) -> Array:
    """Values along one axis of a grid."""
    return values.reshape([-1 if i == axis else 1 for i in range(AXES)])


def points_each(staged: bool, space: Space, aim: Aim) -> int:
    """Points of a candidate in one placement, as `make_grid` has them."""
    several = aim.batching == "static"
    return math.prod(
        (
            len(space.batches or REPLICA_BATCHES),
            len(space.chunks(aim.work.isl)),
            1 if staged else len(space.sub_batches or SUB_BATCHES),
            len(space.prefill_microbatches or (PREFILL_PARTS if staged else (1,))) if several else 1,
            len(space.microbatches or (PARTS if staged else (1,))),
        )
    )


def _slices(group: Group, space: Space, aim: Aim) -> Iterator[slice]:
    each = points_each(bool(np.any(group.degrees["pp"] > 1.0)), space, aim)
    rows = max(PIECE_POINTS // max(each * group.placements.shape[1], 1), 1)
    yield from (slice(start, start + rows) for start in range(0, len(group), rows))


def _held(group: Group, grid: Grid, machine: Machine, aim: Aim) -> Array:
    """Memory of each point; nothing in a continuous batch, which takes as many sequences as fit."""
    if aim.batching == "continuous":
        return np.zeros((1,) * AXES)
    return sum(memory_by_kind(group.variant, grid.points, machine.engine).values(), np.zeros((1,) * AXES))


class _Piece(NamedTuple):
    """Candidates with their points, whether these fit, and the memory that they take."""

    group: Group
    grid: Grid
    fits: NDArray[np.bool_]
    held: Array

    def only(self, some: NDArray[np.bool_]) -> "_Piece":
        """Some of the candidates."""
        if some.all():
            return self
        count = len(self.group)

        def rows(values: Array) -> Array:
            return values[some] if values.shape[:1] == (count,) and count > 1 else values

        group = replace(
            self.group,
            degrees={name: values[some] for name, values in self.group.degrees.items()},
            placements=self.group.placements[some],
            same_links=self.group.same_links[some],
        )
        points = Points(**{name: rows(getattr(self.grid.points, name)) for name in Points.__slots__})
        return _Piece(group, Grid(points, self.grid.valid[some]), self.fits[some], rows(self.held))


def _scan_piece(piece: _Piece, machine: Machine, aim: Aim) -> Scanned:
    group, grid, fits, held = piece
    shape = grid.valid.shape
    if aim.batching == "continuous":
        answers, enough = _continuous(group, grid.points, machine)
        fits = fits & enough
        if not fits.any():
            return _smallest(group, grid, machine)._replace(priced=int(grid.valid.sum()))
    else:
        answers = _static(group, grid.points, machine, held)
    met = fits
    for name, limit in aim.limits.given():
        met = met & (excess(name, answers[name], limit) <= 1.0)
    looked_at = _Some(np.flatnonzero(met) if met.any() else np.flatnonzero(fits), shape)
    some = answers.at(looked_at.pick)
    chosen = _chosen(some, looked_at, aim) if met.any() else _nearest(some, looked_at, aim)
    where = np.unravel_index(looked_at.where[np.unique(chosen)], shape)

    def pick(values: NDArray[Scalar], /) -> NDArray[Scalar]:
        return np.broadcast_to(values, shape)[where]

    few = answers.at(pick)
    kept = {name: np.broadcast_to(few[name], where[0].shape) for name in METRICS}
    kept |= {name: pick(getattr(grid.points, name)) for name in CHOICES}
    kept["misses"] = _misses(few, aim, where[0].shape)
    return Scanned(kept, *(int(np.count_nonzero(each)) for each in (grid.valid, fits, met)))


def _static(group: Group, points: Points, machine: Machine, held: Array) -> Answers:
    """One batch is prefilled, then decoded, as `evaluate` has it."""
    device, rates, engine = machine.device, machine.rates, machine.engine
    prefill = phase_totals(group.variant, device, rates, points, "prefill", engine)
    decode = phase_totals(group.variant, device, rates, points, "decode", engine)

    def energy(pick: Pick | None) -> Array:
        steps, devices = points.osl - 1.0, points.devices if pick is None else pick(points.devices)
        return (prefill.joules_at(pick) + steps * decode.joules_at(pick)) * devices

    return Answers(
        Answers.columns(points),
        {"ttft_s": prefill.seconds, "step_s": decode.seconds, "memory_bytes": held},
        rent=_rent(device),
        energy=energy if has_energy(device) else None,
    )


def _continuous(group: Group, points: Points, machine: Machine) -> tuple[Answers, NDArray[np.bool_]]:
    """Requests are replaced as they end; and whether weights and one sequence fit."""
    found = steady(group.variant, machine.device, machine.rates, points, machine.engine)
    known = {name: getattr(found, name) for name in ("ttft_s", "tpot_s", "latency_s", "tokens_per_s")}
    known["memory_bytes"] = np.asarray(np.nan)
    return Answers(Answers.columns(points), known, rent=_rent(machine.device), energy=None), found.fits


def _rent(device: Device) -> Array:
    return np.asarray(np.nan if device.price_usd_per_h is None else device.price_usd_per_h)


class _Some:
    """Some of the points of a grid, in its order."""

    def __init__(self, where: NDArray[np.intp], shape: tuple[int, ...]) -> None:
        """Take flat indices, and the shape of the grid."""
        self.where, self.shape = where, shape
        self._along = np.unravel_index(where, shape)
        self._flat: dict[tuple[int, ...], NDArray[np.intp]] = {}

    def flat(self, axes: tuple[int, ...]) -> NDArray[np.intp]:
        """Flat indices of the points on a grid of some of the axes."""
        if axes not in self._flat:
            flat = np.zeros((), dtype=np.intp)
            for axis in axes:
                flat = flat * self.shape[axis] + self._along[axis]
            self._flat[axes] = np.broadcast_to(flat, self.where.shape)
        return self._flat[axes]

    def pick(self, values: NDArray[Scalar], /) -> NDArray[Scalar]:
        """Values at these points; one value is that of all."""
        before = len(self.shape) - values.ndim
        axes = tuple(before + axis for axis, length in enumerate(values.shape) if length > 1)
        return np.take(values.ravel(), self.flat(axes)) if axes else values.reshape(())


def _chosen(answers: Answers, some: _Some, aim: Aim) -> NDArray[np.intp]:
    """Of points that meet the limits, the best of each candidate (and batch, where points are wanted) and the front."""
    names = dict.fromkeys((aim.objective.name, *aim.front))
    columns = {name: np.broadcast_to(goodness(METRICS[name], answers[name]), some.where.shape) for name in names}
    best = _best(columns[aim.objective.name], some.flat((0, 2) if aim.points else (0,)))
    return np.concatenate([best, _front([columns[name] for name in aim.front])])


def _nearest(answers: Answers, some: _Some, aim: Aim) -> NDArray[np.intp]:
    """Where no point meets the limits, those that say why: the nearest to all of them, and the best for each."""
    wanted = [-_misses(answers, aim, some.where.shape)]
    wanted += [goodness(METRICS[name], answers[name]) for name, _ in aim.limits.given()]
    return np.concatenate([_best(np.broadcast_to(each, some.where.shape), some.flat(())) for each in wanted])


def _misses(answers: Answers, aim: Aim, shape: tuple[int, ...]) -> Array:
    """The largest excess over a limit."""
    misses = np.zeros(shape)
    for name, limit in aim.limits.given():
        misses = np.maximum(misses, excess(name, answers[name], limit))
    return misses


def _best(wanted: Array, kinds: NDArray[np.intp]) -> NDArray[np.intp]:
    """The first of the best points of each kind; none where all are minus infinity."""
    order = np.argsort(kinds, kind="stable")
    starts = np.flatnonzero(np.diff(kinds[order], prepend=-1))
    counts = np.diff(starts, append=len(order))
    best = np.maximum.reduceat(wanted[order], starts)
    with np.errstate(invalid="ignore"):
        enough = best - TIE * np.abs(best)
    near = np.flatnonzero(wanted[order] >= np.repeat(enough, counts))
    first = near[np.searchsorted(near, starts[np.isfinite(best)])]
    return order[first]


def _front(columns: Sequence[Array]) -> NDArray[np.intp]:
    """Points that no other beats.

    Of points that agree in one of two metrics only the best in the other can be on it: a decode does not vary with the
    chunks of a prompt, for example.
    """
    if len(columns) > 2:
        return front(np.stack(columns, axis=1))
    where = np.flatnonzero(~_clearly_beaten(*columns))
    one, other = sorted((column[where] for column in columns), key=_distinct)
    where = where[_best(other, np.unique(one, return_inverse=True)[1])]
    return where[front(np.stack([column[where] for column in columns], axis=1))]


def _clearly_beaten(first: Array, second: Array) -> NDArray[np.bool_]:
    """Whether one of a sample is as good in the first metric and better in the second by more than a tie."""
    sample = np.stack([first[::SAMPLE], second[::SAMPLE]], axis=1)
    steps = sample[front(sample)][::-1]
    # Of those as good in the first metric the next one is the best in the second.
    best = np.append(steps[:, 1], -np.inf)[np.searchsorted(steps[:, 0], first)]
    with np.errstate(invalid="ignore"):
        return second < best - 2.0 * TIE * np.abs(best)


def _distinct(values: Array) -> int:
    return len(np.unique(values))


def _smallest(group: Group, grid: Grid, machine: Machine) -> Scanned:
    """Where nothing fits, the point that needs the least memory."""
    held = sum(memory_by_kind(group.variant, grid.points, machine.engine).values(), np.zeros(()))
    held = np.where(grid.valid, held, np.inf)
    where = np.unravel_index(np.argmin(held), held.shape)
    kept = {name: np.array([np.nan]) for name in METRICS}
    kept |= {name: np.array([np.broadcast_to(getattr(grid.points, name), held.shape)[where]]) for name in CHOICES}
    kept |= {"memory_bytes": np.array([held[where]]), "misses": np.array([np.inf])}
    return Scanned(kept, 0, 0, 0)
