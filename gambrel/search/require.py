"""The inverse question: what would a machine need to meet targets?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, cast

import numpy as np

from gambrel.cost.numbers import device_numbers
from gambrel.errors import PlanError, Problem
from gambrel.estimation.api import Machine, Model, Question, ask
from gambrel.estimation.points import Plan, Workload
from gambrel.search.levers import FARTHEST, Lever, Search
from gambrel.search.metrics import ASKED, MetricName
from gambrel.units import Dimension

TargetName = Literal["ttft", "tpot", "latency", "tokens_per_s", "tokens_per_s_per_device"]
"""Metrics that targets may be set for: at most a time, at least a rate of output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target beside what the machine does today.

    Attributes:
        metric: Which.
        title: For people.
        unit: What it is measured in.
        wanted: At most this of a time, at least this of a rate.
        today: What the estimate is.
        met: Whether that is enough.
    """

    metric: MetricName
    title: str
    unit: Dimension
    wanted: float
    today: float
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one number of a machine has to be.

    Attributes:
        name: For example `memory.bandwidth`.
        title: For people.
        unit: What it is measured in.
        today: The number.
        factor: What is enough over today's number: at least that of a rate or a capacity, at most that of a time. None
            where nothing is enough.
        needed: The number with that factor.
        reached: Where nothing is enough, the metrics of the targets as the number goes to its limit.
    """

    name: str
    title: str
    unit: Dimension
    today: float
    factor: float | None
    needed: float | None
    reached: Mapping[MetricName, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a machine needs to meet targets.

    Attributes:
        model: Its name.
        device: For people.
        devices: How many.
        workload: What was asked.
        plan: How the model is split, with every default filled in.
        targets: What has to hold.
        memory: The capacity that the plan needs; it fits where the factor is at most 1.
        alone: What each number has to be with all others as they are.
        together: What the rates have to be if all grow by one factor; empty where none is enough.
        least: The least joint change; empty where the targets are met, or no change meets them.
        limits: The metrics of the targets with all of these numbers at their limits.
        lower_bound: Whether some op was let pass unpriced.
    """

    model: str
    device: str
    devices: int
    workload: Workload
    plan: Plan
    targets: Sequence[Target]
    memory: Need
    alone: Sequence[Need]
    together: Sequence[Need]
    least: Sequence[Need]
    limits: Mapping[MetricName, float]
    lower_bound: bool = False

    @property
    def met(self) -> bool:
        """Whether the machine as it is meets all targets, and the plan fits."""
        return all(target.met for target in self.targets) and self.fits

    @property
    def fits(self) -> bool:
        """Whether the plan fits into memory."""
        return self.memory.factor is not None and self.memory.factor <= 1.0

    def to_dict(self) -> dict[str, object]:
        """Plain values only; units are given beside the values."""
        return {**asdict(self), "fits": self.fits, "met": self.met}


def meets(target: Target, value: float) -> bool:
    """Whether a value of the target's metric is enough."""
    return value >= target.wanted if ASKED[target.metric].higher_is_better else value <= target.wanted


def require(  # noqa: PLR0913  (an entry point as `estimate`)
    model: Model,
    on: Machine,
    targets: Mapping[TargetName, float],
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Requirements:
    """The least bandwidth, compute, links and capacity that meet targets, one at a time and together.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profile name or path, or a Device.
        targets: The most (times) or the least (rates of output) of some metrics, in SI units.
        plan: How the model is split and stored.
        workload: The batch.
        devices: Devices to use; None: what the plan's degrees take.
        overrides: What-ifs on the profile.
        allow_unpriced: Let ops without a cost rule pass; what is needed is then a lower bound.

    Raises:
        PlanError: There is no target, one is not positive, or it is a TPOT of a single output token.
        GambrelError: As `estimate`.
    """
    asked = ask(
        model,
        on,
        plan=plan,
        workload=workload,
        devices=devices,
        overrides=overrides,
        allow_unpriced=allow_unpriced,
    )
    wanted = cast(Mapping[MetricName, float], targets)
    _check(wanted, asked.workload)
    search = Search(asked, wanted)
    count = len(search.levers)
    today, limits = (search.metrics(np.full((1, count), far)) for far in (0.0, FARTHEST))
    return Requirements(
        model=asked.architecture.name,
        device=asked.device.title,
        devices=int(asked.points.devices),
        workload=asked.workload,
        plan=asked.resolved.plan,
        targets=[_target(name, limit, float(today[name][0])) for name, limit in wanted.items()],
        memory=_memory(asked),
        alone=_alone(search),
        together=_together(search),
        least=_least(search),
        limits={name: float(values[0]) for name, values in limits.items()},
        lower_bound=asked.lower_bound,
    )


def _check(targets: Mapping[MetricName, float], workload: Workload) -> None:
    problems = [
        Problem(where=name, what=f"{value:g} is no target", fix="Give a number above zero")
        for name, value in targets.items()
        if not (np.isfinite(value) and value > 0.0)
    ]
    if not targets:
        problems.append(Problem(where="targets", what="there are none", fix="Give one, a TPOT of 20 ms for example"))
    if "tpot" in targets and workload.osl == 1:
        problems.append(Problem(where="tpot", what="a single output token has no TPOT", fix="Ask for a larger osl"))
    if problems:
        raise PlanError(*problems)


def _target(name: MetricName, wanted: float, today: float) -> Target:
    metric = ASKED[name]
    target = Target(metric=name, title=metric.title, unit=metric.unit, wanted=wanted, today=today, met=False)
    return replace(target, met=meets(target, today))


def _memory(asked: Question) -> Need:
    number = device_numbers(asked.device)["memory.capacity"]
    today, needed = float(number.value), float(asked.evaluate().memory_total_bytes)
    return Need(
        name=number.name,
        title=number.title,
        unit=number.unit,
        today=today,
        factor=needed / today,
        needed=needed,
        reached={},
    )


def _alone(search: Search) -> list[Need]:
    if not search.levers:
        return []
    each = np.eye(len(search.levers))
    limits = search.metrics(each * FARTHEST)
    return [
        _need(lever, log, {name: float(values[i]) for name, values in limits.items()})
        for i, (lever, log) in enumerate(zip(search.levers, search.shortest(each).tolist(), strict=True))
    ]


def _together(search: Search) -> list[Need]:
    rates = np.array([[1.0 if lever.is_rate else 0.0 for lever in search.levers]])
    if not rates.any():
        return []
    log = float(search.shortest(rates)[0])
    return [_need(lever, log, {}) for lever in search.levers if lever.is_rate] if np.isfinite(log) else []


def _least(search: Search) -> list[Need]:
    logs = search.least()
    return [] if logs is None else [_need(x, log, {}) for x, log in zip(search.levers, logs.tolist(), strict=True)]


def _need(lever: Lever, log: float, limits: Mapping[MetricName, float]) -> Need:
    found = np.isfinite(log)
    factor = float(2.0 ** (log if lever.is_rate else -log)) if found else None
    return Need(
        name=lever.name,
        title=lever.title,
        unit=lever.unit,
        today=lever.today,
        factor=factor,
        needed=None if factor is None else lever.today * factor,
        reached={} if found else limits,
    )
