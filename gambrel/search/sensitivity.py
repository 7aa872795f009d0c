"""What an estimate depends on: by how many percent it changes with one percent more of each number.

The *elasticity* of a metric by a number x is `d log metric / d log x`: exact derivatives of the estimate's formulas.
Counts (batch, lengths) enter through whole tiles, pages and passes, where a derivative is zero between steps; for them
the mean elasticity over a factor of two is given, from the metric at half and at twice the count.

Of the elasticities of a time, those by times add up to one more than those by rates: with f times as fast a clock, all
rates f times as high and all times 1/f as long, everything takes 1/f of the time (Euler's theorem on homogeneous
functions). What is missing from that sum belongs to the times that no number of the device sets: launches, waves,
ramps, and the engine's time on the host.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from gambrel.codegen.estimate import TITLES, EstimateGraph, results, trace_estimate
from gambrel.codegen.slopes import Kink, gradient, kinks
from gambrel.cost.numbers import TIME_POWERS
from gambrel.errors import PlanError, Problem
from gambrel.estimation.api import Machine, Model, Question, ask
from gambrel.estimation.evaluate import Evaluation
from gambrel.estimation.points import LENGTHS, Plan, Workload
from gambrel.search.metrics import ASKED, Metric, MetricName
from gambrel.units import Dimension

SMOOTH = 1e-9
"""Difference of the elasticities from both sides that counts as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """How a metric depends on one number of the device.

    Attributes:
        name: For example `memory.bandwidth`.
        title: For people.
        value: Of the number, in its unit.
        unit: What it is measured in.
        elasticity: Percent of change of the metric for one percent more.
        left, right: The same for a little less and for a little more, where they differ: a limit is just reached
            there. NaN where the metric jumps.
    """

    name: str
    title: str
    value: float
    unit: Dimension
    elasticity: float
    left: float | None = None
    right: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDependence:
    """How a metric depends on a count of the workload.

    Attributes:
        name: For example `batch`.
        title: For people.
        value: The count.
        elasticity: Mean percent of change for one percent more, between half and twice the count.
        half, twice: The metric over what it is now, there; None where the plan cannot run so.
    """

    name: str
    title: str
    value: int
    elasticity: float
    half: float | None
    twice: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What one metric of one estimate depends on.

    Attributes:
        model: Its name.
        device: For people.
        devices: How many.
        workload: What was asked.
        plan: How the model is split, with every default filled in.
        metric: Which.
        title: For people.
        value: Of the metric.
        unit: What it is measured in.
        numbers: Of the device, those with any effect, the largest first.
        fixed: Elasticity by all the times at once that no number of the device sets.
        counts: Of the workload, the largest first.
        fits: Whether the plan fits into memory; its times are those that it would take.
        lower_bound: Whether some op was let pass unpriced.
    """

    model: str
    device: str
    devices: int
    workload: Workload
    plan: Plan
    metric: MetricName
    title: str
    value: float
    unit: Dimension
    numbers: Sequence[Dependence]
    fixed: float
    counts: Sequence[CountDependence]
    fits: bool
    lower_bound: bool = False

    def to_dict(self) -> dict[str, object]:
        """Plain values only; units are given beside the values."""
        return asdict(self)


def sensitivity(  # noqa: PLR0913  (an entry point as `estimate`)
    model: Model,
    on: Machine,
    metric: MetricName = "tpot",
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Sensitivity:
    """What a metric of an estimate depends on; arguments as those of `estimate`.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profile name or path, or a Device.
        metric: Which answer of the estimate.
        plan: How the model is split and stored.
        workload: The batch.
        devices: Devices to use; None: what the plan's degrees take.
        overrides: What-ifs on the profile.
        allow_unpriced: Let ops without a cost rule pass; the metric is then a lower bound.

    Raises:
        PlanError: The estimate has no such answer: a single output token, or a profile without energies or price.
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
    which, result = ASKED[metric], asked.evaluate()
    now = _metric(asked, result, which)
    traced = trace_estimate(asked.variant, asked.device, asked.points, asked.engine)
    numbers = _numbers(traced, which, now)
    known = sum(TIME_POWERS.get(each.unit, 0) * each.elasticity for each in numbers)
    return Sensitivity(
        model=asked.architecture.name,
        device=asked.device.title,
        devices=int(asked.points.devices),
        workload=asked.workload,
        plan=asked.resolved.plan,
        metric=metric,
        title=which.title,
        value=now,
        unit=which.unit,
        numbers=sorted(numbers, key=lambda each: -abs(each.elasticity)),
        fixed=which.time_power - known,
        counts=sorted(_counts(asked, which, now), key=lambda each: -abs(each.elasticity)),
        fits=bool(result.memory_total_bytes <= result.capacity_bytes),
        lower_bound=asked.lower_bound,
    )


def _metric(asked: Question, result: Evaluation, which: Metric) -> float:
    """A metric of an estimate.

    Raises:
        PlanError: The estimate has no such answer.
    """
    found = results(result, asked.points).get(which.path)
    if found is None:
        what = f"{asked.device.name} has not the numbers for the {which.title}"
        raise PlanError(Problem(where="metric", what=what, fix="Ask for another metric, or add them to the profile"))
    if which.path == "tpot_s" and asked.workload.osl == 1:
        raise PlanError(Problem(where="metric", what="a single output token has no TPOT", fix="Ask for a larger osl"))
    return float(found)


def _numbers(traced: EstimateGraph, which: Metric, now: float) -> list[Dependence]:
    point = traced.point
    slopes, sides = gradient(traced.graph, point, which.path), kinks(traced.graph, point, which.path)
    out: list[Dependence] = []
    for name, each in traced.inputs.items():
        scale = point[name] / now
        elasticity = slopes.get(name, 0.0) * scale
        left, right = _sides(sides.get(name, Kink(left=0.0, right=0.0)), scale)
        if name not in LENGTHS and (elasticity or left or right):
            out.append(
                Dependence(
                    name=name,
                    title=each.title,
                    value=point[name],
                    unit=each.unit,
                    elasticity=elasticity,
                    left=left,
                    right=right,
                )
            )
    return out


def _sides(sides: Kink, scale: float) -> tuple[float, float] | tuple[None, None]:
    left, right = sides.left * scale, sides.right * scale
    return (None, None) if abs(left - right) <= SMOOTH else (left, right)


def _counts(asked: Question, which: Metric, now: float) -> list[CountDependence]:
    out: list[CountDependence] = []
    for name in LENGTHS:
        value: int = getattr(asked.workload, name)
        # Half of an odd count is rounded up: the factors of what follows are those of the counts that were asked.
        around = {-(-value // 2): None, 2 * value: None} if value else {}
        found = {count: _elsewhere(asked, which, replace(asked.workload, **{name: count})) for count in around}
        known = {value: now, **{count: metric for count, metric in found.items() if metric is not None}}
        low, high = min(known), max(known)
        if low < high:
            half, twice = (None if (f := found[count]) is None or count == value else f / now for count in around)
            out.append(
                CountDependence(
                    name=name,
                    title=TITLES[name],
                    value=value,
                    elasticity=math.log(known[high] / known[low]) / math.log(high / low),
                    half=half,
                    twice=twice,
                )
            )
    return out


def _elsewhere(asked: Question, which: Metric, workload: Workload) -> float | None:
    """The metric of another workload, resolved anew; None where the plan cannot run it."""
    try:
        other = ask(
            asked.architecture,
            asked.device,
            plan=asked.plan,
            workload=workload,
            devices=asked.devices,
            allow_unpriced=asked.lower_bound,
        )
        return _metric(other, other.evaluate(), which)
    except PlanError:
        return None
