"""What each pipeline stage runs in one pass: layers in order, kernel by kernel, from the start of the pass there."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from gambrel.cost.kernel import Transfer
from gambrel.cost.program import RowPrice
from gambrel.cost.roofline import crossed_levels
from gambrel.cost.rows import Row, SegmentSpec
from gambrel.cost.vectorise import Binding, Vectorised
from gambrel.estimation.schedule import take_turns
from gambrel.hardware.device import Device

COMPUTE = "compute"
"""The lane of everything but transfers, whose lanes are named as the links of the device."""


class Kernel(NamedTuple):
    """A row, the lane that it runs on, and the seconds of its executions in one layer."""

    price: RowPrice
    lane: str
    seconds: float


class Block(NamedTuple):
    """What a stage runs as one: a layer (or `share` of a repeated group of layers), or what is outside of them."""

    name: str
    kernels: Sequence[Kernel]
    share: float = 1.0


class Placed(NamedTuple):
    """A kernel of a block in one pass on one stage, from the start of the pass there."""

    block: Block
    kernel: Kernel
    half: int
    start_s: float
    end_s: float


class Layout(NamedTuple):
    """One pass on each stage.

    Attributes:
        stages: What each runs, in order of start.
        seconds: How long a pass holds each stage.
        stretch: Drawn over scheduled time of the layers, where two halves of the batch take turns; None elsewhere.
    """

    stages: Sequence[Sequence[Placed]]
    seconds: Sequence[float]
    stretch: float | None


def lay_out(kernels: Sequence[Kernel], segments: Sequence[SegmentSpec], stages: int) -> Layout:
    """One pass whose kernels run one after another; a pass holds a stage until its send has ended.

    Args:
        kernels: All that take time.
        segments: The runs of layers.
        stages: Pipeline stages; each holds `ceil(layers / stages)` layers in order.
    """
    placed = [_in_order(list(_blocks(kernels, segments, stages, stage))) for stage in range(stages)]
    return Layout(placed, [pieces[-1].end_s if pieces else 0.0 for pieces in placed], None)


def lay_out_halves(kernels: Sequence[Kernel], segments: Sequence[SegmentSpec], seconds: float) -> Layout:
    """One pass of two halves of the batch that take turns in the layers of one stage.

    The closed form of an estimate knows what overlaps and no order: the turns are stretched, or shrunk, as one piece to
    what it leaves the layers of a pass of `seconds`. Embedding and head run once for each half; nothing overlaps there.

    Args:
        kernels: All that take time, of one half.
        segments: The runs of layers.
        seconds: What a pass of both halves takes.
    """
    first, *layers, last = _blocks(kernels, segments, 1, 0)
    inner = [(block, kernel) for block in layers for kernel in block.kernels]
    turns = take_turns([(kernel.lane, kernel.seconds) for _, kernel in inner])
    head, tail = (2.0 * sum(kernel.seconds for kernel in block.kernels) for block in (first, last))
    stretch = (seconds - head - tail) / max(turn.end_s for turn in turns)
    middle = [
        Placed(*inner[turn.step], turn.half, head + turn.start_s * stretch, head + turn.end_s * stretch)
        for turn in turns
    ]
    return Layout([[*_twice(first, 0.0), *middle, *_twice(last, seconds - tail)]], [seconds], stretch)


def lanes(rows: Sequence[Row], device: Device, binding: Binding) -> list[str]:
    """The lane of each row: COMPUTE, or the outermost link that a transfer crosses."""
    specs = [row.kernel for row in rows if row.kernel is not None and row.kernel.kind is Transfer]
    values = Vectorised([size for spec in specs for size in spec.sizes.values()])(binding)
    out: list[str] = []
    for row in rows:
        links = [COMPUTE]
        if row.kernel is not None and row.kernel.kind is Transfer:
            kernel = row.kernel.bind({name: values[size] for name, size in row.kernel.sizes.items()})
            assert isinstance(kernel, Transfer)
            crossed = crossed_levels(kernel, device)
            links += [level.link.name for level in crossed if np.any(np.asarray(level.members) > 1.0)]
        out.append(links[-1])
    return out


def executions(price: RowPrice) -> float:
    """Of a row in one layer; a send is counted once for each stage but the last, and each of them sends once."""
    return 1.0 if price.row.place == "between" else float(price.count)


def _blocks(kernels: Sequence[Kernel], segments: Sequence[SegmentSpec], stages: int, stage: int) -> Iterator[Block]:
    """What one stage runs, in order; it holds the layers `stage P` to `(stage + 1) P`, `P = ceil(L / stages)`."""
    each = -(-sum(item.repetitions * item.layers_each for item in segments) // stages)
    low, high = stage * each, (stage + 1) * each
    outside = {place: [k for k in kernels if k.price.row.place == place] for place in ("first", "last", "between")}
    if stage == 0:
        yield Block("embedding", outside["first"])
    start = 0
    for item in segments:
        inside = [k for k in kernels if k.price.row.place == "layers" and k.price.row.segment == item.label]
        for _ in range(item.repetitions):
            end = start + item.layers_each
            first, last = max(start, low), min(end, high)
            if last > first:
                yield Block(_layer_name(first, last), inside, (last - first) / item.layers_each)
            start = end
    if stage == stages - 1:
        yield Block("head", outside["last"])
    elif outside["between"]:
        yield Block("send", outside["between"])


def _layer_name(first: int, last: int) -> str:
    return f"layer {first}" if last == first + 1 else f"layers {first}-{last - 1}"


def _in_order(blocks: Sequence[Block]) -> list[Placed]:
    """Every kernel of a stage after the one before it."""
    every = [(block, kernel) for block in blocks for kernel in block.kernels]
    ends = list(accumulate(kernel.seconds * block.share for block, kernel in every))
    starts = [0.0, *ends[:-1]]
    return [Placed(*item, 0, start, end) for item, start, end in zip(every, starts, ends, strict=False)]


def _twice(block: Block, start: float) -> Iterator[Placed]:
    for half in (0, 1):
        for kernel in block.kernels:
            yield Placed(block, kernel, half, start, start + kernel.seconds)
            start += kernel.seconds
