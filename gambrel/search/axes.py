"""A product of lists whose rows are numbered and never listed: rows and parts by their index alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Cell = int | str | None


class Part(NamedTuple):
    """Rows that follow each other and are a box: one range of indices along each axis.

    Attributes:
        number: Parts count from 0.
        first_row: Rows count from 0.
        rows: How many.
        box: For each axis, the indices of its values.
    """

    number: int
    first_row: int
    rows: int
    box: tuple[range, ...]


@dataclass(frozen=True, slots=True)
class Axes:
    """Lists by name; the first varies slowest.

    The index of a row is a number in mixed radix: its digits are the indices of the row's values.

    Attributes:
        lists: The values of each axis, at least one.
    """

    lists: Mapping[str, Sequence[Cell]]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each axis."""
        return tuple(map(len, self.lists.values()))

    @property
    def rows(self) -> int:
        """Rows of the product."""
        return math.prod(self.sizes)

    def row(self, index: int) -> dict[str, Cell]:
        """The values of one row."""
        values: list[Cell] = []
        for items in reversed(list(self.lists.values())):
            index, digit = divmod(index, len(items))
            values.append(items[digit])
        return dict(zip(self.lists, reversed(values), strict=True))

    def parts(self, most_rows: int) -> "Parts":
        """The product cut into boxes of at most so many rows."""
        return Parts(self.sizes, most_rows)


class Parts:
    """The parts of a product, made when they are asked for.

    The axes from some point on are taken whole, the one before them is cut into even pieces, and each combination of
    those before that is a part of its own: so a part is a grid, which evaluates fast, and its rows follow each other.
    """

    def __init__(self, sizes: Sequence[int], most_rows: int) -> None:
        """Choose where to cut."""
        if most_rows < 1:
            raise ValueError(f"parts of {most_rows} rows")
        self._sizes = tuple(sizes)
        cut, inner = len(sizes), 1
        while cut and inner * sizes[cut - 1] <= most_rows:
            cut -= 1
            inner *= sizes[cut]
        self._cut, self._inner = cut, inner
        size = sizes[cut - 1] if cut else 1
        self._pieces = math.ceil(size / max(most_rows // inner, 1))
        self._step = math.ceil(size / self._pieces)
        self._pieces = math.ceil(size / self._step)

    def __len__(self) -> int:
        return math.prod(self._sizes[: max(self._cut - 1, 0)]) * self._pieces

    def __iter__(self) -> Iterator[Part]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Part:
        if not 0 <= number < len(self):
            raise IndexError(number)
        whole = tuple(range(size) for size in self._sizes[self._cut :])
        if not self._cut:
            return Part(number, 0, self._inner, whole)
        outer, piece = divmod(number, self._pieces)
        size = self._sizes[self._cut - 1]
        cut = range(piece * self._step, min((piece + 1) * self._step, size))
        first = (outer * size + cut.start) * self._inner
        digits: list[range] = []
        for length in reversed(self._sizes[: self._cut - 1]):
            outer, digit = divmod(outer, length)
            digits.append(range(digit, digit + 1))
        return Part(number, first, len(cut) * self._inner, (*reversed(digits), cut, *whole))
