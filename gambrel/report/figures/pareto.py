"""Speed for a user against throughput of a device: every plan, and the staircase of those that nothing beats."""

from collections.abc import Sequence

from gambrel.report.figures.figure import BLUE, CYAN, GREEN, GREY, PURPLE, RED, YELLOW, Figure, Part, number, spec_of
from gambrel.report.points import PlanPoints

WIDE = 30.0
"""An axis whose values span a larger factor is logarithmic."""

MACHINE_COLOURS = (BLUE, RED, GREEN, PURPLE, YELLOW, CYAN)
MACHINE_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")


def pareto(points: PlanPoints) -> Figure:
    """The plans that run, the front as a staircase, and the plan that the report details."""
    front = sorted((row for row in points.rows if row.on_front), key=lambda row: row.per_user)
    others = [row for row in points.rows if row.fits and not row.on_front]
    machines = points.machines
    traces: list[Part] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "other plans" if len(machines) == 1 else f"other plans of {machine}",
            "x": [row.per_user for row in others if row.machine == machine],
            "y": [row.per_device for row in others if row.machine == machine],
            "text": [row.text for row in others if row.machine == machine],
            "hovertemplate": _HOVER,
            "marker": {
                "color": GREY if len(machines) == 1 else MACHINE_COLOURS[number % len(MACHINE_COLOURS)],
                "symbol": MACHINE_SYMBOLS[number % len(MACHINE_SYMBOLS)],
                "size": 6,
                "opacity": 0.5,
            },
        }
        for number, machine in enumerate(machines)
        if any(row.machine == machine for row in others)
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "front",
            "x": [row.per_user for row in front],
            "y": [row.per_device for row in front],
            "text": [row.text for row in front],
            "hovertemplate": _HOVER,
            # Down first, then right: between two plans the slower one is the best that there is.
            "line": {"shape": "vh", "width": 2, "color": BLUE},
            "marker": {"size": 9, "color": BLUE, "line": {"width": 1}},
        }
    )
    chosen = [row for row in points.rows if row.number == points.detailed]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "detailed below",
            "x": [row.per_user for row in chosen],
            "y": [row.per_device for row in chosen],
            "text": [row.text for row in chosen],
            "hovertemplate": _HOVER,
            "marker": {"size": 18, "color": RED, "symbol": "circle-open", "line": {"width": 3}},
        }
    )
    return Figure(
        key="pareto",
        statement=_statement(points),
        spec=spec_of(
            traces,
            {
                "hovermode": "closest",
                "xaxis": _axis(points.per_user_title, [row.per_user for row in [*front, *others]]),
                "yaxis": _axis("output tokens/s per device", [row.per_device for row in [*front, *others]]),
            },
        ),
        note=points.counts_text,
        height_px=500,
    )


_HOVER = "%{text}<extra></extra>"


def _axis(title: str, values: Sequence[float]) -> Part:
    wide = bool(values) and max(values) > WIDE * min(values)
    scale = {"type": "log", "dtick": "D2"} if wide else {"type": "linear", "rangemode": "tozero"}
    return {"title": {"text": title}, **scale}


def _statement(points: PlanPoints) -> str:
    front = sorted((row for row in points.rows if row.on_front), key=lambda row: row.per_user)
    if not front:
        return "No plan fits"
    slow, fast = front[0], front[-1]
    slowest = f"{number(slow.per_device)} tokens/s per device at {number(slow.per_user)} for a user"
    if len(front) == 1:
        return f"One plan of {points.total:,} beats all others: {slowest}"
    fastest = f"{number(fast.per_device)} at {number(fast.per_user)}"
    return f"{len(front)} plans of {points.total:,} make the front: from {slowest} to {fastest}"
