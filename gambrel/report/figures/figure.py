"""What a figure is to a page, and the colours that all of them share.

Colours are those of P. Tol, "Colour Schemes", SRON, 2021, section 1 (`bright`): told apart with any colour vision, and
on white as on black. Pages add the colours of text and grid, which depend on the reader's theme.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gambrel.errors import Problem, UsageError

Part = Mapping[str, object]
"""A trace or a layout as plotly writes it."""

BLUE, RED, GREEN, YELLOW, CYAN, PURPLE, GREY = (
    "#4477AA",
    "#EE6677",
    "#228833",
    "#CCBB44",
    "#66CCEE",
    "#AA3377",
    "#9A9A9A",
)

FAMILY_COLOURS: Mapping[str, str] = {
    "gemm": BLUE,
    "experts": CYAN,
    "attention": RED,
    "recurrence": YELLOW,
    "pointwise": GREEN,
    "collective": PURPLE,
    "movement": "#777777",
    "bubble": "#AAAAAA",
    "host": "#AAAAAA",
}
"""Waiting is told from work, and the two kinds of it from each other, by hatching."""

HATCHES: Mapping[str, str] = {"bubble": "/", "host": "x"}


def fill(colour: str, hatch: str = "") -> Part:
    """How a bar is filled; hatching tells bars apart without their colours."""
    pattern = {"shape": hatch, "fillmode": "overlay", "fgcolor": "#FFFFFF", "fgopacity": 0.6, "size": 7}
    return {"color": colour, "pattern": pattern} if hatch else {"color": colour}


FAMILY_NAMES: Mapping[str, str] = {
    "gemm": "matrix products",
    "experts": "experts",
    "attention": "attention",
    "recurrence": "recurrence",
    "pointwise": "pointwise",
    "collective": "transfers",
    "movement": "data movement",
    "bubble": "pipeline bubble",
    "host": "waiting for the host",
}

BOUND_COLOURS: Mapping[str, str] = {
    "compute": BLUE,
    "memory": YELLOW,
    "network": PURPLE,
    "latency": "#777777",
}


SMALLEST_LABEL = 0.06
"""Shares of a bar below this have no room for a label inside of it."""

STACKED_BAR: Part = {
    "type": "bar",
    "orientation": "h",
    "textposition": "inside",
    "insidetextanchor": "middle",
    "textangle": 0,
}
"""What all stacked bars have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a page.

    Attributes:
        key: Its name in the page.
        statement: What it shows, as a sentence.
        spec: `data` and `layout` of plotly, as JSON.
        note: How to read it, and what is not in it.
        height_px: Of the picture.
    """

    key: str
    statement: str
    spec: str
    note: str
    height_px: int


def spec_of(traces: Sequence[Part], layout: Part) -> str:
    """A picture as JSON for the page, checked by plotly; every number as it is.

    Raises:
        UsageError: plotly is not installed.
    """
    try:
        from plotly.graph_objects import Figure as Picture  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise no_plotly() from None
    # Without a template: the page has its own.
    picture = Picture(data=list(traces), layout={"template": {}, **layout})
    return str(picture.to_json())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def no_plotly() -> UsageError:
    """The error where the extra that draws is not installed."""
    fix = "Install the extra: pip install 'gambrel[plot]'"
    return UsageError(Problem(where="plotly", what="is not installed", why="it draws figures", fix=fix))


def percent(share: float) -> str:
    """`38 %`, `3.8 %`: two digits that count."""
    value = 100.0 * share
    return f"{value:.0f} %" if value >= 9.95 or value == 0.0 else f"{value:.2g} %"


def number(value: float) -> str:
    """`1,276`, `56.6`, `0.358`: three digits that count, and never an exponent for what people count."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def json_text(value: object) -> str:
    """JSON that may stand inside an HTML script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
