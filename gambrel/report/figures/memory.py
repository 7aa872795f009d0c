"""What the fullest device holds, beside what it can hold."""

from gambrel.estimation.result import Estimate, MemoryEstimate
from gambrel.report.figures.figure import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    RED,
    SMALLEST_LABEL,
    STACKED_BAR,
    Figure,
    Part,
    percent,
    spec_of,
)
from gambrel.units import format_quantity

KINDS = {
    "weights": ("weights", BLUE),
    "kv_cache": ("caches", RED),
    "activations": ("activations", GREEN),
    "communication": ("communication buffers", PURPLE),
    "runtime": ("runtime", "#777777"),
}
"""Name and colour of each kind of memory."""


def memory(estimate: Estimate) -> Figure:
    """A bar of what is held, by kind, and one of the capacity."""
    its = estimate.memory
    most = max(its.capacity_bytes, its.total_bytes)
    traces = [*(_kind(kind, size, most) for kind, size in its.bytes_by_kind.items() if size > 0.0), _capacity(its)]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "memory (GB, 1e9 bytes)"}, "range": [0.0, 1.02 * most / 1e9]},
        "yaxis": {"automargin": True, "autorange": "reversed"},
    }
    return Figure(
        key="memory",
        statement=_statement(its),
        spec=spec_of(traces, layout),
        note="Weights and caches of one pipeline stage, the peak of activations of one micro-batch, buffers, and what "
        "the software takes.",
        height_px=240,
    )


def _kind(kind: str, size: float, most: float) -> Part:
    name, colour = KINDS[kind]
    return {
        **STACKED_BAR,
        "x": [size / 1e9],
        "y": ["fullest<br>device"],
        "name": name,
        "marker": {"color": colour},
        "text": [f"{size / 1e9:.3g}" if size >= SMALLEST_LABEL * most else ""],
        "hovertemplate": "%{fullData.name}: %{x:.4g} GB<extra></extra>",
    }


def _capacity(its: MemoryEstimate) -> Part:
    return {
        **STACKED_BAR,
        "x": [its.capacity_bytes / 1e9],
        "y": ["capacity"],
        "showlegend": False,
        "marker": {"color": "rgba(0,0,0,0)", "line": {"width": 2, "color": GREY}},
        "text": [f"{its.capacity_bytes / 1e9:.4g}"],
        "insidetextfont": {"color": GREY},
        "hovertemplate": "capacity: %{x:.4g} GB<extra></extra>",
    }


def _statement(its: MemoryEstimate) -> str:
    used, room = format_quantity(its.total_bytes, "B"), format_quantity(its.capacity_bytes, "B")
    left = its.capacity_bytes - its.total_bytes
    if its.fits:
        verdict = f"it fits, with {format_quantity(left, 'B')} ({percent(left / its.capacity_bytes)}) to spare"
    else:
        verdict = f"it does not fit: {format_quantity(-left, 'B')} too much"
    return f"{used} of {room} on the fullest device: {verdict}"
