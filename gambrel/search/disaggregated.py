"""Prefill and decode on devices of their own: two plans, the cache sent between them, and instances in a matched rate.

Plans of both phases come from searches of their own; how instances of them are matched stands in
`gambrel.search.pools`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from gambrel import __version__
from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.evaluate import memory_by_kind
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.resolve import resolve
from gambrel.estimation.variant import compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.search.front import front
from gambrel.search.metrics import METRICS, Metric
from gambrel.search.plan import NOBODY, named, search
from gambrel.search.pools import Disaggregated, Side, distinct, pairs
from gambrel.search.progress import Tally, Watch
from gambrel.search.result import Infeasible, MachineNote
from gambrel.search.space import Space
from gambrel.search.targets import DEFAULT_FRONT, Limits, excess, goodness, missed_by, objective_metric

ASSUMPTIONS = (
    "prompts of one batch are prefilled at once; TTFT is that of the whole batch",
    "the first token comes from the prefill instance, and the second waits for the cache",
    "transfers of caches overlap with nothing; queues between the pools and uneven lengths are not counted",
)

MOST_INSTANCE = 64
"""Devices of the largest instance that is tried; sizes are powers of two and the boards of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisaggregatedResult:
    """The best pairs of pools.

    Attributes:
        model: Its name.
        workload: Lengths.
        devices: Of both pools together, at most.
        objective: What was optimised.
        limits: What had to be met.
        best: Best first; empty where no pair meets the limits.
        front: Pairs that no other beats in tokens/s for a user and per device.
        pairs: Pairs of plans that were matched.
        infeasible: Why there is no pair; None where there is one.
        machines: What was searched.
        assumptions: In words.
        version: Of this project.
        named: The model as it was named: a library name or a path.
        overrides: What-ifs on the profiles.
    """

    model: str
    workload: Workload
    devices: int
    objective: str
    limits: Mapping[str, float]
    best: Sequence[Disaggregated]
    front: Sequence[Disaggregated]
    pairs: int
    infeasible: Infeasible[Disaggregated] | None
    machines: Sequence[MachineNote]
    assumptions: Sequence[str]
    version: str
    named: str
    overrides: Sequence[str]

    @property
    def feasible(self) -> bool:
        """Whether some pair meets everything."""
        return self.infeasible is None

    def to_dict(self) -> dict[str, object]:
        """Plain values; units are in the names."""
        return {**asdict(self), "feasible": self.feasible}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is looked for: the model, lengths and choices."""

    architecture: Architecture
    work: Workload
    space: Space


def search_disaggregated(  # noqa: PLR0913  (an entry point: all but the first two are by keyword and optional)
    model: Model,
    on: Machine | Sequence[Machine],
    *,
    devices: int,
    workload: Workload | None = None,
    limits: Limits | None = None,
    objective: str = "tokens_per_s_per_device",
    space: Space | None = None,
    top: int = 10,
    overrides: Sequence[str] = (),
    watch: Watch = NOBODY,
) -> DisaggregatedResult:
    """The best pools of prefill and decode instances; each may be of any of the machines.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profiles or devices to choose from.
        devices: Of both pools together.
        workload: Lengths; outputs of at least two tokens.
        limits: On ttft, tpot, latency, throughput and rent.
        objective: `tokens_per_s_per_device`, `tokens_per_s`, `latency`, `ttft`, `tpot` or `cost`.
        space: Choices of the plans of instances.
        top: Most pairs to return, each of other machines, instance sizes or plans.
        overrides: What-ifs on the profiles.
        watch: Who is told how far it is, in searches.

    Raises:
        GambrelError: The model, a profile, a name or a limit is wrong, or the output has a single token.
    """
    work, wanted = workload or Workload(), limits or Limits()
    metric = objective_metric(objective)
    given = (on,) if isinstance(on, Machine) else tuple(on)
    machines = {named(each, device.name): device for each in given for device in (machine(each, tuple(overrides)),)}
    _check(work, devices, metric, wanted)
    _check_prices(machines, metric, wanted)
    asked = _Asked(architecture=load(model), work=work, space=space or Space())
    instances = [(name, size) for name, device in machines.items() for size in _instance_sizes(device, devices)]
    tally = Tally(watch, 2 * len(instances), "searches")
    prefill, decode = (_sides(asked, machines, instances, phase, tally) for phase in (_PREFILL, _DECODE))
    cache = {name: _cache_bytes(asked, device) for name, device in machines.items()}
    found = list(pairs(prefill, decode, cache, work, devices))
    values = {name: np.array([each.metrics.get(name, np.nan) for each in found]) for name in METRICS}
    met = _met(values, wanted, metric)
    notes = {side.name: side.note for side in (*prefill, *decode)}
    return DisaggregatedResult(
        model=asked.architecture.name,
        workload=replace(work, batch=1),
        devices=devices,
        objective=metric.name,
        limits=dict(wanted.given()),
        best=distinct([found[row] for row in met])[:top],
        front=_front(found, values, met),
        pairs=len(found),
        infeasible=None if len(met) else _infeasible(found, values, wanted, (prefill, decode), devices),
        machines=list(notes.values()),
        assumptions=ASSUMPTIONS,
        version=__version__,
        named=named(model, asked.architecture.name),
        overrides=tuple(overrides),
    )


def _met(values: Mapping[str, Array], limits: Limits, objective: Metric) -> list[int]:
    """Rows that meet all limits, the best first; of equally good ones, as where one pool is the bound, the faster."""
    wanted = goodness(objective, values[objective.name])
    ratios = [excess(name, values[name], limit) for name, limit in limits.given()]
    met = np.flatnonzero(np.all([each <= 1.0 for each in ratios], axis=0) if ratios else np.ones(len(wanted), np.bool_))
    return met[np.lexsort((values["latency_s"][met], -wanted[met]))].tolist()


def _front(found: Sequence[Disaggregated], values: Mapping[str, Array], met: Sequence[int]) -> list[Disaggregated]:
    columns = np.stack([goodness(METRICS[name], values[name][met]) for name in DEFAULT_FRONT], axis=1)
    return [found[met[row]] for row in front(columns)]


def _infeasible(
    found: Sequence[Disaggregated],
    values: Mapping[str, Array],
    limits: Limits,
    sides: tuple[Sequence[Side], Sequence[Side]],
    devices: int,
) -> Infeasible[Disaggregated]:
    """Which limit is missed the most, or that a phase fits nowhere.

    Raises:
        PlanError: Both phases fit, but no instance of each into the devices.
    """
    if found:
        missed = missed_by(values, limits)
        nearest = found[missed.nearest]
        return Infeasible(tightest=missed.tightest, alone=missed.alone, together=missed.together, nearest=nearest)
    for side in sides:
        if not any(each.choices for each in side):
            least = min((each.lacking for each in side if each.lacking), key=lambda miss: miss.ratio)
            return Infeasible(tightest=least, alone=(least,), together=(), nearest=None)
    first, second = (min(each.devices for each in side if each.choices) for side in sides)
    what = f"the smallest instances that fit take {first} devices for prefill and {second} for decode"
    raise PlanError(Problem(where="devices", what=what, fix=f"Give {first + second} or more, not {devices}"))


def _check(work: Workload, devices: int, metric: Metric, limits: Limits) -> None:
    problems: list[Problem] = []
    if work.osl < 2:
        what = "an output of one token needs no decode"
        problems.append(Problem(where="workload.osl", what=what, fix="Ask for 2 or more"))
    if devices < 2:
        what = f"{devices} device for two pools"
        problems.append(Problem(where="devices", what=what, fix="Give 2 or more"))
    unknown = {"energy_per_token_j", "power_w", "memory_bytes"} & {metric.name, *(name for name, _ in limits.given())}
    if unknown:
        why = "it is not modelled for two pools"
        problems.append(Problem(where="disaggregated", what=", ".join(sorted(unknown)), why=why))
    if problems:
        raise PlanError(*problems)


def _check_prices(machines: Mapping[str, Device], metric: Metric, limits: Limits) -> None:
    """Refuse an objective or a limit in dollars where a machine has no price.

    Raises:
        PlanError: With every such machine.
    """
    if {"usd_per_million_tokens", "usd_per_h"} & {metric.name, *(name for name, _ in limits.given())}:
        fix = "Give one: --set price.rent=2USD/h"
        without = [name for name, device in machines.items() if device.price_usd_per_h is None]
        if without:
            raise PlanError(*(Problem(where=name, what="the profile has no price", fix=fix) for name in without))


def _instance_sizes(device: Device, devices: int) -> list[int]:
    """Devices of an instance: powers of two and whole domains of the links, below the number of devices."""
    powers = {2**n for n in range(MOST_INSTANCE.bit_length()) if 2**n < devices}
    most = max((link.size for link in device.links), default=1)
    boards = {link.size for link in device.links if link.size < min(devices, MOST_INSTANCE + 1)}
    return sorted(size for size in powers | boards if size <= most)


class _Phase(NamedTuple):
    """What instances of one phase are asked, and what matters of them."""

    name: str
    lengths: Callable[[Workload], Workload]
    front: tuple[str, ...]


def prefill_work(work: Workload) -> Workload:
    """What a prefill instance does of requests."""
    return replace(work, osl=1)


def decode_work(work: Workload) -> Workload:
    """What a decode instance does: the prompt is in the cache already, and its last token starts the decode."""
    return replace(work, prefix=work.prefix + work.isl - 1, isl=1)


_PREFILL = _Phase("prefill", prefill_work, ("ttft_s", "tokens_per_s_per_device"))
_DECODE = _Phase("decode", decode_work, ("tpot_s", "tokens_per_s_per_device"))


def _sides(
    asked: _Asked, machines: Mapping[str, Device], instances: Sequence[tuple[str, int]], phase: _Phase, tally: Tally
) -> list[Side]:
    """Plans of a phase on every machine and size of an instance, those on the front of time against throughput.

    Raises:
        PlanError: None can run, whatever fits.
    """
    out: list[Side] = []
    problems: dict[Problem, None] = {}
    for name, size in instances:
        work = replace(phase.lengths(asked.work), batch=1)
        tally.add()
        try:
            found = search(
                asked.architecture,
                machines[name],
                devices=size,
                workload=work,
                space=asked.space,
                front_metrics=phase.front,
            )
        except PlanError as error:
            problems |= dict.fromkeys(error.problems)
            continue
        lacking = None if found.infeasible is None else found.infeasible.tightest
        (note,) = (replace(note, machine=name) for note in found.machines)
        side = Side(name=name, device=machines[name], devices=size, choices=found.front, lacking=lacking, note=note)
        out.append(side)
    if not out:
        raise PlanError(*(replace(problem, where=phase.name) for problem in problems))
    return out


def _cache_bytes(asked: _Asked, device: Device) -> float:
    """Bytes of the cache (and of recurrent states) that one prompt leaves."""
    work = asked.work
    resolved = resolve(asked.architecture, device, Workload(), Plan(kv=asked.space.kv[0]), None)
    variant = compile_variant(asked.architecture, resolved.structure)
    points = Points.of(batch=1.0, isl=float(work.isl), osl=0.0, prefix=float(work.prefix))
    return float(memory_by_kind(variant, points)["kv_cache"])
