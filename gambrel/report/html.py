"""The frame of a page and what it is made of: sections, figures beside their statements, and tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from gambrel.report.figures.figure import Figure, no_plotly

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What the browser may load for the page: nothing that is not in it."""

THEME_BUTTON = '<button type="button" id="theme">light / dark</button>'
"""Without it a page cannot be shown: `theme.js` looks for it."""


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


def asset(name: str) -> str:
    """The text of a style or a script."""
    return (files("gambrel.report") / "assets" / name).read_text("utf-8")


def page_html(*, title: str, top: str, body: str, data: str = "", script: str = "") -> str:
    """A page of its own, which the browser lets load nothing else.

    Args:
        title: In words.
        top: What stands above the body, with THEME_BUTTON in it, as HTML.
        body: As HTML.
        data: Elements for the script, as HTML.
        script: What runs when all of it is there.
    """
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title><style>{asset('page.css')}</style></head><body>{top}<main>{body}</main>",
            "<footer>Estimated, not measured. This file needs no network.</footer>",
            f"{data}<script>{asset('theme.js')}{script}</script></body></html>\n",
        )
    )


def document(*, title: str, lead: str, sections: Sequence[Section], figures: Sequence[Figure], plans: str = "") -> str:
    """A page of sections with figures, the library that draws them, and the script that uses it.

    Args:
        title: In words.
        lead: What was asked, as HTML.
        sections: Where there are several, a list of them stands above.
        figures: What is drawn.
        plans: Rows of the table of plans, as JSON.

    Raises:
        UsageError: plotly is not installed.
    """
    listed = sections if len(sections) > 1 else ()
    nav = "".join(f'<li><a href="#{part.key}">{part.title}</a></li>' for part in listed)
    drawn = "{" + ",".join(f'"{figure.key}":{figure.spec}' for figure in figures).replace("</", "<\\/") + "}"
    table = f'<script type="application/json" id="plan-data">{plans}</script>' if plans else ""
    return page_html(
        title=title,
        top=f"<header><h1>{escape(title)}</h1>{lead}</header>"
        f'<nav aria-label="sections">{THEME_BUTTON}<ul>{nav}</ul></nav>',
        body=f"{''.join(map(_section, sections))}<noscript>The figures need JavaScript.</noscript>",
        data=f'<script type="application/json" id="figures">{drawn}</script>{table}<script>{_library()}</script>',
        script=asset("quantity.js") + asset("page.js"),
    )


def _library() -> str:
    """The text of plotly.js, which must not end its own element."""
    try:
        from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise no_plotly() from None
    return get_plotlyjs().replace("</script", "<\\/script")


def _section(part: Section) -> str:
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


def tiles_html(tiles: Iterable[tuple[str, str]]) -> str:
    """Names and values, each pair in a box; those without a value are left out."""
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in tiles if value
    )
    return f'<div class="tiles">{cells}</div>'


def basis_html(assumptions: Iterable[str], provenance: Iterable[Sequence[str]]) -> str:
    """What an answer assumes, and the names and hashes that it comes from."""
    notes = "".join(f"<li>{escape(text)}</li>" for text in assumptions)
    head = f'<h3>Assumptions</h3><ul class="notes">{notes}</ul><h3>Provenance</h3>'
    return head + table_html(("", ""), provenance)


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
