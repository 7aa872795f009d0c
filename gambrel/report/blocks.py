"""The pieces that reports are made of: headings, grids of cells, bars, and numbers as people read them."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from gambrel.units import format_quantity

BAR_WIDTH = 16
GAP = 2
"""Blanks between columns."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def heading(text: str, style: str = "bold") -> Text:
    """A section's title, with a blank line above."""
    return Text(f"\n{text}", style=style)


def grid(rows: Iterable[Sequence[str | Text]], right: Iterable[int] = (), head: Sequence[str] = ()) -> Table:
    """Cells in columns without lines; the last column wraps, the others are as wide as they need.

    Args:
        rows: Cells.
        right: Columns that are aligned to the right.
        head: Names of the columns; none prints no head.
    """
    cells = [tuple(row) for row in rows]
    table = Table(box=None, show_header=bool(head), header_style="dim", pad_edge=False, padding=(0, GAP, 0, 0))
    to_the_right, columns = frozenset(right), max(map(len, [*cells, head]), default=0)
    for column in range(columns):
        last = column == columns - 1
        table.add_column(
            head[column] if head else "",
            justify="right" if column in to_the_right else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in cells:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def bar(share: float, width: int = BAR_WIDTH, style: str = "cyan") -> Text:
    """A bar of `share` (0 to 1) of a width, to an eighth of a cell; what is beyond 1 is cut."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    return Text("█" * whole + (_EIGHTHS[rest] if rest else ""), style=style)


def percent(share: float | None) -> str:
    """`38.8 %`, or a dash; what is not zero is never shown as such, and from ten on it is a factor."""
    if share is None:
        return "-"
    if 0 < share < 0.0005:
        return "<0.1 %"
    if share >= 10:
        return f"{share:.3g} x"
    return f"{100 * share:.1f} %"


def seconds(value: float | None) -> str:
    """A time, or a dash."""
    return "-" if value is None else format_quantity(value, "s")


def size(value: float | None) -> str:
    """A number of bytes, or a dash."""
    return "-" if value is None else format_quantity(value, "B")


def count(value: float | None) -> str:
    """A plain number, or a dash."""
    return "-" if value is None else format_quantity(value, "count")


def energy(value: float | None) -> str:
    """An energy, or a dash."""
    return "-" if value is None else format_quantity(value, "J")
