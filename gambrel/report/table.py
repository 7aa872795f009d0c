"""Many estimates as a table for the terminal: what varies, and what the answer is."""

from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.text import Text

from gambrel.estimation.table import Cell, EstimateTable
from gambrel.report.blocks import count, grid, heading, seconds, size

_STATUSES = ("ok", "does not fit")


def table_report(table: EstimateTable, varied: Sequence[str]) -> list[RenderableType]:
    """A line for each point, and why some of them cannot run.

    Args:
        table: The estimates.
        varied: Question columns to show; the others have one value, which stands in the query.
    """
    answers = [answer for answer in _ANSWERS if any(value is not None for value in table.columns[answer[0]])]
    reasons: dict[str, int] = {}
    rows: list[tuple[str | Text, ...]] = []
    for row in table.rows():
        question = tuple(_plain(row[name]) for name in varied)
        rows.append((*question, *(show(row[key]) for key, _, show in answers), _status(str(row["status"]), reasons)))
    right = [*range(len(varied) + len(answers))]
    head = (*(_HEADS.get(name, name) for name in varied), *(name for _, name, _ in answers), "")
    parts: list[RenderableType] = [grid(rows, right=right, head=head)]
    if reasons:
        parts += [heading("Cannot run"), grid([(f"[{number}]", reason) for reason, number in reasons.items()])]
    return parts


_HEADS = {"microbatches": "micro"}


def _plain(value: Cell) -> str:
    return "-" if value is None else str(value)


def _number(show: Callable[[float | None], str]) -> Callable[[Cell], str]:
    return lambda value: show(None if value is None or isinstance(value, str) else float(value))


_ANSWERS: Sequence[tuple[str, str, Callable[[Cell], str]]] = (
    ("ttft_s", "TTFT", _number(seconds)),
    ("tpot_s", "TPOT", _number(seconds)),
    ("tokens_per_s", "tokens/s", _number(count)),
    ("tokens_per_s_per_device", "/device", _number(count)),
    ("memory_bytes", "memory", _number(size)),
    ("usd_per_million_tokens", "$/M", _number(count)),
)
"""Column, its head, and how its cells are shown."""


def _status(status: str, reasons: dict[str, int]) -> Text:
    if status == "ok":
        return Text("fits", style="green")
    if status in _STATUSES:
        return Text("too big", style="red")
    return Text(f"[{reasons.setdefault(status, len(reasons) + 1)}]", style="yellow")
