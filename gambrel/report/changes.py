"""What 10 % more or less of each number of a device does to an estimate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gambrel.estimation.api import Model, estimate
from gambrel.estimation.points import Plan, Workload
from gambrel.hardware.device import Device, Link

CHANGE = 0.1
"""Part of a number by which it is changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What a number of a device does to a time.

    Attributes:
        what: The number, `memory bandwidth`.
        metric: `ttft_s` or `tpot_s`.
        less: Relative change of the metric with CHANGE less of the number.
        more: The same with CHANGE more.
    """

    what: str
    metric: str
    less: float
    more: float


def sensitivities(
    model: Model,
    device: Device,
    plan: Plan,
    workload: Workload,
    devices: int | None = None,
    *,
    allow_unpriced: bool = False,
) -> list[Sensitivity]:
    """Of both times to every number of a device, one number at a time; arguments as those of `estimate`.

    Raises:
        GambrelError: As `estimate`.
    """

    def ask(machine: Device) -> Mapping[str, float]:
        its = estimate(model, machine, plan=plan, workload=workload, devices=devices, allow_unpriced=allow_unpriced)
        return {"ttft_s": its.ttft_s} if its.tpot_s is None else {"ttft_s": its.ttft_s, "tpot_s": its.tpot_s}

    base = ask(device)
    out: list[Sensitivity] = []
    for what, change in _knobs(device).items():
        less, more = ask(change(1.0 - CHANGE)), ask(change(1.0 + CHANGE))
        out += [
            Sensitivity(what=what, metric=name, less=less[name] / value - 1.0, more=more[name] / value - 1.0)
            for name, value in base.items()
        ]
    return out


def _knobs(device: Device) -> dict[str, Callable[[float], Device]]:
    """The device with one of its numbers changed by a factor, by the name of the number."""
    knobs: dict[str, Callable[[float], Device]] = {
        "memory bandwidth": lambda by: replace(
            device, memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s * by
        ),
        "matrix peaks": lambda by: replace(
            device, matrix_flops_per_s={name: rate * by for name, rate in device.matrix_flops_per_s.items()}
        ),
        "vector peak": lambda by: replace(device, vector_flops_per_s=device.vector_flops_per_s * by),
    }
    cache = device.cache_bandwidth_bytes_per_s
    if cache is not None:
        knobs["cache bandwidth"] = lambda by: replace(device, cache_bandwidth_bytes_per_s=cache * by)
    for place, link in enumerate(device.links):
        knobs[f"{link.name} bandwidth"] = _link(
            device, place, lambda by, link=link: replace(link, bandwidth_bytes_per_s=link.bandwidth_bytes_per_s * by)
        )
        knobs[f"{link.name} latency"] = _link(
            device, place, lambda by, link=link: replace(link, latency_s=link.latency_s * by)
        )
    return knobs


def _link(device: Device, place: int, change: Callable[[float], Link]) -> Callable[[float], Device]:
    def changed(by: float) -> Device:
        links: Sequence[Link] = device.links
        return replace(device, links=(*links[:place], change(by), *links[place + 1 :]))

    return changed
