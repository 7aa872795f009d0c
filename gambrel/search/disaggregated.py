"""Prefill and decode on devices of their own: two plans, the cache sent between them, and instances in a matched rate.

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
from dataclasses import asdict, dataclass, replace

import numpy as np

from gambrel import __version__
from gambrel.errors import PlanError, Problem
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.evaluate import memory_by_kind
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.resolve import resolve
from gambrel.estimation.variant import compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device, Link
from gambrel.search.plan import NOBODY, search
from gambrel.search.progress import Tally, Watch
from gambrel.search.result import PlanChoice
from gambrel.search.space import Space
from gambrel.search.targets import Limits, Metric, goodness, objective_metric

MOST_INSTANCE = 64
"""Devices of the largest instance that is tried; sizes are powers of two and the boards of the machine."""


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
        bound: What limits the rate: prefill, decode or link.
        metrics: By name, as of one plan: `ttft_s`, `tpot_s`, `latency_s`, `tokens_per_s`, ...
    """

    prefill: Pool
    decode: Pool
    link: str
    cache_bytes: float
    transfer_s: float
    bound: str
    metrics: Mapping[str, float]


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
        pairs: Pairs of plans that were matched.
        version: Of this project.
    """

    model: str
    workload: Workload
    devices: int
    objective: str
    limits: Mapping[str, float]
    best: Sequence[Disaggregated]
    pairs: int
    version: str

    def to_dict(self) -> dict[str, object]:
        """Plain values; units are in the names."""
        return {**asdict(self), "feasible": bool(self.best)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """Plans of one phase on one machine and number of devices."""

    device: Device
    devices: int
    choices: Sequence[PlanChoice]


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
    work, asked = workload or Workload(), limits or Limits()
    metric = objective_metric(objective)
    _check(work, devices, metric, asked)
    architecture = load(model)
    machines = [machine(name, tuple(overrides)) for name in ((on,) if isinstance(on, Machine) else on)]
    choices = space or Space()
    sizes = {device.name: _instance_sizes(device, devices) for device in machines}
    instances = [(device, size) for device in machines for size in sizes[device.name]]
    tally = Tally(watch, 2 * len(instances), "searches")
    prefill = [s for d, n in instances if (s := _prefill(architecture, d, n, work, choices, tally))]
    decode = [s for d, n in instances if (s := _decode(architecture, d, n, work, choices, tally))]
    cache = {d.name: _cache_bytes(architecture, d, work, choices) for d in machines}
    found = list(_pairs(prefill, decode, cache, work, devices))
    met = [each for each in found if _meets(each, asked)]
    met.sort(key=lambda each: -float(goodness(metric, np.asarray(each.metrics[metric.name]))))
    return DisaggregatedResult(
        model=architecture.name,
        workload=replace(work, batch=1),
        devices=devices,
        objective=metric.name,
        limits=dict(asked.given()),
        best=_distinct(met)[:top],
        pairs=len(found),
        version=__version__,
    )


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


def _instance_sizes(device: Device, devices: int) -> list[int]:
    """Devices of an instance: powers of two and whole domains of the links, below the number of devices."""
    powers = {2**n for n in range(MOST_INSTANCE.bit_length()) if 2**n < devices}
    most = max((link.size for link in device.links), default=1)
    boards = {link.size for link in device.links if link.size < min(devices, MOST_INSTANCE + 1)}
    return sorted(size for size in powers | boards if size <= most)


def _prefill(
    architecture: Architecture, device: Device, size: int, work: Workload, space: Space, tally: Tally
) -> _Side | None:
    lengths = replace(work, batch=1, osl=1)
    tally.add()
    return _side(architecture, device, size, lengths, space, ("ttft_s", "tokens_per_s_per_device"))


def _decode(
    architecture: Architecture, device: Device, size: int, work: Workload, space: Space, tally: Tally
) -> _Side | None:
    # The prompt is in the cache already: its last token starts the decode.
    lengths = replace(work, batch=1, prefix=work.prefix + work.isl - 1, isl=1)
    tally.add()
    return _side(architecture, device, size, lengths, space, ("tpot_s", "tokens_per_s_per_device"))


def _side(
    architecture: Architecture, device: Device, size: int, work: Workload, space: Space, front: tuple[str, ...]
) -> _Side | None:
    """Plans on the front of time against throughput; None where none can run or fits."""
    try:
        found = search(architecture, device, devices=size, workload=work, space=space, front_metrics=front)
    except PlanError:
        return None
    return _Side(device=device, devices=size, choices=found.front) if found.front else None


def _cache_bytes(architecture: Architecture, device: Device, work: Workload, space: Space) -> float:
    """Bytes of the cache (and of recurrent states) that one prompt leaves."""
    resolved = resolve(architecture, device, Workload(), Plan(kv=space.kv[0]), None)
    variant = compile_variant(architecture, resolved.structure)
    points = Points.of(batch=1.0, isl=float(work.isl), osl=0.0, prefix=float(work.prefix))
    return float(memory_by_kind(variant, points)["kv_cache"])


def _pairs(
    prefill: Sequence[_Side], decode: Sequence[_Side], cache: Mapping[str, float], work: Workload, devices: int
) -> Iterator[Disaggregated]:
    for front in prefill:
        for back in decode:
            link = _link(front.device, back.device, devices)
            for first in front.choices:
                for second in back.choices:
                    for x, y in _instances(first, second, devices, work):
                        yield _match(front, back, first, second, link, cache[front.device.name], work, x, y)


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
    front: _Side,
    back: _Side,
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
        prefill=_pool(first, x, ttft),
        decode=_pool(second, y, tpot),
        link=link.name,
        cache_bytes=cache,
        transfer_s=transfer,
        bound=bound,
        metrics=metrics,
    )


def _pool(choice: PlanChoice, instances: int, seconds: float) -> Pool:
    return Pool(
        machine=choice.machine,
        instances=instances,
        devices=choice.devices,
        plan=choice.plan,
        batch=choice.workload.batch,
        seconds=seconds,
    )


def _meets(each: Disaggregated, limits: Limits) -> bool:
    for name, limit in limits.given():
        value = each.metrics.get(name, np.nan)
        if not (value >= limit if name.startswith("tokens") else value <= limit):
            return False
    return True


def _distinct(ordered: Sequence[Disaggregated]) -> list[Disaggregated]:
    """The first of each pair of machines, instance sizes and numbers."""
    out: dict[tuple[object, ...], Disaggregated] = {}
    for each in ordered:
        pools = (each.prefill, each.decode)
        key = tuple((pool.machine, pool.devices, pool.instances) for pool in pools)
        out.setdefault(key, each)
    return list(out.values())
