"""When each kernel and transfer of a prefill and of a decode step runs, as the closed forms of an estimate mean it.

The estimate is a sum; this lays its terms out in time, so that the end of the timeline is the estimate's time:

- a stage runs the rows of its layers one after another; a pass holds it from its first kernel to the end of its send;
- a prefill fills and drains the stages; a decode step is one round of its steady state, so that passes which end after
  the round are drawn at its start, as those of the token before;
- two halves of a batch take turns in the layers; the closed form knows only what overlaps, so the drawn layers are
  stretched or shrunk as one piece to the time that it gives;
- the engine's waits come first; where launching takes longer than the kernels, their starts are spread evenly.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gambrel.cost.kernel import BOUNDS
from gambrel.cost.program import RowPrice
from gambrel.cost.rows import SegmentSpec
from gambrel.errors import PlanError, Problem
from gambrel.estimation.build import formula_text
from gambrel.estimation.evaluate import PhaseTotals
from gambrel.estimation.points import Points
from gambrel.estimation.schedule import fill_and_drain, rounds
from gambrel.estimation.stages import COMPUTE, Block, Kernel, Layout, Placed, executions, lanes, lay_out, lay_out_halves
from gambrel.hardware.device import Device
from gambrel.ir.structure import PhaseName
from gambrel.runtimes.profile import EngineOverheads

MOST_SLICES = 12_000
"""Kernels and layers drawn in one phase; further passes are one slice a stage."""

MOST_PASSES = 50_000
"""Passes times stages of one phase that are drawn at all."""

HOST = "host"
PASSES = "micro-batches"
LAYERS = ("layers", "layers, other half")
"""Lanes beside `compute` and the links."""

SNAP = 1e-9
"""Part of a period within which two times are one: sums in another order differ by less."""

Kind = Literal["pass", "layer", "kernel", "merged", "host"]
Argument = str | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Something that takes time on one lane of one stage.

    Attributes:
        kind: A `pass` (one microbatch, or a chunk of it, on one stage), a `layer`, a `kernel` (or transfer), `merged`
            (all kernels of a pass on a stage), or work of the `host`.
        stage: Pipeline stage.
        lane: `compute`, the name of a link, `host`, or what groups kernels: `micro-batches`, `layers`.
        name: For people.
        start_s, end_s: From the start of the phase.
        args: What is known of it; numbers in the units that their names say.
    """

    kind: Kind
    stage: int
    lane: str
    name: str
    start_s: float
    end_s: float
    args: Mapping[str, Argument]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTimeline:
    """One phase in time.

    Attributes:
        phase: Which.
        seconds: Of the phase, as the estimate has it.
        stages: Pipeline stages.
        slices: No two on one lane of one stage overlap.
        notes: What is merged, stretched or moved, in words.
    """

    phase: PhaseName
    seconds: float
    stages: int
    slices: Sequence[Slice]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A prefill of the whole batch and the mean decode step.

    Attributes:
        prefill, decode: The phases; decode is None for a single output token.
    """

    prefill: PhaseTimeline
    decode: PhaseTimeline | None

    @property
    def seconds(self) -> float:
        """Of both, one after the other."""
        return self.prefill.seconds + (self.decode.seconds if self.decode is not None else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineQuestion:
    """What both phases of a timeline are laid out from, beside their prices.

    Attributes:
        segments: The runs of layers.
        device: Whose links transfers cross.
        points: The one design point.
        engine: Whose waits are in it.
    """

    segments: Sequence[SegmentSpec]
    device: Device
    points: Points
    engine: EngineOverheads


def phase_timeline(totals: PhaseTotals, phase: PhaseName, ask: TimelineQuestion) -> PhaseTimeline:
    """Lay out one phase of one design point.

    Args:
        totals: The phase, evaluated at that point.
        phase: Which phase it is.
        ask: The rest.

    Raises:
        PlanError: There are too many passes to draw.
    """
    stages, count = int(ask.points.pp), int(ask.points.passes(phase))
    if stages * count > MOST_PASSES:
        what = f"{count} micro-batches (times chunks) on {stages} stages are too many to draw"
        raise PlanError(Problem(where=phase, what=what, fix=f"Draw at most {MOST_PASSES // stages}"))
    alone = float(totals.alone_seconds)
    layout = _layout(totals, phase, ask, alone / count)
    schedule = fill_and_drain if phase == "prefill" else rounds
    passes = schedule(layout.seconds, count)
    each = sum(len(pieces) + len({id(piece.block) for piece in pieces}) for pieces in layout.stages)
    detailed = max(MOST_SLICES // max(each, 1), 1)
    names = _names(int(ask.points.parts(phase)), count)
    slices = list(_passes(dict(zip(names, passes.starts, strict=True)), layout, detailed, ask.device.engine))
    wraps = phase == "decode" and stages > 1 and count > 1
    if wraps:
        slices = list(_wrapped(slices, passes.period_s))
    return PhaseTimeline(
        phase=phase,
        seconds=float(totals.seconds),
        stages=stages,
        slices=list(_with_host(slices, totals, alone, phase, ask.engine)),
        notes=tuple(_notes(layout, names, detailed, wraps)),
    )


def _layout(totals: PhaseTotals, phase: PhaseName, ask: TimelineQuestion, seconds: float) -> Layout:
    """One pass; `seconds` is what it takes where there is one stage."""
    its_lanes = lanes([p.row for p in totals.rows], ask.device, ask.points.binding(phase))
    kernels = [
        Kernel(price, lane, executions(price) * float(price.seconds))
        for price, lane in zip(totals.rows, its_lanes, strict=True)
        if float(price.seconds) > 0.0
    ]
    if float(ask.points.sub_batches) > 1.0:
        return lay_out_halves(kernels, ask.segments, seconds)
    return lay_out(kernels, ask.segments, int(ask.points.pp))


def _names(microbatches: int, count: int) -> list[str]:
    """Of the passes: the chunks of a microbatch follow each other."""
    chunks = count // microbatches
    if chunks == 1:
        return [f"micro-batch {number}" for number in range(count)]
    return [f"micro-batch {number}, chunk {chunk}" for number in range(microbatches) for chunk in range(chunks)]


def _notes(layout: Layout, names: Sequence[str], detailed: int, wraps: bool) -> Iterator[str]:
    if layout.stretch is not None:
        yield (
            f"two halves take turns: their layers are drawn {layout.stretch:.4g} times as long as such turns take, "
            "which is the estimate's time; `seconds` of each kernel is its own"
        )
    if len(names) > detailed:
        yield f"{names[detailed]} to {names[-1]} are merged: one slice a stage stands for all the kernels of each"
    if wraps:
        yield "decode is one round of its steady state: passes that end after it are drawn at its start"


def _passes(starts: Mapping[str, Sequence[float]], layout: Layout, detailed: int, engine: str) -> Iterator[Slice]:
    """All passes on all stages, the first `detailed` ones kernel by kernel."""
    arguments = {
        id(piece.kernel.price): _arguments(piece.kernel.price, engine) for pieces in layout.stages for piece in pieces
    }
    for number, (name, its_starts) in enumerate(starts.items()):
        for stage, (start, pieces) in enumerate(zip(its_starts, layout.stages, strict=True)):
            if not pieces:
                continue
            whole = Slice(
                kind="pass",
                stage=stage,
                lane=PASSES,
                name=name,
                start_s=start,
                end_s=start + layout.seconds[stage],
                args={},
            )
            yield whole
            if number >= detailed:
                yield replace(whole, kind="merged", lane=COMPUTE, args=_merged_arguments(pieces))
            else:
                yield from _layers(whole, pieces)
                yield from (_kernel(whole, piece, arguments[id(piece.kernel.price)]) for piece in pieces)


def _layers(whole: Slice, pieces: Sequence[Placed]) -> Iterator[Slice]:
    """A slice for each block of a pass, from its first kernel to the end of its last."""
    extents: dict[tuple[int, int], tuple[Block, float, float]] = {}
    for piece in pieces:
        key = (id(piece.block), piece.half)
        _, start, end = extents.get(key, (piece.block, piece.start_s, piece.end_s))
        extents[key] = (piece.block, min(start, piece.start_s), max(end, piece.end_s))
    for (_, half), (block, start, end) in extents.items():
        yield Slice(
            kind="layer",
            stage=whole.stage,
            lane=LAYERS[half],
            name=block.name,
            start_s=whole.start_s + start,
            end_s=whole.start_s + end,
            args={"pass": whole.name},
        )


def _kernel(whole: Slice, piece: Placed, arguments: Mapping[str, Argument]) -> Slice:
    part: dict[str, Argument] = {} if piece.block.share == 1.0 else {"share_of_repetition": piece.block.share}
    return Slice(
        kind="kernel",
        stage=whole.stage,
        lane=piece.kernel.lane,
        name=piece.kernel.price.row.name,
        start_s=whole.start_s + piece.start_s,
        end_s=whole.start_s + piece.end_s,
        args={"pass": whole.name, "layer": piece.block.name, **part, **arguments},
    )


def _arguments(price: RowPrice, engine: str) -> dict[str, Argument]:
    """What is said of one execution of a kernel."""
    return {
        "op": price.row.op,
        "family": price.row.family,
        "bound": BOUNDS[int(price.bound)],
        "seconds": float(price.seconds),
        "roofline_seconds": float(price.floor_seconds),
        "executions": executions(price),
        "flops": float(price.flops),
        "bytes_read": float(price.bytes_read),
        "bytes_written": float(price.bytes_written),
        "network_bytes": float(price.network_bytes),
        "formula": formula_text(price.row, engine),
    }


def _merged_arguments(pieces: Sequence[Placed]) -> dict[str, Argument]:
    """How many kernels a merged slice stands for, and their own seconds by lane."""
    busy: dict[str, float] = {}
    for piece in pieces:
        lane = f"{piece.kernel.lane}_seconds"
        busy[lane] = busy.get(lane, 0.0) + piece.kernel.seconds * piece.block.share
    return {"kernels": len(pieces), **busy}


def _wrapped(slices: Iterable[Slice], period: float) -> Iterator[Slice]:
    """One round: what lies behind its end is what the round before left over, and lies at its start."""
    near = SNAP * period
    for item in slices:
        if item.start_s >= period - near:
            yield _before(item, max(item.start_s - period, 0.0), item.end_s - period)
        elif item.end_s <= period + near:
            yield replace(item, end_s=min(item.end_s, period))
        else:
            yield replace(item, end_s=period, args={**item.args, "continues": "in the next round"})
            yield _before(item, 0.0, item.end_s - period)


def _before(item: Slice, start: float, end: float) -> Slice:
    return replace(item, start_s=start, end_s=end, args={**item.args, "token": "the one before"})


def _with_host(
    slices: Sequence[Slice], totals: PhaseTotals, alone: float, phase: PhaseName, engine: EngineOverheads
) -> Iterator[Slice]:
    """The slices behind the engine's waits, spread where launching takes longer than the kernels."""
    each = engine.prefill_launch_s if phase == "prefill" else engine.decode_launch_s
    launches = sum(float(w) for p, w in zip(totals.rows, totals.weights, strict=True) if float(p.seconds) > 0.0)
    launching = launches * each
    factor = max(launching / alone, 1.0)
    waiting = float(totals.seconds) - alone * factor
    if waiting <= SNAP * alone:
        waiting = 0.0
    for item in slices:
        start = waiting + item.start_s * factor
        # A kernel takes its time; what groups kernels stretches with their starts.
        longer = 1.0 if item.kind == "kernel" else factor
        yield replace(item, start_s=start, end_s=start + (item.end_s - item.start_s) * longer)
    for stage in sorted({item.stage for item in slices}):
        idle = Slice(kind="host", stage=stage, lane=HOST, name=engine.title, start_s=0.0, end_s=waiting, args={})
        if waiting:
            yield idle
        if launching:
            args: dict[str, Argument] = {"kernels": launches, "seconds_each": each}
            yield replace(idle, name="launches kernels", start_s=waiting, end_s=waiting + launching, args=args)
