"""Speed for a user against throughput of a device: every plan, and the staircase of those that nothing beats."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

from gambrel.report.figures.figure import BLUE, CYAN, GREEN, GREY, PURPLE, RED, YELLOW, Figure, Part, number, spec_of
from gambrel.report.plan import plan_choices
from gambrel.report.points import PlanPoints, PlanRow
from gambrel.search.pools import Disaggregated, Pool
from gambrel.units import format_quantity

WIDE = 30.0
"""An axis whose values span a larger factor is logarithmic."""

MACHINE_COLOURS = (BLUE, RED, GREEN, PURPLE, YELLOW, CYAN)
MACHINE_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")


MANY = 60
"""A longer front has smaller points."""


def pareto(points: PlanPoints) -> Figure:
    """The plans that run, the front as a staircase, and the plan that the report details."""
    front = sorted((row for row in points.rows if row.on_front), key=lambda row: row.per_user)
    others = [row for row in points.rows if row.fits and not row.on_front]
    fitting = [*front, *others]
    layout = {
        "hovermode": "closest",
        "xaxis": _axis(points.per_user_title, [row.per_user for row in fitting]),
        "yaxis": _axis("output tokens/s per device", [row.per_device for row in fitting]),
    }
    return Figure(
        key="pareto",
        statement=_statement(points, front),
        spec=spec_of(_traces(points, front, others), layout),
        note=points.counts_text,
        height_px=500,
    )


def _traces(points: PlanPoints, front: Sequence[PlanRow], others: Sequence[PlanRow]) -> list[Part]:
    looks = _looks(points.machines)
    traces: list[Part] = [
        {
            **_places([row for row in others if row.machine == machine]),
            "mode": "markers",
            "name": "other plans" if len(looks) == 1 else machine,
            "marker": {**look, "size": 6, "opacity": 0.65},
        }
        for machine, look in looks.items()
        if any(row.machine == machine for row in others)
    ]
    # Down first, then right: between two plans the slower one is the best that there is.
    line = {"shape": "vh", "width": 2, "color": GREY}
    marker = {**_marks(front, looks), "size": 5 if len(front) > MANY else 9}
    traces.append({**_places(front), "mode": "lines+markers", "name": "front", "line": line, "marker": marker})
    chosen = _places([row for row in points.rows if row.number == points.detailed])
    ring = {"size": 18, "color": RED, "symbol": "circle-open", "line": {"width": 3}}
    traces.append({**chosen, "mode": "markers", "name": "detailed below", "marker": ring})
    return traces


def _looks(machines: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and symbol of each machine; of a single one those of what is not on the front."""
    if len(machines) == 1:
        return {machines[0]: {"color": GREY, "symbol": MACHINE_SYMBOLS[0]}}
    return {
        machine: {"color": colour, "symbol": symbol}
        for machine, colour, symbol in zip(machines, cycle(MACHINE_COLOURS), cycle(MACHINE_SYMBOLS), strict=False)
    }


def _marks(front: Sequence[PlanRow], looks: Mapping[str, Mapping[str, str]]) -> Part:
    if len(looks) == 1:
        return {"color": BLUE}
    return {name: [looks[row.machine][name] for row in front] for name in ("color", "symbol")}


def _places(rows: Sequence[PlanRow]) -> dict[str, object]:
    return {
        "type": "scatter",
        "x": [row.per_user for row in rows],
        "y": [row.per_device for row in rows],
        "text": [row.text for row in rows],
        "hovertemplate": _HOVER,
    }


_HOVER = "%{text}<extra></extra>"


def _axis(title: str, values: Sequence[float]) -> Part:
    wide = bool(values) and max(values) > WIDE * min(values)
    scale = {"type": "log", **_ticks(values)} if wide else {"type": "linear", "rangemode": "tozero"}
    return {"title": {"text": title}, **scale}


def _ticks(values: Sequence[float]) -> Part:
    """1, 2 and 5 of each decade, written out: plotly would leave the zeros of the 2 and the 5 to the reader."""
    low, high = (math.floor(math.log10(each)) for each in (min(values), max(values)))
    ticks = [digit * 10.0**decade for decade in range(low, high + 1) for digit in (1, 2, 5)]
    return {"tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}


def _statement(points: PlanPoints, front: Sequence[PlanRow]) -> str:
    if not front:
        return "No plan fits"
    slow, fast = front[0], front[-1]
    slowest = f"{number(slow.per_device)} tokens/s per device at {number(slow.per_user)} for a user"
    if len(front) == 1:
        return f"One plan of {points.total:,} beats all others: {slowest}"
    fastest = f"{number(fast.per_device)} at {number(fast.per_user)}"
    return f"{len(front)} plans of {points.total:,} make the front: from {slowest} to {fastest}"


def pairs_front(front: Sequence[Disaggregated], detailed: Disaggregated) -> Figure:
    """The front of pairs of pools, and the one that the page details."""
    ordered = sorted(front, key=lambda pair: pair.metrics["tokens_per_s_per_user"])
    line = {"shape": "vh", "width": 2, "color": GREY}
    marker = {"color": BLUE, "size": 5 if len(front) > MANY else 9}
    ring = {"size": 18, "color": RED, "symbol": "circle-open", "line": {"width": 3}}
    traces: list[Part] = [
        {**_pair_places(ordered), "mode": "lines+markers", "name": "front", "line": line, "marker": marker},
        {**_pair_places([detailed]), "mode": "markers", "name": "detailed here", "marker": ring},
    ]
    users, devices = (
        [pair.metrics[name] for pair in (*ordered, detailed)]
        for name in ("tokens_per_s_per_user", "tokens_per_s_per_device")
    )
    layout = {
        "hovermode": "closest",
        "xaxis": _axis("output tokens/s for a user (1 / TPOT)", users),
        "yaxis": _axis("output tokens/s per device", devices),
    }
    slow, fast = ordered[0].metrics, ordered[-1].metrics
    ends = [
        f"{number(each['tokens_per_s_per_device'])} tokens/s per device at {number(each['tokens_per_s_per_user'])}"
        for each in (slow, fast)
    ]
    pairs = "One pair is" if len(ordered) == 1 else f"{len(ordered)} pairs are"
    return Figure(
        key="pareto",
        statement=f"{pairs} beaten by no other: {' for a user, to '.join(dict.fromkeys(ends))} for a user",
        spec=spec_of(traces, layout),
        note="Pairs of pools that meet the limits; hover over a point for its plans.",
        height_px=420,
    )


def _pair_places(pairs: Sequence[Disaggregated]) -> dict[str, object]:
    return {
        "type": "scatter",
        "x": [pair.metrics["tokens_per_s_per_user"] for pair in pairs],
        "y": [pair.metrics["tokens_per_s_per_device"] for pair in pairs],
        "text": ["<br>".join(map(escape, _said(pair))) for pair in pairs],
        "hovertemplate": _HOVER,
    }


def _said(pair: Disaggregated) -> list[str]:
    def pool(name: str, its: Pool) -> str:
        return f"{name}: {its.instances} x {its.devices} {its.machine}, {plan_choices(its.plan)}, batch {its.batch}"

    times = [f"{title}: {format_quantity(pair.metrics[name], 's')}" for name, title in _TIMES]
    return [pool("prefill", pair.prefill), pool("decode", pair.decode), *times, f"bound: {pair.bound}"]


_TIMES = (("ttft_s", "TTFT"), ("tpot_s", "TPOT"))
