"""Rows on their way into a table: columns, the check of every cell, and the count of what is left out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.columns import Array, Mask, Text
from gambrel.calibration.importers.tables import TABLES, Field

Cells = Array | Text | float | str | None
"""A column, or one value for all rows; None for no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of one table.

    Attributes:
        table: Which of TABLES.
        length: How many.
        columns: Arrays of that length, NaN or code -1 where a row has no value; a column that is not here is empty.
    """

    table: str
    length: int
    columns: Mapping[str, Array | Text]

    def take(self, keep: Mask) -> "Block":
        """Some of the rows."""
        columns: dict[str, Array | Text] = {
            name: Text(cells.codes[keep], cells.values) if isinstance(cells, Text) else cells[keep]
            for name, cells in self.columns.items()
        }
        return Block(table=self.table, length=int(keep.sum()), columns=columns)

    def devices(self) -> dict[str, int]:
        """Rows of each device."""
        codes, values = self.text("device")
        return {name: int(n) for name, n in zip(values, np.bincount(codes, minlength=len(values)), strict=True) if n}

    def text(self, name: str) -> Text:
        """A text column."""
        cells = self.columns[name]
        assert isinstance(cells, Text)
        return cells


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """What one file gave.

    Attributes:
        path: The file.
        rows: Rows that it holds.
        blocks: Measurements to write; one row may hold several.
        skipped: Measurements that are not written, by reason.
        whole: Why nothing of the file was read; empty where it was.
    """

    path: Path
    rows: int = 0
    blocks: tuple[Block, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    whole: str = ""


def block(
    table: str,
    length: int,
    columns: Mapping[str, Cells],
    skipped: Counter[str],
    *,
    exclude: Iterable[tuple[Mask, str]] = (),
    only: Mask | None = None,
) -> Block:
    """Rows of a table, without those that lack a value or have one that cannot be.

    Args:
        table: Which of TABLES.
        length: Rows before the check.
        columns: Their cells.
        skipped: Where the rows that are left out are counted, each once, by reason.
        exclude: Rows to leave out for other reasons.
        only: Rows to look at; the others are left out without being counted.
    """
    full = {name: _column(cells, length) for name, cells in columns.items() if cells is not None}
    keep = np.ones(length, dtype=np.bool_) if only is None else only.copy()
    for bad, reason in exclude:
        _leave_out(bad, reason, keep, skipped)
    for name, spec in TABLES[table].items():
        if name not in full:
            if spec.required:
                _leave_out(np.ones(length, dtype=np.bool_), f"{name} is missing", keep, skipped)
            continue
        for bad, reason in _checks(spec, full[name]):
            _leave_out(bad, reason, keep, skipped)
    return Block(table=table, length=length, columns=full).take(keep)


def _column(cells: Array | Text | float | str, length: int) -> Array | Text:
    if isinstance(cells, str):
        return Text(np.zeros(length, dtype=np.intp), (cells,))
    if isinstance(cells, Text):
        return cells
    return np.broadcast_to(np.asarray(cells, dtype=np.float64), (length,))


def _checks(spec: Field, cells: Array | Text) -> list[tuple[NDArray[np.bool_], str]]:
    """Which cells cannot be, each with the reason."""
    if isinstance(cells, Text):
        return [(cells.codes < 0, f"{spec.name} is missing")] if spec.required else []
    missing = ~np.isfinite(cells)
    checks = [(missing, f"{spec.name} is missing or no number")] if spec.required else []
    known = np.where(missing, 1.0, cells)
    if spec.kind == "positive":
        checks.append((known <= 0, f"{spec.name} is not above 0"))
    elif spec.kind in ("count", "size"):
        least = 1 if spec.kind == "count" else 0
        checks.append(((known < least) | (known != np.floor(known)), f"{spec.name} is no whole number from {least}"))
    return checks


def _leave_out(bad: Mask, reason: str, keep: Mask, skipped: Counter[str]) -> None:
    number = int((bad & keep).sum())
    if number:
        skipped[reason] += number
        keep &= ~bad
