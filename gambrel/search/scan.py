"""Price all candidates of a group on a grid, and keep what can matter: the best of each, and the front.

Legend of the axes of a grid: K candidates (degrees), L placements, R batches, C chunks of a prompt, S sub-batches, P
micro-batches of a prefill, M micro-batches of decode. A prefill does not vary along M, nor decode along C and P, and
only transfers vary along L, so that a grid costs far less than its points.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.program import Rates
from gambrel.cost.vectorise import Array
from gambrel.estimation.evaluate import evaluate, memory_by_kind
from gambrel.estimation.points import Points, Workload
from gambrel.estimation.steady import steady
from gambrel.hardware.device import Device
from gambrel.runtimes.profile import EngineOverheads
from gambrel.search.candidates import DEGREES, SAME_LINKS, Group
from gambrel.search.front import front
from gambrel.search.metrics import METRICS, Metric
from gambrel.search.space import PARTS, PREFILL_PARTS, REPLICA_BATCHES, SUB_BATCHES, Space
from gambrel.search.targets import Limits, excess, goodness

Batching = Literal["static", "continuous"]

AXES = 7

PIECE_POINTS = 2**18
"""Points of a grid that are held at once."""

TIE = 1e-12
"""Values this near to each other, relatively, are equal: the first one wins."""

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
    """

    kept: Columns
    priced: int
    fit: int
    met: int


def scan(group: Group, machine: Machine, space: Space, aim: Aim, pruned: Counter[str]) -> Iterator[Scanned]:
    """Price the candidates of a group, piece by piece; `pruned` counts points that are left out."""
    for rows in _slices(group, space, aim):
        part = group.take(rows)
        grid = make_grid(part, space, aim)
        pruned[SAME_LINKS] += int(part.same_links.sum()) * math.prod(grid.valid.shape[2:])
        places = int((part.placements >= 0).sum()) * math.prod(grid.valid.shape[2:])
        pruned[SAME_PARTS] += places - int(grid.valid.sum())
        fits = _fits(part, grid, machine, aim)
        some: NDArray[np.bool_] = np.asarray(fits.any(axis=tuple(range(1, fits.ndim))))
        pruned[UNFIT] += int(grid.valid[~some].sum())
        if not some.any():
            yield _smallest(part, grid, machine)
            continue
        part, grid, fits = _only(part, grid, fits, some)
        yield _scan_piece(part, grid, fits, machine, aim)


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


def _slices(group: Group, space: Space, aim: Aim) -> Iterator[slice]:
    each = make_grid(group.take(slice(0, 1)), space, aim).valid.size // max(group.take(slice(0, 1)).placements.size, 1)
    rows = max(PIECE_POINTS // max(each * group.placements.shape[1], 1), 1)
    yield from (slice(start, start + rows) for start in range(0, len(group), rows))


def _fits(group: Group, grid: Grid, machine: Machine, aim: Aim) -> NDArray[np.bool_]:
    """Whether each point fits; in a continuous batch a point fits whose weights and one sequence do."""
    if aim.batching == "continuous":
        return grid.valid
    held = sum(memory_by_kind(group.variant, grid.points, machine.engine).values(), np.zeros(()))
    return grid.valid & (held <= machine.device.memory_bytes)


def _only(
    group: Group, grid: Grid, fits: NDArray[np.bool_], some: NDArray[np.bool_]
) -> tuple[Group, Grid, NDArray[np.bool_]]:
    if some.all():
        return group, grid, fits
    count = len(group)
    columns = {
        name: getattr(grid.points, name)[some]
        if getattr(grid.points, name).shape[:1] == (count,) and count > 1
        else getattr(grid.points, name)
        for name in Points.__slots__
    }
    left = replace(
        group,
        degrees={name: values[some] for name, values in group.degrees.items()},
        placements=group.placements[some],
        same_links=group.same_links[some],
    )
    return left, Grid(Points(**columns), grid.valid[some]), fits[some]


def _scan_piece(group: Group, grid: Grid, fits: NDArray[np.bool_], machine: Machine, aim: Aim) -> Scanned:
    shape = grid.valid.shape
    values = priced(group, grid.points, machine, aim.batching)
    values = {name: np.broadcast_to(value, shape) for name, value in values.items()}
    if aim.batching == "continuous":
        fits = fits & (values.pop("fits") > 0.0)
        if not fits.any():
            return _smallest(group, grid, machine)._replace(priced=int(grid.valid.sum()))
    misses = np.zeros(shape)
    for name, limit in aim.limits.given():
        misses = np.maximum(misses, excess(name, values[name], limit))
    met = fits & (misses <= 1.0)
    wanted = goodness(aim.objective, values[aim.objective.name])
    chosen = [
        _best(np.where(met, wanted, -np.inf), keep=(0, 2)),
        _best(np.where(fits & ~met, -misses, -np.inf)),
        _least(values, fits, aim),
        _front(values, met, aim),
    ]
    where = np.unravel_index(np.unique(np.concatenate(chosen)), shape)
    kept = {name: value[where] for name, value in values.items()}
    kept |= {name: np.broadcast_to(getattr(grid.points, name), shape)[where] for name in CHOICES}
    kept["misses"] = misses[where]
    return Scanned(kept, int(grid.valid.sum()), int(fits.sum()), int(met.sum()))


def priced(group: Group, points: Points, machine: Machine, batching: Batching) -> Mapping[str, Array]:
    """Every metric of METRICS at all points; of a continuous batch also whether it `fits`."""
    device = machine.device
    rent = np.asarray(np.nan if device.price_usd_per_h is None else device.price_usd_per_h)
    nothing = np.asarray(np.nan)
    if batching == "continuous":
        found = steady(group.variant, device, machine.rates, points, machine.engine)
        answers = {name: getattr(found, name) for name in ("ttft_s", "tpot_s", "latency_s", "tokens_per_s")}
        answers |= {"memory_bytes": nothing, "energy_per_token_j": nothing, "fits": found.fits.astype(np.float64)}
    else:
        result = evaluate(group.variant, device, machine.rates, points, machine.engine)
        tokens = points.batch * points.osl
        answers = {
            "ttft_s": result.ttft_s,
            "tpot_s": np.where(points.osl > 1.0, result.tpot_s, np.nan),
            "latency_s": result.latency_s,
            "tokens_per_s": result.tokens_per_s,
            "memory_bytes": result.memory_total_bytes,
            "energy_per_token_j": nothing if result.energy_j is None else result.energy_j / tokens,
        }
    answers["tokens_per_s_per_device"] = answers["tokens_per_s"] / points.devices
    answers["tokens_per_s_per_user"] = 1.0 / answers["tpot_s"]
    answers["power_w"] = answers["energy_per_token_j"] * answers["tokens_per_s"]
    answers["usd_per_h"] = rent * points.devices
    answers["usd_per_million_tokens"] = answers["usd_per_h"] / 3600.0 * 1e6 / answers["tokens_per_s"]
    return answers


def _best(wanted: Array, keep: tuple[int, ...] = ()) -> NDArray[np.intp]:
    """Flat indices of the best point for each index of the axes `keep`; none where all are minus infinity."""
    first = tuple(range(len(keep)))
    rows = math.prod(wanted.shape[axis] for axis in keep)
    turned = np.moveaxis(wanted, keep, first).reshape(rows, -1)
    best = turned.max(axis=1)
    with np.errstate(invalid="ignore"):
        column = (turned >= (best - TIE * np.abs(best))[:, None]).argmax(axis=1)
    places = np.moveaxis(np.arange(wanted.size).reshape(wanted.shape), keep, first).reshape(rows, -1)
    found = np.flatnonzero(np.isfinite(best))
    return places[found, column[found]]


def _least(values: Mapping[str, Array], fits: NDArray[np.bool_], aim: Aim) -> NDArray[np.intp]:
    """Of each limited metric, the point that fits and does best, which says whether the limit alone can be met."""
    found = [_best(np.where(fits, goodness(METRICS[name], values[name]), -np.inf)) for name, _ in aim.limits.given()]
    return np.concatenate(found) if found else np.empty(0, dtype=np.intp)


def _front(values: Mapping[str, Array], met: NDArray[np.bool_], aim: Aim) -> NDArray[np.intp]:
    where = np.flatnonzero(met)
    columns = [goodness(METRICS[name], values[name])[met] for name in aim.front]
    return where[front(np.stack(columns, axis=1))]


def _smallest(group: Group, grid: Grid, machine: Machine) -> Scanned:
    """Where nothing fits, the point that needs the least memory."""
    held = sum(memory_by_kind(group.variant, grid.points, machine.engine).values(), np.zeros(()))
    held = np.where(grid.valid, held, np.inf)
    where = np.unravel_index(np.argmin(held), held.shape)
    kept = {name: np.array([np.nan]) for name in METRICS}
    kept |= {name: np.array([np.broadcast_to(getattr(grid.points, name), held.shape)[where]]) for name in CHOICES}
    kept |= {"memory_bytes": np.array([held[where]]), "misses": np.array([np.inf])}
    return Scanned(kept, 0, 0, 0)
