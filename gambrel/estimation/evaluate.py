"""Evaluate a compiled variant on a device over arrays of design points: time, memory, energy and money.

Every array has the broadcast shape of what it depends on; nothing here knows whether there is one point or a million.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gambrel.cost.energy import has_energy, standing_w
from gambrel.cost.engines.libraries import with_libraries
from gambrel.cost.kernel import BOUNDS
from gambrel.cost.memory import CONTEXT, Holder
from gambrel.cost.program import CacheSpan, Rates, RowPrice
from gambrel.cost.roofline import matrix_rate
from gambrel.cost.rows import SegmentSpec
from gambrel.cost.vectorise import Array
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Variant
from gambrel.hardware.device import Device, Number
from gambrel.ir.expr import Expr
from gambrel.ir.structure import PhaseName
from gambrel.runtimes.profile import IDEAL, EngineOverheads

MEMORY_KINDS = ("weights", "kv_cache", "activations", "communication", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTotals:
    """One phase at every design point; sums over rows are made when they are asked for.

    Attributes:
        seconds: Prefill: until the first token of the whole batch. Decode: one token of every sequence.
        alone_seconds: Of these, what the devices would take without the engine on the host.
        busy_seconds: What the mean device computes and transfers, one after the other.
        rows: The prices that all this is summed from.
        weights: Executions of each row on the mean device, in the order of `rows`.
        device: The machine.
        rates: Which rate it uses for a format.
    """

    seconds: Array
    alone_seconds: Array
    busy_seconds: Array
    rows: Sequence[RowPrice]
    weights: Sequence[Array]
    device: Device
    rates: Rates

    @property
    def bubble_seconds(self) -> Array:
        """Time that the mean device waits for other pipeline stages."""
        return np.maximum(self.alone_seconds - self.busy_seconds, 0.0)

    @property
    def host_seconds(self) -> Array:
        """Time that the devices wait for the engine on the host."""
        return self.seconds - self.alone_seconds

    @property
    def overlapped_seconds(self) -> Array:
        """Busy time of transfers and compute that ran at once, and so is not in `seconds` twice."""
        return np.maximum(self.busy_seconds - self.alone_seconds, 0.0)

    @property
    def floor_seconds(self) -> Array:
        """Busy time of the mean device at the plain roofline."""
        return self._sum(lambda p: p.floor_seconds)

    @property
    def mfu(self) -> Array:
        """Model FLOPs over what the matrix units could do in that time, each product at the rate of its format."""
        products = [(p, w) for p, w in zip(self.rows, self.weights, strict=True) if p.row.rate]
        return _sum(p.flops * w / _peak(p, self.device, self.rates) for p, w in products) / self.seconds

    @property
    def mbu(self) -> Array:
        """Bytes moved over what device memory could move in that time."""
        return self.bytes / np.asarray(self.device.memory_bandwidth_bytes_per_s) / self.seconds

    @property
    def flops(self) -> Array:
        """FLOPs of the mean device."""
        return self._sum(lambda p: p.flops)

    @property
    def bytes(self) -> Array:
        """Device-memory bytes of the mean device."""
        kernels = [(p, w) for p, w in zip(self.rows, self.weights, strict=True) if p.row.kernel]
        return _sum((p.bytes_read + p.bytes_written) * w for p, w in kernels)

    @property
    def network_bytes(self) -> Array:
        """Buffers handed to collectives by the mean device."""
        return self._sum(lambda p: p.network_bytes)

    @property
    def by_family(self) -> dict[str, Array]:
        """Busy seconds of the mean device by op family."""
        out: dict[str, Array] = {}
        for p, w in zip(self.rows, self.weights, strict=True):
            out[p.row.family] = out.get(p.row.family, np.zeros(())) + p.seconds * w
        return out

    @property
    def by_bound(self) -> dict[str, Array]:
        """Busy seconds of the mean device by what bounds each kernel."""
        return {
            bound: self._sum(lambda p, number=number: np.where(p.bound == number, p.seconds, 0.0))
            for number, bound in enumerate(BOUNDS)
        }

    @property
    def joules(self) -> Array:
        """Energy of the mean device: all kernels, and clocks kept up while it waits for stages or for the host."""
        waiting = np.maximum(self.seconds - self.busy_seconds, 0.0)
        return self._sum(lambda p: p.joules) + standing_w(self.device.power) * waiting

    def _sum(self, value: Callable[[RowPrice], Array]) -> Array:
        return _sum(value(p) * w for p, w in zip(self.rows, self.weights, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that is known of every design point.

    Attributes:
        prefill, decode: The two phases; decode is the mean over the output.
        ttft_s: Time to first token: one prefill of the batch.
        tpot_s: Mean time per output token after the first.
        latency_s: `ttft + (osl - 1) tpot`.
        tokens_per_s: Output tokens of the whole batch over the latency.
        tokens_per_s_per_device: The same over all devices.
        memory_bytes: By kind, on the fullest device.
        memory_total_bytes: Their sum.
        capacity_bytes: What a device has.
        energy_j: Of the batch, all devices; None where the profile lacks energies.
        usd: Rent of all devices for the latency; None where the profile has no price.
    """

    prefill: PhaseTotals
    decode: PhaseTotals
    ttft_s: Array
    tpot_s: Array
    latency_s: Array
    tokens_per_s: Array
    tokens_per_s_per_device: Array
    memory_bytes: Mapping[str, Array]
    memory_total_bytes: Array
    capacity_bytes: Array
    energy_j: Array | None
    usd: Array | None


def evaluate(
    variant: Variant, device: Device, rates: Rates, points: Points, engine: EngineOverheads = IDEAL
) -> Evaluation:
    """Evaluate all design points of a variant.

    `latency = ttft + (osl - 1) tpot`; `prefill = sum + (m - 1) slowest stage`; `decode = max(sum, m slowest stage)`
    with m microbatches, in a prefill times the chunks of a prompt (GPipe fill and drain; in decode microbatches follow
    each other round the stages). A pass that is launched eagerly takes at least the host's time to launch its kernels;
    the engine's own host time is added.

    Args:
        variant: What was compiled; its axes must cover the degrees above one.
        device: The machine; its numbers may be what-if arrays that broadcast against the points.
        rates: Which rate the device uses for a format.
        points: The design points.
        engine: Whose kernels run, and what the software around them adds.
    """
    device = with_libraries(device, engine.libraries)
    ask = _Question(variant=variant, device=device, rates=rates, points=points, engine=engine)
    prefill = _phase(ask, "prefill", cache_span("prefill", points))
    decode = _phase(ask, "decode", cache_span("decode", points))
    steps = points.osl - 1.0
    latency = prefill.seconds + steps * decode.seconds
    tokens = points.batch * points.osl / latency
    memory = memory_by_kind(variant, points, engine)
    energy = has_energy(device)
    return Evaluation(
        prefill=prefill,
        decode=decode,
        ttft_s=prefill.seconds,
        tpot_s=decode.seconds,
        latency_s=latency,
        tokens_per_s=tokens,
        tokens_per_s_per_device=tokens / points.devices,
        memory_bytes=memory,
        memory_total_bytes=sum(memory.values(), np.zeros(())),
        capacity_bytes=np.asarray(device.memory_bytes, dtype=np.float64),
        energy_j=(prefill.joules + steps * decode.joules) * points.devices if energy else None,
        usd=None
        if device.price_usd_per_h is None
        else latency / 3600.0 * np.asarray(device.price_usd_per_h) * points.devices,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    variant: Variant
    device: Device
    rates: Rates
    points: Points
    engine: EngineOverheads


def phase_totals(
    variant: Variant, device: Device, rates: Rates, points: Points, name: PhaseName, engine: EngineOverheads = IDEAL
) -> PhaseTotals:
    """One phase alone, as `evaluate` has it: a prefill of the whole batch, or the mean decode step."""
    device = with_libraries(device, engine.libraries)
    return _phase(
        _Question(variant=variant, device=device, rates=rates, points=points, engine=engine),
        name,
        cache_span(name, points),
    )


def cache_span(name: PhaseName, points: Points) -> CacheSpan:
    """Cached lengths of a phase: before each chunk of a prefill; during a decode, a token more with each step."""
    if name == "prefill":
        chunk = points.pass_tokens
        return CacheSpan(first=points.prefix, last=points.prefix + (points.chunks - 1.0) * chunk, step=chunk)
    start = points.prefix + points.isl
    return CacheSpan(first=start, last=start + np.maximum(points.osl - 2.0, 0.0))


def _phase(ask: _Question, name: PhaseName, span: CacheSpan) -> PhaseTotals:
    variant, device, rates, points = ask.variant, ask.device, ask.rates, ask.points
    binding = points.binding(name)
    prices = variant.program.phase(name).evaluate(device, rates, binding, span)
    segments = variant.program.table.segments
    repetitions = {item.label: float(item.repetitions) for item in segments}
    runs = [p.count * repetitions.get(p.row.segment, 1.0) * points.sub_batches for p in prices]
    serial = _sum(p.seconds * n for p, n in zip(prices, runs, strict=True))
    whole = _overlapped(ask, prices, runs, serial)
    slowest = _slowest_stage(prices, segments, points.pp, whole)
    m = points.passes(name)
    alone = whole + (m - 1.0) * slowest if name == "prefill" else np.maximum(whole, m * slowest)
    seconds = _with_host(
        ask, name, _sum(np.where(p.seconds > 0.0, n, 0.0) for p, n in zip(prices, runs, strict=True)), alone
    )
    # Every microbatch, and every chunk of it, goes through every stage once: the mean device works m / pp of a pass.
    weights = [n * m / points.pp for n in runs]
    return PhaseTotals(
        seconds=seconds,
        alone_seconds=alone,
        busy_seconds=serial * m / points.pp,
        rows=prices,
        weights=weights,
        device=device,
        rates=rates,
    )


def _overlapped(ask: _Question, prices: Sequence[RowPrice], runs: Sequence[Array], serial: Array) -> Array:
    """Seconds of a pass in which two halves of the batch take turns in the layers; `serial` where there is one part.

    For each segment, with C the compute and N the transfers of both halves: `max(C + traffic, N)`, since one half
    computes while the other transfers. `traffic = 2 bytes / memory bandwidth` is what transfers take from the memory
    (each byte is read and written). One layer's smaller part is spent filling the pipeline. Embedding and head are not
    overlapped.

    Does not count: units that transfers take from compute.

    Source: DeepSeek-V3 technical report, 2024, section 3.4: two microbatches overlap attention, experts and exchange.
    """
    if not np.any(ask.points.sub_batches > 1.0):
        return serial
    bandwidth = np.asarray(ask.device.memory_bandwidth_bytes_per_s)
    out, fill = serial, np.zeros(())
    for item in ask.variant.program.table.segments:
        mine = [(p, n) for p, n in zip(prices, runs, strict=True) if p.row.segment == item.label]
        compute = _sum(p.seconds * n for p, n in mine if p.row.family != "collective")
        transfers = _sum(p.seconds * n for p, n in mine if p.row.family == "collective")
        # A transfer among one device moves nothing: a variant may have the axis, and a plan one device along it.
        traffic = _sum(np.where(p.seconds > 0.0, 2.0 * p.network_bytes * n / bandwidth, 0.0) for p, n in mine)
        together = np.maximum(compute + np.where(transfers > 0.0, traffic, 0.0), transfers)
        out = out - compute - transfers + np.minimum(together, compute + transfers)
        fill = np.maximum(fill, np.minimum(compute, transfers) / (item.repetitions * item.layers_each) / 2.0)
    return np.where(ask.points.sub_batches > 1.0, np.minimum(out + fill, serial), serial)


def _with_host(ask: _Question, name: PhaseName, launches: Array, alone: Array) -> Array:
    """Seconds of a phase with the engine's host time.

    `max(devices alone, microbatches x launches x launch time / stages) + overhead`: the host runs ahead of the device,
    so that launching hides behind kernels that take longer; each stage has a host of its own. Decode adds
    `step + sequences of a replica x sequence overhead`.
    """
    points, engine = ask.points, ask.engine
    if name == "prefill":
        host = points.passes(name) * launches * engine.prefill_launch_s / points.pp
        return np.maximum(alone, host) + engine.prefill_overhead_s * points.chunks
    host = points.microbatches * launches * engine.decode_launch_s / points.pp
    sequences = np.ceil(points.batch / points.dp)
    return np.maximum(alone, host) + engine.step_overhead_s + engine.sequence_overhead_s * sequences


def _sum(values: Iterable[Array]) -> Array:
    """The sum, of small arrays first: what varies along few axes is added up along them."""
    return sum(sorted(values, key=_size), np.zeros(()))


def _size(value: Array) -> int:
    return value.size


def _slowest_stage(prices: Sequence[RowPrice], segments: Sequence[SegmentSpec], pp: Array, whole: Array) -> Array:
    """Seconds of one microbatch on the slowest stage: stages hold `ceil(layers / pp)` layers in order.

    A segment whose body has several layers is dealt by its mean layer.
    """
    most = int(np.max(pp, initial=1.0))
    if most == 1:
        return whole
    per_layer: dict[str, Array] = {}
    outside = {"first": np.zeros(()), "last": np.zeros(()), "between": np.zeros(())}
    layers_each = {item.label: item.layers_each for item in segments}
    for p in prices:
        if p.row.place == "layers":
            seconds = p.seconds * p.count / layers_each[p.row.segment]
            per_layer[p.row.segment] = per_layer.get(p.row.segment, np.zeros(())) + seconds
        else:
            # A send is counted pp - 1 times in a pass; a stage sends once.
            outside[p.row.place] = outside[p.row.place] + (
                p.seconds if p.row.place == "between" else p.seconds * p.count
            )
    slowest = np.zeros(())
    for stage in range(most):
        seconds = _sum(layers * per_layer[label] for label, layers in layers_of_stage(segments, pp, stage).items())
        seconds = seconds + (outside["first"] if stage == 0 else 0.0)
        seconds = seconds + np.where(stage == pp - 1.0, outside["last"], 0.0)
        seconds = seconds + np.where(stage < pp - 1.0, outside["between"], 0.0)
        slowest = np.maximum(slowest, np.where(stage < pp, seconds, 0.0))
    return np.where(pp == 1.0, whole, slowest)


def layers_of_stage(segments: Sequence[SegmentSpec], pp: Array, stage: int) -> dict[str, Array]:
    """Layers of each segment on one stage, which holds the layers `stage P` to `(stage + 1) P`, `P = ceil(L / pp)`."""
    total = sum(item.repetitions * item.layers_each for item in segments)
    share = np.ceil(total / pp)
    low, high = stage * share, (stage + 1.0) * share
    out: dict[str, Array] = {}
    start = 0.0
    for item in segments:
        end = start + item.repetitions * item.layers_each
        out[item.label] = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None)
        start = end
    return out


def _peak(item: RowPrice, device: Device, rates: Rates) -> Number:
    return matrix_rate(device, rates(item.row.rate))


def memory_by_kind(variant: Variant, points: Points, engine: EngineOverheads = IDEAL) -> dict[str, Array]:
    """Bytes by kind on the fullest pipeline stage.

    Weights and caches of the layers of one stage, with the embedding on the first and the head on the last; the peak
    of activations of one microbatch and the largest communication buffer; a constant for the runtime.
    """
    longest = points.prefix + (points.chunks - 1.0) * points.pass_tokens
    lengths = {"c": longest, CONTEXT: points.context}
    whole = variant.sizes({**points.binding("decode"), **lengths, "b": points.batch})
    phases: list[tuple[PhaseName, dict[Expr, Array]]] = [
        (name, variant.sizes({**points.binding(name), **lengths})) for name in variant.memory.activations
    ]
    segments = variant.program.table.segments
    weights, caches, total = np.zeros(()), np.zeros(()), np.full((), -1.0)
    for stage in range(int(np.max(points.pp, initial=1.0))):
        held = {"weights": np.zeros(()), "kv_cache": np.zeros(())}
        layers = layers_of_stage(segments, points.pp, stage)
        each = {item.label: item.layers_each for item in segments}
        for item in variant.memory.residents:
            if item.place == "layers":
                copies = layers[item.segment] / each[item.segment]
            else:
                copies = _copies(item.place, stage, points.pp)
            held[item.kind] = held[item.kind] + whole[item.size] * copies
        fuller = (held["weights"] + held["kv_cache"] > total) & (stage < points.pp)
        weights = np.where(fuller, held["weights"], weights)
        caches = np.where(fuller, held["kv_cache"], caches)
        total = weights + caches
    return {
        "weights": weights,
        "kv_cache": caches,
        "activations": _largest(sizes[size] for name, sizes in phases for size in variant.memory.activations[name]),
        "communication": _largest(sizes[size] for name, sizes in phases for size in variant.memory.buffers[name]),
        "runtime": np.asarray(engine.runtime_bytes),
    }


def _copies(place: Holder, stage: int, pp: Array) -> Array:
    """Copies of something outside the layers on one stage."""
    first, last = np.asarray(stage == 0), stage == pp - 1.0
    held = first | last if place == "ends" else last if place == "last" else first
    return np.where(held, 1.0, 0.0)


def _largest(values: Iterable[Array]) -> Array:
    out = np.zeros(())
    for value in values:
        out = np.maximum(out, value)
    return out
