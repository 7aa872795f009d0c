"""What one percent more of each number of the device would do to a time: a tornado."""

from collections.abc import Sequence
from typing import NamedTuple

from gambrel.report.figures.figure import BLUE, RED, Figure, Part, fill, percent, spec_of
from gambrel.report.sensitivity import FIXED
from gambrel.search.sensitivity import Sensitivity
from gambrel.units import format_quantity

MOST_BARS = 8
"""Numbers shown; those behind matter less."""

LEAST = 5e-4
"""Elasticities below this are not shown."""


class Effect(NamedTuple):
    """Of a number of the device: what it is today, and the percent by which one percent more of it changes a time."""

    title: str
    today: str
    elasticity: float


def tornado(found: Sensitivity) -> Figure:
    """A bar for each number, the most important one on top: to the left what makes the time shorter."""
    every = [
        *(Effect(each.title, format_quantity(each.value, each.unit), each.elasticity) for each in found.numbers),
        Effect(FIXED, "", found.fixed),
    ]
    felt = sorted((item for item in every if abs(item.elasticity) >= LEAST), key=lambda item: -abs(item.elasticity))
    shown = felt[:MOST_BARS]
    widest = 1.1 * max([abs(item.elasticity) for item in shown] or [1.0])
    layout = {
        "barmode": "overlay",
        "bargap": 0.3,
        "xaxis": {"title": {"text": f"change of the {found.title} for 1 % more (%)"}, "range": [-widest, widest]},
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "categoryorder": "array",
            "categoryarray": [item.title for item in shown],
        },
    }
    bars = [
        _bars([item for item in shown if item.elasticity < 0.0], "shorter with more", fill(BLUE)),
        _bars([item for item in shown if item.elasticity > 0.0], "longer with more", fill(RED, "/")),
    ]
    return Figure(
        key=f"tornado_{found.metric}",
        statement=_statement(found.title, felt),
        spec=spec_of(bars, layout),
        note=_note(len(every) - len(felt), len(felt) - len(shown)),
        height_px=130 + 34 * max(len(shown), 1),
    )


def _bars(items: Sequence[Effect], name: str, marker: Part) -> Part:
    return {
        "type": "bar",
        "orientation": "h",
        "x": [item.elasticity for item in items],
        "y": [item.title for item in items],
        "name": name,
        "marker": marker,
        "customdata": [f" ({item.today})" if item.today else "" for item in items],
        "hovertemplate": "%{y}%{customdata}: %{x:+.3f} %<extra></extra>",
    }


def _statement(title: str, felt: Sequence[Effect]) -> str:
    if not felt:
        return f"No number of the device changes the {title}"
    first, *others = (_clause(item, title) for item in felt[:2])
    return "; ".join((f"1 % more {first}", *others))


def _clause(item: Effect, title: str) -> str:
    """`memory bandwidth cuts the TPOT by 0.52 %`; what is behind a comma in a title is a format."""
    verb = f"cuts the {title} by" if item.elasticity < 0.0 else f"lengthens the {title} by"
    return f"{item.title.replace(', ', ' in ')} {verb} {percent(abs(item.elasticity) / 100.0)}"


def _note(unfelt: int, left: int) -> str:
    text = "Exact slopes of the estimate; fixed times are those that no number of the device sets."
    hidden = [f"{left} that matter less" if left else "", f"{unfelt} that hardly matter" if unfelt else ""]
    said = " and ".join(filter(None, hidden))
    return f"{text} Not shown: {said}." if said else text
