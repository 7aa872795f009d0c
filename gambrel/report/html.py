"""The frame of a page and what it is made of: sections, figures beside their statements, and tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from gambrel.errors import Problem, UsageError
from gambrel.report.figures.figure import Figure

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What the browser may load for the page: nothing that is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of a page.

    Attributes:
        key: Its anchor.
        title: Its heading.
        body: What it holds, as HTML.
    """

    key: str
    title: str
    body: str


def document(*, title: str, lead: str, sections: str, nav: str, figures: Sequence[Figure], plans: str = "") -> str:
    """The page around its sections: style, the library that draws, and the script that uses it.

    Args:
        title: In words.
        lead: What was asked, as HTML.
        sections: The sections, as HTML.
        nav: Items of the list of sections, as HTML.
        figures: What is drawn.
        plans: Rows of the table of plans, as JSON.

    Raises:
        UsageError: plotly is not installed.
    """
    drawn = "{" + ",".join(f'"{figure.key}":{figure.spec}' for figure in figures).replace("</", "<\\/") + "}"
    assets = files("gambrel.report") / "assets"
    table = f'<script type="application/json" id="plan-data">{plans}</script>' if plans else ""
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title><style>{(assets / 'page.css').read_text('utf-8')}</style></head><body>",
            f"<header><h1>{escape(title)}</h1>{lead}</header>",
            f'<nav aria-label="sections"><button type="button" id="theme">light / dark</button><ul>{nav}</ul></nav>',
            f"<main>{sections}</main><noscript><main>The figures need JavaScript.</main></noscript>",
            "<footer>Estimated, not measured. This file needs no network.</footer>",
            f'<script type="application/json" id="figures">{drawn}</script>{table}',
            f"<script>{_library()}</script><script>{(assets / 'page.js').read_text('utf-8')}</script></body></html>\n",
        )
    )


def _library() -> str:
    """The text of plotly.js, which must not end its own element."""
    try:
        from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        fix = "Install the extra: pip install 'gambrel[plot]'"
        raise UsageError(Problem(where="plotly", what="is not installed", why="it draws figures", fix=fix)) from None
    return get_plotlyjs().replace("</script", "<\\/script")


def section_html(part: Section) -> str:
    """A section with its heading."""
    return f'<section id="{part.key}"><h2>{escape(part.title)}</h2>{part.body}</section>'


def figure_html(figure: Figure) -> str:
    """A figure between its statement and its note."""
    statement = escape(figure.statement)
    return (
        f'<figure><h3>{statement}</h3><div class="plot" data-figure="{figure.key}" role="img" '
        f'aria-label="{statement}" style="height:{figure.height_px}px"></div>'
        f"<figcaption>{escape(figure.note)}</figcaption></figure>"
    )


def pair_html(figures: Sequence[Figure]) -> str:
    """Figures beside each other where there is room."""
    return f'<div class="pair">{"".join(map(figure_html, figures))}</div>'


def table_html(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text below their heads; columns whose head begins with `>` are aligned to the right."""
    style = [' class="n"' if name.startswith(">") else "" for name in head]
    top = "".join(f"<th{its}>{escape(name.removeprefix('>'))}</th>" for name, its in zip(head, style, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{its}>{escape(cell)}</td>' for cell, its in zip(row, style, strict=True))}</tr>"
        for row in rows
    )
    lines = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{lines}<tbody>{body}</tbody></table></div>'
