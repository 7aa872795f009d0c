"""Tables of any kind, read column by column: numbers as float64 with NaN for what is missing, text as codes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeGuard, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gambrel.cost.kernel import Array

Codes = NDArray[np.intp]
Mask = NDArray[np.bool_]


class ArrowTable(Protocol):
    """What is used of a `pyarrow.Table`."""

    @property
    def column_names(self) -> list[str]:
        """Names in order."""
        ...

    def column(self, i: str, /) -> object:
        """One chunked array."""
        ...


class Frame(Protocol):
    """What is used of a `pandas.DataFrame`."""

    @property
    def columns(self) -> Iterable[object]:
        """Names in order."""
        ...

    def __getitem__(self, key: str, /) -> object: ...


Table = Mapping[str, ArrayLike] | ArrowTable | Frame
"""A mapping of arrays (scalars stand for all rows), a pyarrow table, or a data frame."""


class Text(NamedTuple):
    """A text column as codes into its distinct values; -1 where a row has none."""

    codes: Codes
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a measured table.

    Attributes:
        name: As the files name it.
        doc: Its meaning, with its unit.
        text: Whether it holds names rather than numbers.
        default: What a row without a value means; None where every row needs one.
        aliases: Other names of the same column; a row takes the first that has a value.
    """

    name: str
    doc: str
    text: bool = False
    default: float | str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one operation, every column filled: its value, its default, or (where none is allowed) NaN and -1."""

    length: int
    numbers: Mapping[str, Array]
    texts: Mapping[str, Text]

    def take(self, rows: NDArray[np.intp]) -> "Rows":
        """Some of the rows."""
        return Rows(
            length=len(rows),
            numbers={name: values[rows] for name, values in self.numbers.items()},
            texts={name: Text(text.codes[rows], text.values) for name, text in self.texts.items()},
        )

    def only(self, name: str) -> str:
        """The value of a text column that is the same in all rows; empty for none."""
        codes, values = self.texts[name]
        first = int(codes[0]) if len(codes) else -1
        return values[first] if first >= 0 else ""


def column_names(table: Table) -> tuple[str, ...]:
    """The names of a table's columns."""
    if isinstance(table, Mapping):
        return tuple(table)
    if _is_arrow(table):
        return tuple(table.column_names)
    return tuple(str(name) for name in cast("Frame", table).columns)


def raw_column(table: Table, name: str) -> object:
    """A column as the table holds it."""
    if isinstance(table, Mapping):
        return table[name]
    return table.column(name) if _is_arrow(table) else cast("Frame", table)[name]


def _is_arrow(table: ArrowTable | Frame) -> TypeGuard[ArrowTable]:
    return hasattr(table, "column_names")


def to_numbers(raw: object) -> Array:
    """A column as float64; NaN where it has no value.

    Raises:
        ValueError: A value is not a number.
    """
    if hasattr(raw, "combine_chunks"):  # arrow
        return np.asarray(_arrow_floats(raw), dtype=np.float64)
    if hasattr(raw, "to_numpy"):  # pandas, whose nullable integers know no NaN
        return np.asarray(cast("_Series", raw).to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    values = np.asarray(raw)
    if values.dtype.kind == "O":
        values = np.array([np.nan if value is None else value for value in values.ravel().tolist()], dtype=np.float64)
    return np.asarray(values, dtype=np.float64)


def to_text(raw: object) -> Text:
    """A column as text; -1 where it has no value."""
    if hasattr(raw, "combine_chunks"):
        codes, values = _arrow_codes(raw)
        return Text(codes, tuple(map(str, values)))
    if hasattr(raw, "cat"):  # a categorical series
        categories = cast("_Series", raw).cat
        return Text(np.asarray(categories.codes, dtype=np.intp), tuple(map(str, categories.categories)))
    index: dict[object, int] = {}
    array = np.asarray(raw)
    cells: list[object] = np.atleast_1d(array).ravel().tolist()
    codes = np.fromiter((index.setdefault(cell, len(index)) for cell in cells), dtype=np.intp, count=len(cells))
    missing = [code for value, code in index.items() if value is None or value != value]  # noqa: PLR0124  (NaN)
    if missing:
        codes = np.where(np.isin(codes, missing), -1, codes)
    return Text(codes.reshape(array.shape), tuple(map(str, index)))


class _Categories(Protocol):
    codes: ArrayLike
    categories: Iterable[object]


class _Series(Protocol):
    cat: _Categories

    def to_numpy(self, *, dtype: type, na_value: float) -> ArrayLike: ...


class _Chunked(Protocol):
    type: object

    def combine_chunks(self) -> "_Chunked": ...
    def dictionary_encode(self) -> "_Chunked": ...
    def fill_null(self, value: int) -> "_Chunked": ...
    def to_numpy(self, *, zero_copy_only: bool = ...) -> ArrayLike: ...
    def to_pylist(self) -> list[object]: ...

    indices: "_Chunked"
    dictionary: "_Chunked"


def _arrow_floats(raw: object) -> ArrayLike:
    array = cast("_Chunked", raw).combine_chunks()
    return array.to_numpy(zero_copy_only=False)


def _arrow_codes(raw: object) -> tuple[Codes, list[object]]:
    column = cast("_Chunked", raw)
    if not str(column.type).startswith("dictionary"):
        column = column.dictionary_encode()
    array = column.combine_chunks()
    codes = np.asarray(array.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.intp)
    return codes, array.dictionary.to_pylist()
