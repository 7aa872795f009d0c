"""Where the time of both phases goes, by op family and by bound, and what fills the memory: stacked bars."""

from collections.abc import Mapping, Sequence

from gambrel.estimation.result import Estimate, PhaseEstimate
from gambrel.report.figures.figure import (
    BOUND_COLOURS,
    FAMILY_COLOURS,
    FAMILY_NAMES,
    GREY,
    HATCHES,
    Figure,
    Part,
    fill,
    percent,
    spec_of,
)
from gambrel.units import format_quantity

SMALLEST_LABEL = 0.06
"""Shares of a bar below this have no room for a label inside of it."""


def time_by_family(estimate: Estimate) -> Figure:
    """A bar for each phase, its parts the op families and the waiting."""
    phases = named_phases(estimate)
    parts = {name: _with_waiting(phase) for name, phase in phases.items()}
    overlapped = [
        f"{format_quantity(phase.overlapped_seconds, 's')} in the {name}"
        for name, phase in phases.items()
        if phase.overlapped_seconds > 0.0
    ]
    note = "Time of the mean device."
    if overlapped:
        note += f" Transfers overlap compute ({', '.join(overlapped)}): a phase is shorter than its parts by that."
    return Figure(
        key="time",
        statement=f"Most time goes to {_largest(parts, FAMILY_NAMES)}",
        spec=_bars(phases, parts, FAMILY_COLOURS, FAMILY_NAMES),
        note=note,
        height_px=270,
    )


def time_by_bound(estimate: Estimate) -> Figure:
    """A bar for each phase, its parts what the kernels are bound by."""
    phases = named_phases(estimate)
    parts = {name: dict(phase.seconds_by_bound) for name, phase in phases.items()}
    return Figure(
        key="bound",
        statement=f"Most time is bound by {_largest(parts, {})}",
        spec=_bars(phases, parts, BOUND_COLOURS, {}),
        note="Busy time only; latency is start-up of kernels and messages.",
        height_px=270,
    )


def named_phases(estimate: Estimate) -> dict[str, PhaseEstimate]:
    """The phases that there are, by their names for people."""
    phases = {"prefill": estimate.prefill}
    return phases if estimate.decode is None else {**phases, "decode step": estimate.decode}


def _with_waiting(phase: PhaseEstimate) -> dict[str, float]:
    waiting = {"bubble": phase.bubble_seconds, "host": phase.host_seconds}
    return {**phase.seconds_by_family, **{name: value for name, value in waiting.items() if value > 0.0}}


def _largest(parts: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> str:
    """`experts (46 % of the prefill) and attention (31 % of the decode step)`: the largest part of each phase."""
    found: dict[str, list[str]] = {}
    for phase, its in parts.items():
        part = max(its, key=lambda name: its[name])
        share = f"{percent(its[part] / sum(its.values()))} of the {phase}"
        found.setdefault(names.get(part, part), []).append(share)
    return " and ".join(f"{name} ({', '.join(shares)})" for name, shares in found.items())


def _bars(
    phases: Mapping[str, PhaseEstimate],
    parts: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
    names: Mapping[str, str],
) -> str:
    labels = [f"{name}<br>{format_quantity(phase.seconds, 's')}" for name, phase in phases.items()]
    wholes = [sum(its.values()) for its in parts.values()]
    traces: list[Part] = []
    for part in [part for part in colours if any(its.get(part, 0.0) > 0.0 for its in parts.values())]:
        seconds = [its.get(part, 0.0) for its in parts.values()]
        shares = [100.0 * value / whole for value, whole in zip(seconds, wholes, strict=True)]
        traces.append(
            {
                **_BAR,
                "x": shares,
                "y": labels,
                "name": names.get(part, part),
                "marker": fill(colours[part], HATCHES.get(part, "")),
                "text": [f"{share:.0f} %" if share >= 100.0 * SMALLEST_LABEL else "" for share in shares],
                "customdata": [format_quantity(value, "s") for value in seconds],
                "hovertemplate": "%{y}<br>%{fullData.name}: %{customdata}, %{x:.2f} %<extra></extra>",
            }
        )
    layout = {
        "barmode": "stack",
        "bargap": 0.35,
        "xaxis": {"title": {"text": "share of the phase (%)"}, "range": [0, 100]},
        "yaxis": {"autorange": "reversed", "automargin": True},
    }
    return spec_of(traces, layout)


_BAR: Part = {
    "type": "bar",
    "orientation": "h",
    "textposition": "inside",
    "insidetextanchor": "middle",
    "textangle": 0,
}
"""What all stacked bars have in common."""

MEMORY_COLOURS: Sequence[tuple[str, str, str]] = (
    ("weights", "weights", "#4477AA"),
    ("kv_cache", "caches", "#EE6677"),
    ("activations", "activations", "#228833"),
    ("communication", "communication buffers", "#AA3377"),
    ("runtime", "runtime", "#777777"),
)


def memory(estimate: Estimate) -> Figure:
    """One bar of what the fullest device holds, beside what it can hold."""
    its = estimate.memory
    used, room = format_quantity(its.total_bytes, "B"), format_quantity(its.capacity_bytes, "B")
    left = its.capacity_bytes - its.total_bytes
    verdict = (
        f"it fits, with {format_quantity(left, 'B')} ({percent(left / its.capacity_bytes)}) to spare"
        if its.fits
        else f"it does not fit: {format_quantity(-left, 'B')} too much"
    )
    most = max(its.capacity_bytes, its.total_bytes)
    least = SMALLEST_LABEL * most
    traces: list[Part] = [
        {
            **_BAR,
            "x": [its.bytes_by_kind[kind] / 1e9],
            "y": ["fullest<br>device"],
            "name": name,
            "marker": {"color": colour},
            "text": [f"{its.bytes_by_kind[kind] / 1e9:.3g}" if its.bytes_by_kind[kind] >= least else ""],
            "hovertemplate": "%{fullData.name}: %{x:.4g} GB<extra></extra>",
        }
        for kind, name, colour in MEMORY_COLOURS
        if its.bytes_by_kind[kind] > 0.0
    ]
    capacity = {
        **_BAR,
        "x": [its.capacity_bytes / 1e9],
        "y": ["capacity"],
        "showlegend": False,
        "marker": {"color": "rgba(0,0,0,0)", "line": {"width": 2, "color": GREY}},
        "text": [f"{its.capacity_bytes / 1e9:.4g}"],
        "insidetextfont": {"color": GREY},
        "hovertemplate": "capacity: %{x:.4g} GB<extra></extra>",
    }
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "memory (GB, 1e9 bytes)"}, "range": [0.0, 1.02 * most / 1e9]},
        "yaxis": {"automargin": True, "autorange": "reversed"},
    }
    return Figure(
        key="memory",
        statement=f"{used} of {room} on the fullest device: {verdict}",
        spec=spec_of([*traces, capacity], layout),
        note="Weights and caches of one pipeline stage, the peak of activations of one micro-batch, buffers, and what "
        "the software takes.",
        height_px=240,
    )
