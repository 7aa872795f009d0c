"""Instances of prefill and of decode in matched numbers, with the cache sent between them.

With x prefill instances of p devices that take b_p prompts in `ttft` each, and y decode instances of d devices that
keep b_d requests in flight at `tpot`:

    prefill rate  = x b_p / ttft                        requests/s
    decode rate   = y b_d / ((osl - 1) tpot)
    link rate     = min(x p B_p, y d B_d) / C           C bytes of cache of one prompt, B bytes/s of one device
    rate          = least of the three
    tpot of a user = tpot + transfer / (osl - 1)        transfer = latency + b_p C / (min(p B_p, d B_d))

The first token comes from the prefill instance; the cache of a prompt follows, so that the second token waits for it.
All x and y with `x p + y d` at most the devices are tried, and whatever of the prefill and decode plans lies on the
fronts of time against throughput: a plan off a front is no better for any rate.

Does not count: transfers that overlap with the prefill layer by layer, queues between the pools, uneven lengths.

Source: P. Patel et al., "Splitwise: Efficient Generative LLM Inference Using Phase Splitting", ISCA 2024, sections 4
and 5; Y. Zhong et al., "DistServe", OSDI 2024, section 4 (placement by goodput of each phase).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gambrel.errors import PlanError, Problem
from gambrel.estimation.points import Plan, Workload
from gambrel.hardware.device import Device, Link
from gambrel.search.result import MachineNote, Miss, PlanChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Instances of one phase.

    Attributes:
        machine: Name of the hardware profile.
        instances: How many.
        devices: Of one instance.
        plan: Of one instance.
        batch: Prompts of one prefill, or requests in flight.
        seconds: One prefill, or one decode step.
    """

    machine: str
    instances: int
    devices: int
    plan: Plan
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disaggregated:
    """A pool for prefill and one for decode.

    Attributes:
        prefill, decode: The pools.
        link: Over which caches travel.
        cache_bytes: Of one prompt.
        transfer_s: Of the caches of one prefill.
        link_requests_per_s: What the link could take; infinite where there is no cache to send.
        bound: What limits the rate: prefill, decode or link.
        metrics: By name, as of one plan: `ttft_s`, `tpot_s`, `latency_s`, `tokens_per_s`, ...
    """

    prefill: Pool
    decode: Pool
    link: str
    cache_bytes: float
    transfer_s: float
    link_requests_per_s: float
    bound: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Plans of one phase on one machine and number of devices.

    Attributes:
        name: The machine as it was named.
        device: The machine.
        devices: Of one instance.
        choices: The front; empty where nothing fits.
        lacking: By how much memory is missed, where nothing fits.
        note: What was searched.
    """

    name: str
    device: Device
    devices: int
    choices: Sequence[PlanChoice]
    lacking: Miss | None
    note: MachineNote


def pairs(
    prefill: Sequence[Side], decode: Sequence[Side], cache: Mapping[str, float], work: Workload, devices: int
) -> Iterator[Disaggregated]:
    """Every pair of plans, with the numbers of instances that use the devices best."""
    for ahead in prefill:
        for back in decode:
            link = _link(ahead.device, back.device, devices)
            for first in ahead.choices:
                for second in back.choices:
                    for x, y in _instances(first, second, devices, work):
                        yield _match(ahead, back, first, second, link, cache[ahead.name], work, x, y)


def _instances(first: PlanChoice, second: PlanChoice, devices: int, work: Workload) -> Iterator[tuple[int, int]]:
    """Numbers of instances that use the devices best: for each number of one, as many of the other as the rest holds.

    Only those next to the matched ratio: further from it one pool idles and the rate falls.
    """
    p, d = first.devices, second.devices
    if p + d > devices:
        return
    supply = first.workload.batch / first.metrics["ttft_s"]
    demand = second.workload.batch / ((work.osl - 1) * second.metrics["tpot_s"])
    # x supply = y demand on x p + y d = devices
    matched = devices / (p + d * supply / demand)
    for x in {int(np.clip(n, 1, (devices - d) // p)) for n in (np.floor(matched), np.ceil(matched))}:
        y = (devices - x * p) // d
        yield x, y
        needed = int(np.ceil(x * supply / demand))
        if 1 <= needed < y:
            yield x, needed


def _link(prefill: Device, decode: Device, devices: int) -> Link:
    """The link that joins the pools: one domain of the same machine where all devices fit in it, else the outermost.

    Raises:
        PlanError: A machine has no link.
    """
    for device in (prefill, decode):
        if not device.links:
            why = "caches are sent from one pool to the other"
            raise PlanError(Problem(where=device.name, what="the profile has no link", why=why))
    if prefill.name == decode.name:
        return next((link for link in prefill.links if link.size >= devices), prefill.links[-1])
    ends = (prefill.links[-1], decode.links[-1])
    return min(ends, key=lambda link: float(np.asarray(link.bandwidth_bytes_per_s)))


def _match(  # noqa: PLR0913  (both ends of a pair)
    front: Side,
    back: Side,
    first: PlanChoice,
    second: PlanChoice,
    link: Link,
    cache: float,
    work: Workload,
    x: int,
    y: int,
) -> Disaggregated:
    steps = work.osl - 1
    bandwidth = float(np.asarray(link.bandwidth_bytes_per_s))
    ttft, tpot = first.metrics["ttft_s"], second.metrics["tpot_s"]
    transfer = float(np.asarray(link.latency_s)) + first.workload.batch * cache / (
        bandwidth * min(first.devices, second.devices)
    )
    rates = {
        "prefill": x * first.workload.batch / ttft,
        "decode": y * second.workload.batch / (steps * tpot),
        "link": bandwidth * min(x * first.devices, y * second.devices) / cache if cache else np.inf,
    }
    bound = min(rates, key=lambda name: rates[name])
    used = x * first.devices + y * second.devices
    tokens = rates[bound] * work.osl
    user = tpot + transfer / steps
    metrics = {
        "ttft_s": ttft,
        "tpot_s": user,
        "latency_s": ttft + steps * user,
        "tokens_per_s": tokens,
        "tokens_per_s_per_device": tokens / used,
        "tokens_per_s_per_user": 1.0 / user,
        "requests_per_s": rates[bound],
    }
    rents = [(front.device, x * first.devices), (back.device, y * second.devices)]
    if all(device.price_usd_per_h is not None for device, _ in rents):
        rent = sum(float(np.asarray(device.price_usd_per_h)) * count for device, count in rents)
        metrics |= {"usd_per_h": rent, "usd_per_million_tokens": rent / 3600.0 * 1e6 / tokens}
    return Disaggregated(
        prefill=_pool(front, first, x, ttft),
        decode=_pool(back, second, y, tpot),
        link=link.name,
        cache_bytes=cache,
        transfer_s=transfer,
        link_requests_per_s=rates["link"],
        bound=bound,
        metrics=metrics,
    )


def _pool(side: Side, choice: PlanChoice, instances: int, seconds: float) -> Pool:
    return Pool(
        machine=side.name,
        instances=instances,
        devices=choice.devices,
        plan=choice.plan,
        batch=choice.workload.batch,
        seconds=seconds,
    )


def distinct(ordered: Sequence[Disaggregated]) -> list[Disaggregated]:
    """The first of each pair of machines, instance sizes and numbers, and of those that do the same on as many."""
    pairs: dict[tuple[object, ...], Disaggregated] = {}
    answers: dict[tuple[object, ...], Disaggregated] = {}
    for each in ordered:
        pools = (each.prefill, each.decode)
        pairs.setdefault(tuple((pool.machine, pool.devices, pool.instances) for pool in pools), each)
    for each in pairs.values():
        pools = (each.prefill, each.decode)
        used = tuple((pool.machine, pool.devices * pool.instances) for pool in pools)
        answers.setdefault((*used, *(f"{value:.9g}" for value in each.metrics.values())), each)
    return list(answers.values())
