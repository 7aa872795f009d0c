"""Every op of both phases under the roofs of its device."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gambrel.estimation.result import PhaseEstimate, RowEstimate
from gambrel.hardware.device import Device
from gambrel.report.figures.figure import FAMILY_COLOURS, FAMILY_NAMES, GREY, Figure, Part, percent, spec_of
from gambrel.report.figures.time import Phases
from gambrel.units import format_quantity

SYMBOLS = {"prefill": "circle", "decode step": "diamond"}

SMALLEST_PX, LARGEST_PX = 6.0, 42.0
"""Diameter of an op without time, and of one that takes all of it; areas are in proportion in between."""


class RooflinePoint(NamedTuple):
    """One op: arithmetic intensity against the rate that it reaches.

    Attributes:
        phase: Its phase, for people.
        row: What it is.
        flops_per_byte: FLOPs over bytes of device memory.
        flops_per_s: FLOPs over its time.
    """

    phase: str
    row: RowEstimate
    flops_per_byte: float
    flops_per_s: float


class Roof(NamedTuple):
    """A rate that nothing exceeds: of the formats that it is named after."""

    name: str
    flops_per_s: float


def roofline_points(phases: Phases) -> list[RooflinePoint]:
    """Every row that computes and moves something, on one device."""
    out: list[RooflinePoint] = []
    for name, phase in phases.items():
        for row in phase.rows:
            moved = row.bytes_read + row.bytes_written
            if row.flops > 0.0 and moved > 0.0 and row.seconds > 0.0:
                out.append(RooflinePoint(name, row, row.flops / moved, row.flops / row.seconds))
    return out


def compute_roofs(device: Device, points: Iterable[RooflinePoint]) -> list[Roof]:
    """Peaks of the formats in use, and of the vector units, formats of one peak together, the highest first."""
    used = {point.row.rate for point in points}
    rates = {name: float(np.asarray(rate)) for name, rate in device.matrix_flops_per_s.items()}
    named = {name: rate for name, rate in rates.items() if name in used}
    named["vector fp32"] = float(np.asarray(device.vector_flops_per_s))
    by_rate: dict[float, list[str]] = {}
    for name, rate in named.items():
        by_rate.setdefault(rate, []).append(name)
    return [Roof(", ".join(names), rate) for rate, names in sorted(by_rate.items(), reverse=True)]


def roofline(phases: Phases, device: Device) -> Figure:
    """The figure of phases on the device that they were estimated for."""
    points = roofline_points(phases)
    roofs = compute_roofs(device, points)
    bandwidth = float(np.asarray(device.memory_bandwidth_bytes_per_s))
    low = min([p.flops_per_byte for p in points] or [1.0]) / 3.0
    high = max(roofs[0].flops_per_s / bandwidth, *(p.flops_per_byte for p in points)) * 10.0
    families = [name for name in FAMILY_COLOURS if any(p.row.family == name for p in points)]
    bottom = min([p.flops_per_s for p in points] or [low * bandwidth]) / 3.0
    layout = {
        "xaxis": _axis("arithmetic intensity (FLOP/byte of memory)", low, high),
        "yaxis": _axis("achieved rate (FLOP/s per device)", bottom, 2.5 * roofs[0].flops_per_s),
        "annotations": list(_roof_names(roofs, bandwidth, low, high)),
    }
    traces = [*_roof_lines(roofs, bandwidth, low, high), *(_family(name, points) for name in families)]
    return Figure(
        key="roofline",
        statement=_statement(phases),
        spec=spec_of(traces, layout),
        note=f"{_symbols(phases)}; the area is an op's share of its phase. {_missing(phases)}",
        height_px=520,
    )


def _axis(title: str, low: float, high: float) -> Part:
    return {
        "type": "log",
        "title": {"text": title},
        "range": [math.log10(low), math.log10(high)],
        "exponentformat": "power",
        "dtick": 1,
    }


def _roof_lines(roofs: Sequence[Roof], bandwidth: float, low: float, high: float) -> Iterator[Part]:
    """The memory roof up to the highest peak, and each peak from where memory can feed it."""
    memory = f"memory {format_quantity(bandwidth, 'B/s')}"
    top = roofs[0].flops_per_s
    yield _line((low, top / bandwidth), (low * bandwidth, top), memory, "solid")
    for roof in roofs:
        dash = "dot" if roof.name.startswith("vector") else "solid"
        yield _line((roof.flops_per_s / bandwidth, high), (roof.flops_per_s, roof.flops_per_s), _roof_text(roof), dash)


def _line(x: tuple[float, float], y: tuple[float, float], text: str, dash: str) -> Part:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {"color": GREY, "width": 2, "dash": dash},
        "showlegend": False,
        "hovertemplate": f"{text}<extra></extra>",
    }


def _roof_names(roofs: Sequence[Roof], bandwidth: float, low: float, high: float) -> Iterator[Part]:
    """The name of each roof beside it; annotations of a logarithmic axis are placed by exponent."""
    name: Part = {"showarrow": False, "yanchor": "bottom"}
    memory = f"memory {format_quantity(bandwidth, 'B/s')}"
    # To the left of the middle of the roof: no point is ever above it.
    middle = (math.log10(low) + math.log10(roofs[0].flops_per_s / bandwidth)) / 2.0
    at = {"x": middle, "y": middle + math.log10(bandwidth), "xanchor": "right", "xshift": -8, "yshift": 2}
    yield {**name, **at, "text": memory}
    for roof in roofs:
        end = {"x": math.log10(high), "y": math.log10(roof.flops_per_s), "xanchor": "right"}
        yield {**name, **end, "text": _roof_text(roof)}


def _roof_text(roof: Roof) -> str:
    return f"{roof.name} {format_quantity(roof.flops_per_s, 'FLOP/s')}"


def _family(family: str, every: Sequence[RooflinePoint]) -> Part:
    points = [point for point in every if point.row.family == family]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": FAMILY_NAMES[family],
        "x": [point.flops_per_byte for point in points],
        "y": [point.flops_per_s for point in points],
        "marker": {
            "color": FAMILY_COLOURS[family],
            "opacity": 0.75,
            "symbol": [SYMBOLS[point.phase] for point in points],
            "size": [SMALLEST_PX + (LARGEST_PX - SMALLEST_PX) * math.sqrt(point.row.share) for point in points],
            "line": {"width": 1},
        },
        "text": [_hover(point) for point in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hover(point: RooflinePoint) -> str:
    row = point.row
    rate = f" in {row.rate}" if row.rate else ""
    return (
        f"<b>{row.name}</b><br>{point.phase}: {percent(row.share)} of it, {row.bound} bound<br>"
        f"{format_quantity(point.flops_per_s, 'FLOP/s')}{rate}, "
        f"{format_quantity((row.bytes_read + row.bytes_written) / row.seconds, 'B/s')}<br>"
        f"{point.flops_per_byte:.3g} FLOP/B, {format_quantity(row.seconds, 's')} x {row.count:g}<br>"
        f"{percent(row.floor_seconds / row.seconds)} of the roofline's rate"
    )


def _statement(phases: Phases) -> str:
    said = [
        f"the {name} computes at {percent(phase.mfu)} of the peak and reads memory at {percent(phase.mbu)} of its "
        "bandwidth"
        for name, phase in phases.items()
    ]
    text = "; ".join(said)
    return text[0].upper() + text[1:]


def _symbols(phases: Phases) -> str:
    text = "; ".join(f"{SYMBOLS[name]}s: {name}" for name in phases)
    return text.capitalize()


def _missing(phases: Phases) -> str:
    """What has no place in the picture, with its share of each phase."""
    shares = [f"{percent(_without_place(phase))} of the {name}" for name, phase in phases.items()]
    return f"Transfers, and ops without arithmetic, have no place here: {' and '.join(shares)}."


def _without_place(phase: PhaseEstimate) -> float:
    placed = sum(row.share for row in phase.rows if row.flops > 0.0 and row.bytes_read + row.bytes_written > 0.0)
    return max(1.0 - placed, 0.0)
