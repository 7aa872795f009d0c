"""One file of measurements as columns: numbers with NaN for what is none, text as codes."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from gambrel.calibration.columns import Array, Text, to_text

DELIMITERS = ",;\t"


class UnreadableError(Exception):
    """A file is not what its name says; the message is the reason."""


class Sheet(Protocol):
    """The columns of one file."""

    @property
    def names(self) -> Sequence[str]:
        """Columns in order."""
        ...

    @property
    def length(self) -> int:
        """Rows."""
        ...

    def numbers(self, name: str) -> Array:
        """A column as float64, NaN where a cell is missing or no number."""
        ...

    def text(self, name: str) -> Text:
        """A column as text, code -1 where a cell is missing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSheet:
    """A sheet of text cells, as a CSV file holds them."""

    cells: Mapping[str, Sequence[str]]
    length: int

    @property
    def names(self) -> Sequence[str]:
        """Columns in order."""
        return tuple(self.cells)

    def numbers(self, name: str) -> Array:
        """A column as float64, NaN where a cell is missing or no number."""
        return np.array([_number(cell) for cell in self.cells[name]], dtype=np.float64)

    def text(self, name: str) -> Text:
        """A column as text, code -1 where a cell is empty."""
        return to_text(np.array([cell.strip() or None for cell in self.cells[name]], dtype=object))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float(cell.strip() == "True") if cell.strip() in ("True", "False") else float("nan")


def read_csv(path: Path) -> TextSheet:
    """Read a CSV file with a line of names; commas, semicolons or tabs between the cells.

    Raises:
        UnreadableError: It is no text, has no line of names, or a line has too many or too few cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            if first.startswith("version https://git-lfs"):
                raise UnreadableError("is a Git LFS pointer, not the file itself: run `git lfs pull`")
            delimiter = max(DELIMITERS, key=first.count)
            lines = [line for line in csv.reader(file, delimiter=delimiter) if line]
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8 text") from None
    except (OSError, csv.Error) as error:
        raise UnreadableError(f"cannot be read: {error}") from None
    if not lines:
        raise UnreadableError("is empty")
    names, rows = [name.strip() for name in lines[0]], lines[1:]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise UnreadableError(f"has two columns {twice!r}")
    ragged = next((i for i, row in enumerate(rows, 2) if len(row) != len(names)), None)
    if ragged:
        raise UnreadableError(f"row {ragged} has {len(rows[ragged - 2])} cells where the first has {len(names)} names")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return TextSheet(cells=dict(zip(names, columns, strict=True)), length=len(rows))
