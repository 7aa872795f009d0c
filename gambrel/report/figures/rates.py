"""What bounds a pair of pools: how many requests prefill, the link and decode could take."""

from collections.abc import Mapping

from gambrel.report.figures.figure import BLUE, GREEN, PURPLE, Figure, Part, number, spec_of

COLOURS = {"prefill": BLUE, "link": PURPLE, "decode": GREEN}


def rates(requests_per_s: Mapping[str, float]) -> Figure:
    """A bar for each part, the shortest of which is the rate of all."""
    bound = min(requests_per_s, key=lambda name: requests_per_s[name])
    names = [name for name in COLOURS if name in requests_per_s]
    known = [requests_per_s[name] for name in names]
    trace: Part = {
        "type": "bar",
        "orientation": "h",
        "x": known,
        "y": names,
        "marker": {"color": [COLOURS[name] for name in names]},
        "text": [number(value) for value in known],
        "textposition": "auto",
        "textangle": 0,
        "hovertemplate": "%{y}: %{x:.4g} requests/s<extra></extra>",
        "showlegend": False,
    }
    layout = {
        "xaxis": {"title": {"text": "requests/s that it could take"}, "rangemode": "tozero"},
        "yaxis": {"automargin": True, "autorange": "reversed"},
    }
    return Figure(
        key="rates",
        statement=f"The {bound} is the bound: {number(requests_per_s[bound])} requests/s",
        spec=spec_of([trace], layout),
        note="Each with its devices busy all the time; requests arrive at the rate of the shortest bar.",
        height_px=220,
    )
