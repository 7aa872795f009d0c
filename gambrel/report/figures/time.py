"""Where the time of both phases goes, by op family and by bound: stacked bars."""

from collections.abc import Mapping

from gambrel.estimation.result import Estimate, PhaseEstimate
from gambrel.report.figures.figure import (
    BOUND_COLOURS,
    FAMILY_COLOURS,
    FAMILY_NAMES,
    HATCHES,
    SMALLEST_LABEL,
    STACKED_BAR,
    Figure,
    Part,
    fill,
    percent,
    spec_of,
)
from gambrel.units import format_quantity

Phases = Mapping[str, PhaseEstimate]
"""Phases of a request by their names for people."""


def time_by_family(phases: Phases) -> Figure:
    """A bar for each phase, its parts the op families and the waiting."""
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


def time_by_bound(phases: Phases) -> Figure:
    """A bar for each phase, its parts what the kernels are bound by."""
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
                **STACKED_BAR,
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
