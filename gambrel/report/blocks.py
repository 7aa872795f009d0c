"""The pieces that reports are made of: headings, grids of cells, bars, and numbers as people read them."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from gambrel.units import format_quantity

BAR_WIDTH = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def heading(text: str, style: str = "bold") -> Text:
    """A section's title, with a blank line above."""
    return Text(f"\n{text}", style=style)


def grid(rows: Iterable[Sequence[str | Text]], right: Sequence[int] = (), head: Sequence[str] = ()) -> Table:
    """Cells in columns, indented, without lines.

    Args:
        rows: Cells; the last column wraps.
        right: Columns that are aligned to the right.
        head: Names of the columns; none prints no head.
    """
    cells = [tuple(row) for row in rows]
    width = max(map(len, [*cells, head]), default=0)
    table = Table(box=None, show_header=bool(head), header_style="dim", show_edge=False, pad_edge=True, padding=(0, 2))
    for column in range(width):
        name = head[column] if column < len(head) else ""
        last = column == width - 1
        table.add_column(
            name, justify="right" if column in right else "left", no_wrap=not last, overflow="fold" if last else "crop"
        )
    for row in cells:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    table.padding = (0, 2, 0, 0)
    return table


def bar(share: float, width: int = BAR_WIDTH, style: str = "cyan") -> Text:
    """A bar of `share` (0 to 1) of a width, to an eighth of a cell; what is beyond 1 is cut."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    return Text("█" * whole + (_EIGHTHS[rest] if rest else ""), style=style)


def percent(share: float) -> str:
    """`38.8 %`; what is not zero is never shown as such."""
    if 0 < share < 0.0005:
        return "<0.1 %"
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
