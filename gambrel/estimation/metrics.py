"""The headline metrics of many design points, in bounded memory: large spaces are evaluated piece by piece."""

import math
from collections.abc import Iterator
from dataclasses import fields
from itertools import product

import numpy as np

from gambrel.cost.compress import has_arrays
from gambrel.cost.program import Rates
from gambrel.cost.vectorise import Array
from gambrel.cost.whatif import map_numbers
from gambrel.estimation.evaluate import Evaluation, evaluate
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Variant
from gambrel.hardware.device import Device, Number
from gambrel.runtimes.profile import IDEAL, EngineOverheads

PIECE_POINTS = 2**16
"""Points of one piece: their arrays stay in a core's cache and in the allocator's pool."""

METRICS = (
    "ttft_s",
    "tpot_s",
    "latency_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "prefill_mfu",
    "decode_mbu",
    "memory_bytes",
    "energy_per_token_j",
    "usd_per_million_tokens",
)
"""What is kept of each point; NaN where the profile does not allow it, and for tpot and decode of one output token."""


def metrics(
    variant: Variant, device: Device, rates: Rates, points: Points, engine: EngineOverheads = IDEAL
) -> dict[str, Array]:
    """Every metric at every point, at the broadcast shape of all columns.

    Args:
        variant: What was compiled.
        device: The machine; its numbers may be what-if arrays that broadcast against the points.
        rates: Which rate the device uses for a format.
        points: Columns that broadcast against each other: a grid of axes, or one row a point.
        engine: What the software around the kernels adds.
    """
    shape = np.broadcast_shapes(*(getattr(points, field.name).shape for field in fields(points)), *_shapes(device))
    out = {name: np.empty(shape) for name in METRICS}
    for piece in _pieces(shape):
        part, machine = _part(points, shape, piece), _device_part(device, shape, piece)
        for name, value in _answers(evaluate(variant, machine, rates, part, engine), part).items():
            out[name][piece] = value
    return out


def _shapes(device: Device) -> list[tuple[int, ...]]:
    """Shapes of the what-if arrays of a device."""
    shapes: list[tuple[int, ...]] = []

    def note(value: Number) -> Number:
        shapes.append(np.shape(value))
        return value

    if has_arrays(device):
        map_numbers(device, note)
    return shapes


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Blocks of at most PIECE_POINTS points: the longest axes are cut first."""
    lengths = list(shape)
    while math.prod(lengths) > PIECE_POINTS:
        longest = max(range(len(lengths)), key=lambda axis: lengths[axis])
        rest = math.prod(lengths) // lengths[longest]
        lengths[longest] = max(PIECE_POINTS // rest, 1) if rest < PIECE_POINTS else 1
    cuts = [
        [slice(start, start + length) for start in range(0, size, length)]
        for size, length in zip(shape, lengths, strict=True)
    ]
    yield from product(*cuts)


def _part(points: Points, shape: tuple[int, ...], piece: tuple[slice, ...]) -> Points:
    columns: dict[str, Array | float] = {}
    for field in fields(points):
        columns[field.name] = _cut(getattr(points, field.name), shape, piece)
    return Points.of(**columns)


def _device_part(device: Device, shape: tuple[int, ...], piece: tuple[slice, ...]) -> Device:
    if not has_arrays(device):
        return device
    return map_numbers(device, lambda value: _cut(np.asarray(value), shape, piece))


def _cut(column: Array, shape: tuple[int, ...], piece: tuple[slice, ...]) -> Array:
    """The piece of an array that broadcasts to a shape."""
    own = piece[len(shape) - column.ndim :]
    return column[tuple(s if length > 1 else slice(None) for s, length in zip(own, column.shape, strict=True))]


def _answers(result: Evaluation, points: Points) -> dict[str, Array]:
    tokens = points.batch * points.osl
    several = points.osl > 1.0
    nothing = np.asarray(np.nan)
    return {
        "ttft_s": result.ttft_s,
        "tpot_s": np.where(several, result.tpot_s, np.nan),
        "latency_s": result.latency_s,
        "tokens_per_s": result.tokens_per_s,
        "tokens_per_s_per_device": result.tokens_per_s_per_device,
        "prefill_mfu": result.prefill.mfu,
        "decode_mbu": np.where(several, result.decode.mbu, np.nan),
        "memory_bytes": result.memory_total_bytes,
        "energy_per_token_j": nothing if result.energy_j is None else result.energy_j / tokens,
        "usd_per_million_tokens": nothing if result.usd is None else result.usd * 1e6 / tokens,
    }
