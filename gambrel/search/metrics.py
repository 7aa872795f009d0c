"""The answers that can be optimised, limited, required, or asked what they depend on: one table of them."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, cast, get_args

from gambrel.units import Dimension

MetricName = Literal[
    "ttft",
    "tpot",
    "latency",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "energy_per_token",
    "usd_per_million_tokens",
    "memory",
]
"""Metrics that a single estimate has as a formula: `sensitivity` and `require` ask about these."""


class Metric(NamedTuple):
    """One answer.

    Attributes:
        name: As in results: with its unit.
        asked: As options ask for it: without.
        title: For people.
        unit: What it is measured in.
        time_power: The power of time in it: 1 for a time, -1 for a rate.
        evaluated: Its name among the numbers of an evaluation, where that is another.
    """

    name: str
    asked: str
    title: str
    unit: Dimension
    time_power: int = 0
    evaluated: str = ""

    @property
    def path(self) -> str:
        """Its name among the numbers of an evaluation."""
        return self.evaluated or self.name

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better: of all answers only of output."""
        return self.unit == "count"


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("ttft_s", "ttft", "TTFT", "s", 1),
        Metric("tpot_s", "tpot", "TPOT", "s", 1),
        Metric("latency_s", "latency", "request latency", "s", 1),
        Metric("tokens_per_s", "tokens_per_s", "output tokens/s", "count", -1),
        Metric("tokens_per_s_per_device", "tokens_per_s_per_device", "output tokens/s per device", "count", -1),
        Metric("tokens_per_s_per_user", "tokens_per_s_per_user", "output tokens/s for a user", "count", -1),
        Metric("memory_bytes", "memory", "memory of the fullest device", "B", evaluated="memory_total_bytes"),
        Metric("energy_per_token_j", "energy_per_token", "energy per output token", "J"),
        Metric("power_w", "power", "mean power of all devices", "W", -1),
        Metric("usd_per_million_tokens", "usd_per_million_tokens", "price of a million output tokens", "USD"),
        Metric("usd_per_h", "usd_per_h", "rent of all devices", "USD/h"),
    )
}
"""All metrics by name: a plan search can optimise and limit each, and put it on an axis of a front."""

BY_OPTION: Mapping[str, Metric] = {metric.asked: metric for metric in METRICS.values()}

ASKED: Mapping[MetricName, Metric] = {
    name: BY_OPTION[name] for name in cast("tuple[MetricName, ...]", get_args(MetricName))
}
"""Those of a single estimate."""
