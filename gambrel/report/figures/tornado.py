"""What a change of each number of the device would do to a time: a tornado."""

from collections.abc import Sequence

from gambrel.report.changes import CHANGE, Sensitivity
from gambrel.report.figures.figure import BLUE, RED, Figure, Part, fill, percent, spec_of

MOST_BARS = 8
"""Numbers shown; those behind matter less."""

LEAST = 5e-4
"""Relative changes below this are not shown."""

METRICS = {"ttft_s": "time to first token", "tpot_s": "time per output token"}


def tornados(sensitivities: Sequence[Sensitivity]) -> list[Figure]:
    """A figure for each time that there is."""
    return [
        _tornado(metric, [item for item in sensitivities if item.metric == metric])
        for metric in METRICS
        if any(item.metric == metric for item in sensitivities)
    ]


def _tornado(metric: str, every: Sequence[Sensitivity]) -> Figure:
    """A pair of bars for each number, the most important one on top."""
    felt = sorted((item for item in every if _reach(item) >= LEAST), key=_reach, reverse=True)
    shown = felt[:MOST_BARS]
    widest = 110.0 * max([_reach(item) for item in shown] or [CHANGE])
    layout = {
        "barmode": "overlay",
        "bargap": 0.3,
        "xaxis": {"title": {"text": f"change of the {METRICS[metric]} (%)"}, "range": [-widest, widest]},
        "yaxis": {"autorange": "reversed", "automargin": True},
    }
    bars = [
        _bars(shown, [item.less for item in shown], f"{percent(CHANGE)} less", fill(RED, "/")),
        _bars(shown, [item.more for item in shown], f"{percent(CHANGE)} more", fill(BLUE)),
    ]
    left = len(every) - len(shown)
    below = _reach(shown[-1]) if len(felt) > len(shown) else LEAST
    return Figure(
        key=f"tornado_{metric}",
        statement=_statement(metric, felt),
        spec=spec_of(bars, layout),
        note="One number of the profile at a time; fitted parameters stay as they are."
        + (f" Others ({left}) change it by less than {percent(below)}." if left else ""),
        height_px=130 + 34 * max(len(shown), 1),
    )


def _reach(item: Sensitivity) -> float:
    return max(abs(item.less), abs(item.more))


def _bars(items: Sequence[Sensitivity], changes: Sequence[float], name: str, marker: Part) -> Part:
    return {
        "type": "bar",
        "orientation": "h",
        "x": [100.0 * change for change in changes],
        "y": [item.what for item in items],
        "name": name,
        "marker": marker,
        "hovertemplate": "%{y}, %{fullData.name}: %{x:+.2f} %<extra></extra>",
    }


def _statement(metric: str, felt: Sequence[Sensitivity]) -> str:
    helping = sorted((item for item in felt if item.more < 0.0), key=lambda item: item.more)
    if not helping:
        return f"No number of the device changes the {METRICS[metric]} by much"
    best, *others = helping
    text = f"{percent(CHANGE)} more {best.what} would cut the {METRICS[metric]} by {percent(-best.more)}"
    return f"{text}; the next is {others[0].what} with {percent(-others[0].more)}" if others else text
