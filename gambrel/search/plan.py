"""The Python API of the plan search: every plan of a space, priced, and the best of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gambrel import __version__
from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem
from gambrel.estimation.api import Machine as MachineName
from gambrel.estimation.api import Model, load, machine
from gambrel.estimation.build import grades
from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import Plan, Workload
from gambrel.frontends.architecture import Architecture
from gambrel.ir.verify import verify_module
from gambrel.runtimes import load_engine
from gambrel.search.candidates import Group, groups
from gambrel.search.front import front
from gambrel.search.metrics import METRICS
from gambrel.search.progress import Tally, Watch
from gambrel.search.result import Counts, Infeasible, MachineNote, Miss, PlanChoice, PlanResult
from gambrel.search.scan import CHOICES, Aim, Batching, Columns, Machine, Scanned, keep_memory, points_each, scan
from gambrel.search.space import Space
from gambrel.search.targets import DEFAULT_FRONT, Limits, check_front, goodness, missed_by, objective_metric

DIGITS = 12
"""Answers that agree in so many digits are equal; the plan that comes first in the order of the space then wins."""


NOBODY = Watch()
"""Nobody is told, and nobody stops it."""


@dataclass(slots=True)
class _Found:
    """What the scans of a search have kept: one column of codes for each choice that is no number."""

    parts: list[Columns] = field(default_factory=list[Columns])
    kinds: list[tuple[Machine, Group]] = field(default_factory=list[tuple[Machine, Group]])
    priced: int = 0
    fit: int = 0
    met: int = 0

    def add(self, scanned: Scanned, kind: int) -> None:
        """Keep what a scan kept."""
        self.parts.append({**scanned.kept, "kind": np.full(scanned.kept["misses"].shape, float(kind))})
        self.priced += scanned.priced
        self.fit += scanned.fit
        self.met += scanned.met

    def table(self) -> Columns:
        """All kept points, in the order of the space."""
        names = self.parts[0] if self.parts else ()
        return {name: np.concatenate([part[name] for part in self.parts]) for name in names}


def search(  # noqa: PLR0913  (an entry point: all but the first two are by keyword and optional)
    model: Model,
    on: MachineName | Sequence[MachineName],
    *,
    devices: int | Sequence[int],
    workload: Workload | None = None,
    limits: Limits | None = None,
    objective: str = "tokens_per_s_per_device",
    batching: Batching = "static",
    space: Space | None = None,
    front_metrics: tuple[str, ...] = DEFAULT_FRONT,
    top: int = 10,
    points: bool = False,
    overrides: Iterable[str] = (),
    watch: Watch = NOBODY,
) -> PlanResult:
    """Price every plan of a space on every machine, and find the best.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profiles or devices to choose from.
        devices: How many to choose from; a plan uses all of them.
        workload: Lengths; its batch is not used.
        limits: What a plan has to meet besides fitting in memory.
        objective: What to optimise, of OBJECTIVES.
        batching: `static`: one batch is prefilled, then decoded, as `estimate` has it; `continuous`: requests are
            replaced as they end, as `steady_state` has it.
        space: What to choose from.
        front_metrics: Two or three metrics that span the Pareto front.
        top: Most plans to return.
        points: Whether to return the best point of each plan and batch too.
        overrides: What-ifs on the profiles.
        watch: Who is told how far it is. Who stops it gets the best of what was searched, a first piece at least; the
            counts say what was not.

    Raises:
        GambrelError: The model, a profile, a name or a limit is wrong, or no plan of the space can run. A space without
            a plan that meets the limits is a result.
    """
    architecture, choices, overrides = load(model), space or Space(), tuple(overrides)
    names = (on,) if isinstance(on, MachineName) else tuple(on)
    counts = (devices,) if isinstance(devices, int) else tuple(devices)
    check_front(front_metrics)
    aim = Aim(
        work=replace(workload or Workload(), batch=1),
        batching=batching,
        objective=objective_metric(objective),
        limits=limits or Limits(),
        front=front_metrics,
        top=top,
        points=points,
    )
    machines = list(_machines(names, counts, overrides, choices.engine))
    _check_known([each for each in machines if each.devices == counts[0]], aim)
    pruned: Counter[str] = Counter()
    parts = [
        (each, part)
        for each in machines
        for part in groups(architecture, each.device, each.devices, choices, aim.work, pruned)
    ]
    if not parts:
        raise _nothing(architecture, machines, choices, pruned)
    placements = len(choices.placement_names)
    total = sum(len(part.members) * placements * points_each(part.staged, choices, aim) for _, part in parts)
    tally = Tally(watch, total, "points")
    found = _Found()
    keep_memory()
    for each, part in parts:
        if found.parts and tally.stopped:
            break
        group = part.compile(architecture, each.device, choices)
        found.kinds.append((each, group))
        for scanned in scan(group, each, choices, aim, pruned):
            found.add(scanned, len(found.kinds) - 1)
            tally.add(scanned.points)
            if tally.stopped:
                break
    result = _result(architecture, found, aim, pruned, unsearched=tally.left)
    return replace(result, named=named(model, architecture.name), overrides=overrides)


def _machines(
    names: Sequence[MachineName], counts: Sequence[int], overrides: Sequence[str], engine: str
) -> Iterator[Machine]:
    if not names or not counts:
        what = "no machine" if not names else "no number of devices"
        raise PlanError(Problem(where="plan", what=what, fix="Name at least one"))
    overheads = load_engine(engine)
    for name in names:
        device = machine(name, overrides)
        for count in counts:
            own = named(name, device.name)
            yield Machine(name=own, device=device, devices=count, rates=rates_of(device), engine=overheads)


def named(given: object, own: str) -> str:
    """A model or a machine as it was named, so that a command finds it again; else by its own name."""
    return str(given) if isinstance(given, str | Path) else own


def _check_known(machines: Sequence[Machine], aim: Aim) -> None:
    """Refuse an objective or a limit that cannot be known for a machine.

    Raises:
        PlanError: With every machine that lacks a price or energies.
    """
    wanted = {aim.objective.name, *(name for name, _ in aim.limits.given()), *aim.front}
    problems: list[Problem] = []
    if aim.batching == "continuous" and wanted & {"energy_per_token_j", "power_w", "memory_bytes"}:
        what = f"{', '.join(sorted(wanted & {'energy_per_token_j', 'power_w', 'memory_bytes'}))} of a continuous batch"
        problems.append(Problem(where="batching", what=what, why="it is not modelled", fix="Use static batching"))
    for each in machines:
        if wanted & {"usd_per_million_tokens", "usd_per_h"} and each.device.price_usd_per_h is None:
            what, fix = "the profile has no price", "Give one: --set price.rent=2USD/h"
            problems.append(Problem(where=each.name, what=what, fix=fix))
    if problems:
        raise PlanError(*problems)


def _notes(found: _Found) -> list[MachineNote]:
    """One note for each machine that was searched."""
    first = {each.name: (each, group) for each, group in reversed(found.kinds)}
    return [_note(*first[name]) for name in dict.fromkeys(each.name for each, _ in found.kinds)]


def _note(each: Machine, group: Group) -> MachineNote:
    device = each.device
    return MachineNote(
        machine=each.name,
        title=device.title,
        profile_hash=device.profile_hash,
        grades=grades(device, group.variant),
    )


def _nothing(architecture: Architecture, machines: Sequence[Machine], space: Space, pruned: Counter[str]) -> PlanError:
    sizes = sorted({each.devices for each in machines})
    counts = ", ".join(map(str, sizes))
    reasons = [f"{reason} ({count})" for reason, count in pruned.most_common()] or [
        f"{axis} {', '.join(map(str, degrees))} divides none of them"
        for axis in ("tp", "pp", "dp", "cp")
        if (degrees := getattr(space, axis)) and all(size % degree for size in sizes for degree in degrees)
    ]
    return PlanError(
        Problem(
            where="plan",
            what=f"no plan of {architecture.name} on {counts} devices can run",
            why="; ".join(reasons) or "no product of the degrees that are tried is a number of devices",
            fix="Give other numbers of devices, or open the space",
        )
    )


def _result(
    architecture: Architecture,
    found: _Found,
    aim: Aim,
    pruned: Counter[str],
    *,
    unsearched: int,
) -> PlanResult:
    table = found.table()
    met = np.flatnonzero(table["misses"] <= 1.0)
    value = _rounded(goodness(aim.objective, table[aim.objective.name]))
    order = met[np.lexsort((met, -value[met]))]
    shown = _first_of_each(found, table, order, value[order])[: aim.top]
    columns = np.stack([_rounded(goodness(METRICS[name], table[name])) for name in aim.front], axis=1)
    on_front = met[front(columns[met])]
    for kind in np.unique(table["kind"][np.concatenate([shown, on_front])]).tolist():
        verify_module(found.kinds[int(kind)][1].variant.module)
    best = [_choice(found, table, row, aim) for row in shown.tolist()]
    return PlanResult(
        model=architecture.name,
        workload=best[0].workload if best else aim.work,
        batching=aim.batching,
        objective=aim.objective.name,
        limits=dict(aim.limits.given()),
        best=best,
        front=[_choice(found, table, row, aim) for row in on_front.tolist()],
        front_metrics=aim.front,
        points=[_choice(found, table, row, aim) for row in met.tolist()] if aim.points else (),
        counts=Counts(
            priced=found.priced,
            fit=found.fit,
            met=found.met,
            pruned=dict(pruned.most_common()),
            unsearched=unsearched,
        ),
        infeasible=None if best else _infeasible(found, table, aim),
        machines=_notes(found),
        assumptions=_assumptions(aim),
        version=__version__,
    )


def _rounded(values: Array) -> Array:
    """Values to DIGITS significant digits, so that equal plans tie."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.power(10.0, DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.rint(values * scale) / scale
    return np.where(np.isfinite(rounded), rounded, values)


def _first_of_each(found: _Found, table: Columns, order: NDArray[np.intp], value: Array) -> NDArray[np.intp]:
    """The first row of each machine, strategy, formats and degrees.

    More replicas of a plan that do neither better nor worse are the same plan on more devices, and not shown again.
    """
    kinds = [(each.name, group.formats, group.strategy) for each, group in found.kinds]
    first_kind = np.array([kinds.index(kind) for kind in kinds], dtype=np.float64)
    columns = {name: table[name][order] for name in ("kind", "tp", "pp", "dp", "cp", "ep")}
    columns |= {"same": first_kind[columns["kind"].astype(np.intp)], "value": value}
    rows = np.arange(len(order))
    for names in (("kind", "tp", "pp", "dp", "cp", "ep"), ("same", "tp", "pp", "cp", "ep", "value")):
        _, first = np.unique(np.stack([columns[name][rows] for name in names], axis=1), axis=0, return_index=True)
        rows = rows[np.sort(first)]
    return order[rows]


def _choice(found: _Found, table: Columns, row: int, aim: Aim) -> PlanChoice:
    each, group = found.kinds[int(table["kind"][row])]
    formats = group.formats
    cells = {name: float(table[name][row]) for name in CHOICES}
    chunk = cells["prefill_chunk"]
    plan = Plan(
        strategy=group.strategy,
        tp=int(cells["tp"]),
        pp=int(cells["pp"]),
        dp=int(cells["dp"]),
        cp=int(cells["cp"]),
        ep=int(cells["ep"]),
        sub_batches=int(cells["sub_batches"]),
        prefill_microbatches=int(cells["prefill_microbatches"]),
        microbatches=int(cells["microbatches"]),
        prefill_chunk=int(chunk) if np.isfinite(chunk) else None,
        placement=PLACEMENTS[int(cells["placement"])],
        weights=formats.weights,
        experts=formats.experts,
        activations=formats.activations,
        kv=formats.kv,
        engine=each.engine.name,
    )
    metrics = {name: float(table[name][row]) for name in METRICS}
    return PlanChoice(
        machine=each.name,
        devices=each.devices,
        workload=replace(aim.work, batch=int(cells["batch"])),
        plan=plan,
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
    )


def _infeasible(found: _Found, table: Columns, aim: Aim) -> Infeasible[PlanChoice]:
    fitting = np.flatnonzero(np.isfinite(table["misses"]))
    if not len(fitting):
        row = int(np.nanargmin(table["memory_bytes"]))
        each = found.kinds[int(table["kind"][row])][0]
        limit, need = float(np.asarray(each.device.memory_bytes)), float(table["memory_bytes"][row])
        miss = Miss(metric="memory_bytes", limit=limit, reached=need, gap=need - limit, ratio=need / limit)
        return Infeasible(tightest=miss, alone=(miss,), together=(), nearest=None)
    missed = missed_by({name: table[name][fitting] for name in METRICS}, aim.limits)
    nearest = _choice(found, table, int(fitting[missed.nearest]), aim)
    return Infeasible(tightest=missed.tightest, alone=missed.alone, together=missed.together, nearest=nearest)


def _assumptions(aim: Aim) -> tuple[str, ...]:
    if aim.batching == "continuous":
        return ("requests are replaced as they end; the batch is the number in flight over all replicas",)
    return ("one batch is prefilled at once, then decoded together; TTFT is that of the whole batch",)
