"""The answers of an estimate that can be asked about, named as the limits of a plan search are."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

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


class Metric(NamedTuple):
    """One answer.

    Attributes:
        path: Its name among the results of an estimate.
        title: For people.
        unit: What it is measured in.
        time_power: The power of time in it: 1 for a time, -1 for a rate.
    """

    path: str
    title: str
    unit: Dimension
    time_power: int


METRICS: Mapping[MetricName, Metric] = {
    "ttft": Metric("ttft_s", "TTFT", "s", 1),
    "tpot": Metric("tpot_s", "TPOT", "s", 1),
    "latency": Metric("latency_s", "request latency", "s", 1),
    "tokens_per_s": Metric("tokens_per_s", "output tokens/s", "count", -1),
    "tokens_per_s_per_device": Metric("tokens_per_s_per_device", "output tokens/s per device", "count", -1),
    "energy_per_token": Metric("energy_per_token_j", "energy per output token", "J", 0),
    "usd_per_million_tokens": Metric("usd_per_million_tokens", "price of a million output tokens", "USD", 0),
    "memory": Metric("memory_total_bytes", "memory of the fullest device", "B", 0),
}
