"""Directions in which a machine gets better, and how far along them it meets targets.

A *lever* is a factor f that multiplies some numbers of a machine and divides others. Times fall and rates of output
rise with every lever, so the least factor that meets all targets is found by dividing brackets, many factors of many
levers in one evaluation of what-if arrays.

The *least joint change* has the smallest `sum (log f)^2` over the levers of all changes that meet the targets: to
double one number counts as much as to double another, and several small changes count less than one large one. At its
solution the logarithms of the factors are in proportion to the elasticities of the targets that bind (the conditions of
Karush, Kuhn and Tucker). It is found by cutting off what misses a linearised target, again and again; in logarithms,
times that are sums and maxima of powers of the factors are convex.

Source: cutting planes: J. E. Kelley, "The Cutting-Plane Method for Solving Convex Programs", J. SIAM 8(4), 1960; each
step by C. Hildreth, "A quadratic programming procedure", Naval Research Logistics Quarterly 4(1), 1957.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gambrel.codegen.estimate import EstimateGraph, trace_estimate
from gambrel.codegen.slopes import gradient
from gambrel.cost.numbers import device_numbers, with_numbers
from gambrel.cost.rates import resolve_rate
from gambrel.estimation.api import Question
from gambrel.search.metrics import ASKED, MetricName
from gambrel.units import Dimension

FARTHEST = 40.0
"""Largest log2 of a factor: what 2^40 does not reach, nothing does."""

PRECISION = 1e-9
"""Width of a bracket of log2 of a factor at which the search ends."""

WAYS = 32
"""Parts that a bracket is divided into at a time."""

ROUNDS = 60
"""Most linearisations of the targets; some ten are usual."""

SWEEPS = 2000
"""Most sweeps over the linearised targets in one step."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One direction.

    Attributes:
        name: Of the number that stands for it, `memory.bandwidth`.
        title: For people.
        unit: What that number is measured in.
        today: Its value.
        powers: By name of a number, the power of the factor that it is multiplied by: 1 for a rate, -1 for a time.
    """

    name: str
    title: str
    unit: Dimension
    today: float
    powers: Mapping[str, float]

    @property
    def is_rate(self) -> bool:
        """Whether its number grows with the factor."""
        return self.powers[self.name] > 0.0


def levers_of(asked: Question) -> list[Lever]:
    """Memory bandwidth, compute (all peaks and the clock, as a faster clock of the units is), and each link's parts."""
    numbers = device_numbers(asked.device)
    units = [n for n in numbers if n.startswith("matrix.") or n in ("vector", "clock", "cache.bandwidth")]
    peak = _main_peak(asked)
    powers: dict[str, Mapping[str, float]] = {
        "memory.bandwidth": {"memory.bandwidth": 1.0},
        peak: dict.fromkeys(units, 1.0),
    }
    for link in asked.device.links:
        powers[f"links.{link.name}.bandwidth"] = {f"links.{link.name}.bandwidth": 1.0}
        powers[f"links.{link.name}.latency"] = {f"links.{link.name}.latency": -1.0}
    return [
        Lever(
            name=name,
            title=f"compute ({peak.removeprefix('matrix.')})" if name == peak else numbers[name].title,
            unit=numbers[name].unit,
            today=float(numbers[name].value),
            powers=its,
        )
        for name, its in powers.items()
    ]


def _main_peak(asked: Question) -> str:
    """The number that most FLOPs are computed at."""
    flops: dict[str, float] = {"vector": 0.0}
    result = asked.evaluate()
    for phase in (result.prefill, result.decode):
        for price, runs in zip(phase.rows, phase.weights, strict=True):
            if price.row.rate:
                rate = f"matrix.{resolve_rate(asked.device, price.row.rate)}"
                flops[rate] = flops.get(rate, 0.0) + float(price.flops * runs)
    most = max(flops, key=lambda name: flops[name])
    return most if most in device_numbers(asked.device) else "vector"


class Search:
    """Targets of one question, and machines that are better along its levers.

    Attributes:
        levers: Those that some target depends on.
    """

    def __init__(self, asked: Question, targets: Mapping[MetricName, float]) -> None:
        """Leave out the levers without any effect."""
        self._asked = asked
        self._targets = targets
        self._numbers = {name: float(each.value) for name, each in device_numbers(asked.device).items()}
        self.levers = levers_of(asked)
        each = np.eye(len(self.levers)) * FARTHEST
        ends = self.metrics(np.concatenate([each, -each]))
        moves = np.any([np.not_equal(*np.split(values, 2)) for values in ends.values()], axis=0)
        self.levers = [lever for lever, moved in zip(self.levers, moves, strict=True) if moved]

    def metrics(self, logs: Vector) -> dict[MetricName, Vector]:
        """The metrics of the targets on machines.

        Args:
            logs: log2 of the factors, a row a machine and a column a lever.
        """
        values = {name: np.full(len(logs), value) for name, value in self._numbers.items()}
        for lever, column in zip(self.levers, logs.T, strict=True):
            for name, power in lever.powers.items():
                values[name] = values[name] * np.exp2(power * column)
        moved = {name for lever in self.levers for name in lever.powers}
        found = self._asked.evaluate(with_numbers(self._asked.device, {name: values[name] for name in moved}))
        return {
            name: np.broadcast_to(np.asarray(getattr(found, ASKED[name].path)), (len(logs),)) for name in self._targets
        }

    def missed(self, logs: Vector) -> Vector:
        """The log of the ratio by which each machine misses the target that it misses most; at most 0 where none."""
        found = self.metrics(logs)
        each = [_miss(name, found[name], wanted) for name, wanted in self._targets.items()]
        return np.max(each, axis=0)

    def shortest(self, directions: Vector) -> Vector:
        """How far along each direction all targets are met; infinite where they are not.

        Args:
            directions: A row a direction, a column a lever; log2 of the factors at distance 1.
        """
        scale = FARTHEST / np.max(np.abs(directions), axis=1)
        low, high = -scale, scale.copy()
        unmet = self.missed(high[:, None] * directions) > 0.0
        while np.max((high - low) / scale) * FARTHEST > PRECISION:
            steps = low[:, None] + (high - low)[:, None] * np.arange(1, WAYS) / WAYS
            machines = (steps[..., None] * directions[:, None, :]).reshape(-1, directions.shape[1])
            met = self.missed(machines).reshape(steps.shape) <= 0.0
            # Steps are in order: all up to the first that meets the targets do not.
            first = np.where(met.any(axis=1), met.argmax(axis=1), WAYS - 1)
            edges = np.concatenate([low[:, None], steps, high[:, None]], axis=1)
            rows = np.arange(len(first))
            low, high = edges[rows, first], edges[rows, first + 1]
        return np.where(unmet, np.inf, high)

    def least(self) -> Vector | None:
        """log2 of the factors of the least joint change; None where the targets are met, or cannot be."""
        count = len(self.levers)
        if count == 0 or self.missed(np.zeros((1, count)))[0] <= 0.0:
            return None
        if self.missed(np.full((1, count), FARTHEST))[0] > 0.0:
            return None
        traced = trace_estimate(self._asked.variant, self._asked.device, self._asked.points, self._asked.engine)
        logs, rows, limits = np.zeros(count), np.empty((0, count)), np.empty(0)
        for _ in range(ROUNDS):
            misses, slopes = self._linear(traced, logs)
            if np.max(misses) <= PRECISION:
                break
            # All linearisations so far are kept: of a convex target, each leaves out only what misses it.
            rows, limits = np.vstack([rows, slopes]), np.append(limits, slopes @ logs - misses)
            logs = np.clip(nearest(rows, limits), 0.0, FARTHEST)
        return logs * self.shortest(logs[None, :])[0]

    def _linear(self, traced: EstimateGraph, logs: Vector) -> tuple[Vector, Vector]:
        """log2 of the misses of all targets at a point, and their slopes by the levers."""
        point = traced.point
        for lever, step in zip(self.levers, logs, strict=True):
            for name, power in lever.powers.items():
                point[name] *= 2.0 ** (power * step)
        values = traced.graph.evaluate(point)
        misses: list[float] = []
        slopes: list[list[float]] = []
        for name, wanted in self._targets.items():
            path = ASKED[name].path
            value, by = float(values[path]), gradient(traced.graph, point, path)
            sense = _sense(name)
            misses.append(float(_miss(name, values[path], wanted)) / np.log(2.0))
            slopes.append(
                [
                    sense * sum(p * by.get(n, 0.0) * point[n] / value for n, p in lever.powers.items())
                    for lever in self.levers
                ]
            )
        return np.array(misses), np.array(slopes)


def _sense(name: MetricName) -> float:
    """1 where a metric may be at most its target, -1 where it has to be at least that."""
    return -1.0 if ASKED[name].higher_is_better else 1.0


def _miss(name: MetricName, value: Vector, wanted: float) -> Vector:
    return _sense(name) * np.log(value / wanted)


def nearest(rows: Vector, limits: Vector) -> Vector:
    """The point nearest to the origin with `rows x <= limits` (Hildreth): one multiplier after the other."""
    norms = np.sum(rows**2, axis=1)
    multipliers, x = np.zeros(len(rows)), np.zeros(rows.shape[1])
    for _ in range(SWEEPS):
        before = x
        for i in np.flatnonzero(norms):
            new = max(multipliers[i] + (rows[i] @ x - limits[i]) / norms[i], 0.0)
            x = x - (new - multipliers[i]) * rows[i]
            multipliers[i] = new
        if np.max(np.abs(x - before)) < PRECISION:
            break
    return x
