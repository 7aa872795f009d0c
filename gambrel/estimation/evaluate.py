"""Evaluate a compiled variant on a device over arrays of design points: time, memory, energy and money.

Every array has the broadcast shape of what it depends on; nothing here knows whether there is one point or a million.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.energy import OperatingPoint, has_energy, standing_w
from gambrel.cost.engines.libraries import with_libraries
from gambrel.cost.frames import Pick
from gambrel.cost.kernel import BOUNDS
from gambrel.cost.memory import CONTEXT, Holder
from gambrel.cost.program import Amount, CacheSpan, Rates, RowPrice, add, summed
from gambrel.cost.roofline import matrix_rate
from gambrel.cost.rows import Place, SegmentSpec
from gambrel.cost.vectorise import Array, Interpreted
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Variant
from gambrel.hardware.device import Device, Number
from gambrel.ir.structure import PhaseName
from gambrel.runtimes.profile import IDEAL, EngineOverheads

MEMORY_KINDS = ("weights", "kv_cache", "activations", "communication", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTotals:
    """One phase at every design point; sums over rows are made when they are asked for.

    Attributes:
        seconds: Prefill: until the first token of the whole batch. Decode: one token of every sequence.
        alone_seconds: Of these, what the devices would take without the engine on the host.
        rows: The prices that all this is summed from.
        serial_seconds: A pass of one part of the batch over all stages, nothing overlapped.
        runs: Executions of each row in a pass of one half of such a part, in the order of `rows`.
        halves: Two where parts are split in halves that take turns, else one.
        passes: Of parts, on the mean device: each goes through every stage once.
        device: The machine.
        rates: Which rate it uses for a format.
    """

    seconds: Array
    alone_seconds: Array
    serial_seconds: Array
    rows: Sequence[RowPrice]
    runs: Sequence[Array]
    halves: Array
    passes: Array
    device: Device
    rates: Rates

    @property
    def weights(self) -> Sequence[Array]:
        """Executions of each row on the mean device, in the order of `rows`."""
        return [n * self.halves * self.passes for n in self.runs]

    @property
    def busy_seconds(self) -> Array:
        """What the mean device computes and transfers, one after the other."""
        return self.serial_seconds * self.passes

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
        return add(p.flops * w / _peak(p, self.device, self.rates) for p, w in products) / self.seconds

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
        return add((p.bytes_read + p.bytes_written) * w for p, w in kernels)

    @property
    def network_bytes(self) -> Array:
        """Buffers handed to collectives by the mean device."""
        return self._sum(lambda p: p.network_bytes)

    @property
    def by_family(self) -> dict[str, Array]:
        """Busy seconds of the mean device by op family."""
        return {
            family: self._priced(_seconds, lambda p, family=family: p.row.family == family)
            for family in dict.fromkeys(p.row.family for p in self.rows)
        }

    @property
    def by_bound(self) -> dict[str, Array]:
        """Busy seconds of the mean device by what bounds each kernel."""
        return {
            bound: self._priced(lambda point, number=number: np.where(point.bound == number, point.seconds, 0.0))
            for number, bound in enumerate(BOUNDS)
        }

    @property
    def joules(self) -> Array:
        """Energy of the mean device: all kernels, and clocks kept up while it waits for stages or for the host."""
        return self.joules_at()

    def joules_at(self, pick: Pick | None = None) -> Array:
        """Energy of the mean device at the points that are picked."""
        whole = (self.seconds, self.serial_seconds, self.passes, self.halves)
        seconds, serial, passes, halves = whole if pick is None else map(pick, whole)
        waiting = np.maximum(seconds - serial * passes, 0.0)
        spent = summed(self.rows, _joules, self.runs, pick) * halves * passes
        return spent + standing_w(self.device.power) * waiting

    def _priced(self, amount: Amount, wanted: Callable[[RowPrice], bool] = lambda _: True) -> Array:
        """What the mean device takes for some rows."""
        some = [(p, n) for p, n in zip(self.rows, self.runs, strict=True) if wanted(p)]
        return summed([p for p, _ in some], amount, [n for _, n in some]) * self.halves * self.passes

    def _sum(self, value: Callable[[RowPrice], Array]) -> Array:
        return add(value(p) * w for p, w in zip(self.rows, self.weights, strict=True))


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
    prices = variant.program.phase(name).evaluate(device, rates, points.binding(name), span)
    segments = variant.program.table.segments
    repetitions = {item.label: np.asarray(float(item.repetitions)) for item in segments}
    runs = [p.count * repetitions.get(p.row.segment, _ONCE) for p in prices]
    parts = _Parts.of(prices, segments)
    serial = _serial(parts, segments)
    if np.any(points.sub_batches != 1.0):
        serial = serial * points.sub_batches
    whole = _overlapped(ask, prices, parts, serial)
    slowest = _slowest_stage(parts, segments, points.pp, whole)
    m = points.passes(name)
    alone = whole + (m - 1.0) * slowest if name == "prefill" else np.maximum(whole, m * slowest)
    return PhaseTotals(
        seconds=_with_host(ask, name, prices, runs, alone),
        alone_seconds=alone,
        serial_seconds=serial,
        rows=prices,
        runs=runs,
        halves=points.sub_batches,
        # Every microbatch, and every chunk of it, goes through each stage once: the mean device works m / pp of a pass.
        passes=m / points.pp,
        device=device,
        rates=rates,
    )


_ONCE = np.ones(())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Seconds of the parts of a pass, by what stages hold and by what may overlap.

    Attributes:
        compute: Of one repetition of each segment.
        transfers: The same of its collectives.
        first, last: Outside the layers, on the first and on the last stage.
        between: One send from a stage to the next.
        sends: All sends of a pass.
    """

    compute: Mapping[str, Array]
    transfers: Mapping[str, Array]
    first: Array
    last: Array
    between: Array
    sends: Array

    @staticmethod
    def of(prices: Sequence[RowPrice], segments: Sequence[SegmentSpec]) -> "_Parts":
        """Add the rows up."""

        def seconds(place: Place, segment: str = "", collective: bool | None = None, *, once: bool = False) -> Array:
            mine = [
                p
                for p in prices
                if p.row.place == place
                and p.row.segment == segment
                and (collective is None or collective is (p.row.family == "collective"))
            ]
            return summed(mine, _seconds, [_ONCE if once else p.count for p in mine])

        return _Parts(
            compute={item.label: seconds("layers", item.label, collective=False) for item in segments},
            transfers={item.label: seconds("layers", item.label, collective=True) for item in segments},
            first=seconds("first"),
            last=seconds("last"),
            between=seconds("between", once=True),
            sends=seconds("between"),
        )


def _seconds(point: OperatingPoint) -> Array:
    return point.seconds


def _joules(point: OperatingPoint) -> Array:
    return point.joules


def _serial(parts: _Parts, segments: Sequence[SegmentSpec]) -> Array:
    """Seconds of a pass of one half over all stages, one row after the other."""
    inside = [
        seconds[item.label] * float(item.repetitions)
        for item in segments
        for seconds in (parts.compute, parts.transfers)
    ]
    return add([parts.first, parts.last, parts.sends, *inside])


def _overlapped(ask: _Question, prices: Sequence[RowPrice], parts: _Parts, serial: Array) -> Array:
    """Seconds of a pass in which two halves of the batch take turns in the layers; `serial` where there is one part.

    For each segment, with C the compute and N the transfers of both halves: `max(C + traffic, N)`, since one half
    computes while the other transfers. `traffic = 2 bytes / memory bandwidth` is what transfers take from the memory
    (each byte is read and written). One layer's smaller part is spent filling the pipeline. Embedding and head are not
    overlapped.

    Does not count: units that transfers take from compute.

    Source: DeepSeek-V3 technical report, 2024, section 3.4: two microbatches overlap attention, experts and exchange.
    """
    segments, halves = ask.variant.program.table.segments, ask.points.sub_batches
    if not np.any(halves > 1.0):
        return serial
    bandwidth = np.asarray(ask.device.memory_bandwidth_bytes_per_s)
    out, fill = serial, np.zeros(())
    for item in segments:
        sent = [p for p in prices if p.row.segment == item.label and p.row.family == "collective"]
        runs = float(item.repetitions) * halves
        compute, transfers = parts.compute[item.label] * runs, parts.transfers[item.label] * runs
        # A transfer among one device moves nothing: a variant may have the axis, and a plan one device along it.
        traffic = add(np.where(p.seconds > 0.0, 2.0 * p.network_bytes * p.count * runs / bandwidth, 0.0) for p in sent)
        together = np.maximum(compute + np.where(transfers > 0.0, traffic, 0.0), transfers)
        out = out - compute - transfers + np.minimum(together, compute + transfers)
        fill = np.maximum(fill, np.minimum(compute, transfers) / (item.repetitions * item.layers_each) / 2.0)
    return np.where(halves > 1.0, np.minimum(out + fill, serial), serial)


def _with_host(
    ask: _Question, name: PhaseName, prices: Sequence[RowPrice], runs: Sequence[Array], alone: Array
) -> Array:
    """Seconds of a phase with the engine's host time.

    `max(devices alone, microbatches x launches x launch time / stages) + overhead`: the host runs ahead of the device,
    so that launching hides behind kernels that take longer; each stage has a host of its own. Decode adds
    `step + sequences of a replica x sequence overhead`.
    """
    points, engine = ask.points, ask.engine
    launch_s = engine.prefill_launch_s if name == "prefill" else engine.decode_launch_s
    if launch_s > 0.0:
        launches = summed(prices, lambda point: np.where(point.seconds > 0.0, 1.0, 0.0), runs) * points.sub_batches
        alone = np.maximum(alone, points.passes(name) * launches * launch_s / points.pp)
    if name == "prefill":
        return alone + engine.prefill_overhead_s * points.chunks
    sequences = np.ceil(points.batch / points.dp)
    return alone + (engine.step_overhead_s + engine.sequence_overhead_s * sequences)


def _slowest_stage(parts: _Parts, segments: Sequence[SegmentSpec], pp: Array, whole: Array) -> Array:
    """Seconds of one microbatch on the slowest stage: stages hold `ceil(layers / pp)` layers in order.

    A segment whose body has several layers is dealt by its mean layer.
    """
    if int(np.max(pp, initial=1.0)) == 1:
        return whole
    per_layer = {
        item.label: (parts.compute[item.label] + parts.transfers[item.label]) / item.layers_each for item in segments
    }
    slowest = np.zeros(())
    for stage in stages(segments, pp):
        held = [(layers, per_layer[label]) for label, layers in stage.layers.items()]
        held += [(stage.first, parts.first), (stage.last, parts.last), (stage.sends, parts.between)]
        slowest = np.maximum(slowest, add(times * seconds for times, seconds in held if np.any(times)))
    return np.where(pp == 1.0, whole, slowest) if np.any(pp == 1.0) else slowest


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one pipeline stage holds, by the number of stages; nothing where there are not so many.

    Attributes:
        layers: Of each segment.
        first, last: 1 where it is that.
        sends: 1 where it sends to another.
    """

    layers: Mapping[str, Array]
    first: Array
    last: Array
    sends: Array


def stages(segments: Sequence[SegmentSpec], pp: Array) -> Sequence[Stage]:
    """The stages of a number of stages; of several numbers only those that none exceeds in all that it holds."""
    if pp.size == 1:
        return [_stage(segments, pp, number) for number in range(int(np.max(pp)))]
    counts, index = np.unique(pp, return_inverse=True)
    found = _largest_stages(tuple(segments), tuple(counts.tolist()))
    index = index.reshape(pp.shape)
    labels = [item.label for item in segments]
    return [
        Stage(
            layers=dict(zip(labels, (row[index] for row in rows), strict=False)),
            first=rows[-3][index],
            last=rows[-2][index],
            sends=rows[-1][index],
        )
        for rows in found
    ]


@lru_cache(maxsize=64)
def _largest_stages(segments: tuple[SegmentSpec, ...], counts: tuple[float, ...]) -> NDArray[np.float64]:
    """`[stages, layers of each segment and first, last, sends, counts]`: of each count the stages that none exceeds.

    A stage that holds no more of anything than another one is neither slower nor fuller. Counts with fewer of them than
    others repeat one.
    """
    columns: list[list[tuple[float, ...]]] = []
    for count in counts:
        held = [_stage(segments, np.asarray(count), number) for number in range(int(count))]
        rows = dict.fromkeys(
            (*map(float, x.layers.values()), float(x.first), float(x.last), float(x.sends)) for x in held
        )
        columns.append([row for row in rows if not any(_exceeds(other, row) for other in rows)])
    most = max(map(len, columns))
    return np.array([[rows[min(number, len(rows) - 1)] for rows in columns] for number in range(most)]).swapaxes(1, 2)


def _exceeds(row: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return row != other and all(a >= b for a, b in zip(row, other, strict=True))


def _stage(segments: Sequence[SegmentSpec], pp: Array, number: int) -> Stage:
    exists = np.where(number < pp, 1.0, 0.0)
    last = np.where(number == pp - 1.0, 1.0, 0.0)
    layers = {label: layers * exists for label, layers in layers_of_stage(segments, pp, number).items()}
    return Stage(layers=layers, first=np.asarray(float(number == 0)), last=last, sends=exists - last)


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
    whole = Interpreted({**points.binding("decode"), **lengths, "b": points.batch}.items())
    phases: list[tuple[PhaseName, Interpreted]] = [
        (name, Interpreted({**points.binding(name), **lengths}.items())) for name in variant.memory.activations
    ]
    segments = variant.program.table.segments
    each = {item.label: item.layers_each for item in segments}
    weights, caches, total = np.zeros(()), np.zeros(()), np.full((), -1.0)
    for stage in stages(segments, points.pp):
        held = {"weights": np.zeros(()), "kv_cache": np.zeros(())}
        for item in variant.memory.residents:
            if item.place == "layers":
                copies = stage.layers[item.segment] / each[item.segment]
            else:
                copies = _copies(item.place, stage)
            held[item.kind] = held[item.kind] + whole(item.size) * copies
        fuller = held["weights"] + held["kv_cache"] > total
        weights = np.where(fuller, held["weights"], weights)
        caches = np.where(fuller, held["kv_cache"], caches)
        total = weights + caches
    activations = [_largest(sizes(size) for size in variant.memory.activations[name]) for name, sizes in phases]
    buffers = [_largest(sizes(size) for size in variant.memory.buffers[name]) for name, sizes in phases]
    return {
        "weights": weights,
        "kv_cache": caches,
        "activations": _largest(activations),
        "communication": _largest(buffers),
        "runtime": np.asarray(engine.runtime_bytes),
    }


def _copies(place: Holder, stage: Stage) -> Array:
    """Copies of something outside the layers on one stage."""
    return np.maximum(stage.first, stage.last) if place == "ends" else stage.last if place == "last" else stage.first


def _largest(values: Iterable[Array]) -> Array:
    out = np.zeros(())
    for value in values:
        out = np.maximum(out, value)
    return out
