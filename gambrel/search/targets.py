"""What a search looks for: the objective, the limits, and how far a point is from meeting them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.search.metrics import METRICS, Metric
from gambrel.search.result import Miss

OBJECTIVES: Mapping[str, str] = {
    "tokens_per_s_per_device": "tokens_per_s_per_device",
    "tokens_per_s": "tokens_per_s",
    "latency": "latency_s",
    "ttft": "ttft_s",
    "tpot": "tpot_s",
    "cost": "usd_per_million_tokens",
    "energy": "energy_per_token_j",
    "power": "power_w",
}
"""The metric of each objective."""

DEFAULT_FRONT = ("tokens_per_s_per_user", "tokens_per_s_per_device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a plan has to meet; None does not limit. All but the throughput are upper bounds.

    Attributes:
        ttft_s, tpot_s, latency_s, memory_bytes, energy_per_token_j, power_w, usd_per_million_tokens, usd_per_h: As
            METRICS; memory is limited by the device's own too.
        tokens_per_s: Least throughput.
        tokens_per_s_per_user: Least throughput of one user.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    latency_s: float | None = None
    memory_bytes: float | None = None
    energy_per_token_j: float | None = None
    power_w: float | None = None
    usd_per_million_tokens: float | None = None
    usd_per_h: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_per_user: float | None = None

    def __post_init__(self) -> None:
        """Check that limits are positive numbers."""
        problems = [
            Problem(where=name, what=f"{value:g} is no limit", fix="Give a positive number")
            for name, value in self.given()
            if not (np.isfinite(value) and value > 0.0)
        ]
        if problems:
            raise PlanError(*problems)

    def given(self) -> Iterator[tuple[str, float]]:
        """The limits by metric."""
        for field in fields(self):
            value: float | None = getattr(self, field.name)
            if value is not None:
                yield field.name, value


def objective_metric(objective: str) -> Metric:
    """The metric that an objective optimises.

    Raises:
        PlanError: There is no such objective.
    """
    if objective not in OBJECTIVES:
        fix = did_you_mean(objective, OBJECTIVES)
        raise PlanError(Problem(where="objective", what=f"unknown objective '{objective}'", fix=fix))
    return METRICS[OBJECTIVES[objective]]


def check_front(front: tuple[str, ...]) -> None:
    """Refuse axes of a front that are no metrics, and fewer than two or more than three of them.

    Raises:
        PlanError: With all that is wrong.
    """
    problems = [
        Problem(where="front", what=f"unknown metric '{name}'", fix=did_you_mean(name, METRICS))
        for name in front
        if name not in METRICS
    ]
    if not 2 <= len(set(front)) <= 3:
        fix = f"Name two or three of {', '.join(METRICS)}"
        problems.append(Problem(where="front", what=f"{len(set(front))} different metrics", fix=fix))
    if problems:
        raise PlanError(*problems)


def excess(metric: str, values: Array, limit: float) -> Array:
    """Ratio by which values miss a limit: at most 1 where they meet it; infinite where they are not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = limit / values if METRICS[metric].higher_is_better else values / limit
    return np.where(np.isnan(ratio), np.inf, ratio)


def goodness(metric: Metric, values: Array) -> Array:
    """Values with their sign turned so that more is better; unknown ones are the worst."""
    signed = values if metric.higher_is_better else -values
    return np.where(np.isnan(signed), -np.inf, signed)


class Missed(NamedTuple):
    """What no point of some meets.

    Attributes:
        tightest: What is missed by the largest factor: of `alone`, or where each limit can be met, of `together`.
        alone: Limits that no point meets.
        together: What the nearest point misses.
        nearest: Index of the point whose largest miss is the smallest.
    """

    tightest: Miss
    alone: Sequence[Miss]
    together: Sequence[Miss]
    nearest: int


def missed_by(values: Mapping[str, Array], limits: Limits) -> Missed:
    """What points miss of which none meets all limits.

    Args:
        values: Of each limited metric, one for each point.
        limits: What was asked.
    """
    ratios = {name: excess(name, values[name], limit) for name, limit in limits.given()}
    nearest = int(np.argmin(np.max(list(ratios.values()), axis=0)))
    alone: list[Miss] = []
    together: list[Miss] = []
    for name, limit in limits.given():
        for row, misses in ((int(np.argmin(ratios[name])), alone), (nearest, together)):
            value, ratio = float(values[name][row]), float(ratios[name][row])
            if ratio > 1.0:
                misses.append(Miss(metric=name, limit=limit, reached=value, gap=abs(value - limit), ratio=ratio))
    return Missed(max(alone or together, key=lambda miss: miss.ratio), alone, together, nearest)
