"""Many estimates as a table for the terminal: what varies, and what the answer is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import RenderableType
from rich.text import Text

from gambrel.estimation.many import FORMAT_OPTIONS
from gambrel.estimation.table import Cell, EstimateTable
from gambrel.report.blocks import GAP, count, energy, grid, heading, percent, seconds, size

_FITS = {"ok": Text("fits", style="green"), "does not fit": Text("too big", style="red")}
_WORDS = ("strategy", *FORMAT_OPTIONS, "engine")
_HEADS = {"microbatches": "micro", "prefill_microbatches": "prefill micro"}


class _Answer(NamedTuple):
    """A column of answers: its name in the table, its head, and how its cells are shown."""

    column: str
    head: str
    show: Callable[[float | None], str]


_ANSWERS = (
    _Answer("ttft_s", "TTFT", seconds),
    _Answer("tpot_s", "TPOT", seconds),
    _Answer("tokens_per_s", "tokens/s", count),
    _Answer("tokens_per_s_per_device", "/device", count),
    _Answer("memory_bytes", "memory", size),
    _Answer("usd_per_million_tokens", "USD/M", count),
    _Answer("energy_per_token_j", "J/token", energy),
    _Answer("prefill_mfu", "MFU", percent),
    _Answer("decode_mbu", "MBU", percent),
)
_FIRST_TO_GO = (
    "prefill_mfu",
    "decode_mbu",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "tokens_per_s_per_device",
    "memory_bytes",
    "tokens_per_s",
)
"""Answers that a narrow terminal does without, in this order."""


def table_report(table: EstimateTable, varied: Sequence[str], width: int) -> list[RenderableType]:
    """A line for each point, and why some of them cannot run.

    Args:
        table: The estimates.
        varied: Question columns to show; the others have one value, which stands in the query.
        width: Of the terminal; answers are left out, and said to be, until a line fits.
    """
    questions = [(_HEADS.get(name, name), [_plain(value) for value in table.columns[name]]) for name in varied]
    answers = {
        answer.column: (answer.head, [_shown(answer, value) for value in table.columns[answer.column]])
        for answer in _ANSWERS
        if any(value is not None for value in table.columns[answer.column])
    }
    reasons: dict[str, int] = {}
    statuses = [_status(str(status), reasons) for status in table.columns["status"]]
    left_out: list[str] = []
    droppable = [name for name in _FIRST_TO_GO if name in answers]
    while droppable and _width([*questions, *answers.values()]) + GAP + len("too big") > width:
        left_out.append(answers.pop(droppable.pop(0))[0])
    words = frozenset(_HEADS.get(name, name) for name in _WORDS)
    parts: list[RenderableType] = [_lines([*questions, *answers.values()], words, statuses)]
    if reasons:
        parts += [heading("Cannot run"), grid([(f"[{number}]", reason) for reason, number in reasons.items()])]
    if left_out:
        note = f"\nA wider terminal also shows {', '.join(reversed(left_out))}; --format json has everything."
        parts.append(Text(note, style="dim"))
    return parts


def _lines(columns: Sequence[tuple[str, Sequence[str]]], words: frozenset[str], statuses: Sequence[Text]) -> Text:
    """The table as one text: its cells have no line ends, and a rich table of many thousand rows takes too long."""
    padded: list[list[str]] = []
    for head, cells in columns:
        width = max(map(len, (head, *cells)))
        padded.append([cell.ljust(width) if head in words else cell.rjust(width) for cell in (head, *cells)])
    gap = " " * GAP
    head, *rows = zip(*padded, strict=True)
    out = Text(gap.join(head), no_wrap=True, overflow="ignore")
    for cells, status in zip(rows, statuses, strict=True):
        out.append(f"\n{gap.join(cells)}{gap}").append_text(status)
    return out


def _plain(value: Cell) -> str:
    return "-" if value is None else str(value)


def _shown(answer: _Answer, value: Cell) -> str:
    return "-" if value is None or isinstance(value, str) else answer.show(float(value))


def _status(status: str, reasons: dict[str, int]) -> Text:
    if status in _FITS:
        return _FITS[status]
    return Text(f"[{reasons.setdefault(status, len(reasons) + 1)}]", style="yellow")


def _width(columns: Sequence[tuple[str, Sequence[str]]]) -> int:
    return sum(max(map(len, (head, *cells))) for head, cells in columns) + GAP * (len(columns) - 1)
