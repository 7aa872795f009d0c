"""What a measured operation is: the columns of its table, and how its rows become kernels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.columns import Array, Codes, Column, Mask, Rows, Text
from gambrel.cost.engines import COLD, Residency
from gambrel.cost.kernel import Kernel, Number

LIBRARY = "library"
"""Text column that every operation has after `prepare`: whose kernels were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one measured call runs.

    Attributes:
        kernels: One after another; numbers are arrays of the rows' length, or scalars.
        main: Which of them names the call: its parameters say the grade and the interval.
        residency: Where operands are when the call starts, as the measuring loop left them.
        overhead_s: Time of the call that is no kernel's.
    """

    kernels: tuple[Kernel, ...]
    main: int = 0
    residency: Residency = COLD
    overhead_s: Number = 0.0


class Group(NamedTuple):
    """Rows that differ in numbers only.

    Attributes:
        where: Which rows of the table.
        rows: Those rows.
        library: Whose kernels; empty for none in particular.
        op: Which of the family's operations.
        dtype: Number formats, as the table names them.
    """

    where: NDArray[np.intp]
    rows: Rows
    library: str
    op: str
    dtype: str


class Derived(NamedTuple):
    """A text column made of others: the sources, and the value for each combination of theirs."""

    sources: tuple[str, ...]
    value: Callable[..., str]


class SiteNumber(NamedTuple):
    """One number that names a shape site, and whether it is written as a whole number."""

    values: Array
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One family of measured operations.

    Attributes:
        name: As its file is named.
        columns: Every column that is read.
        build: The call that rows run which differ in numbers only; None while no engine prices it.
        site: The numbers that name a row's shape site: rows of one site are fitted or scored together.
        dtypes: Text columns of number formats and the values that each may have.
        derived: Further text columns.
        classes: A text column made of numbers, such as the kind of head grouping.
        split: Text columns whose every combination is a call of its own.
        op: The text column that tells operations of the family apart; empty where there is one.
        aliases: Other names of the operation.
    """

    name: str
    columns: tuple[Column, ...]
    build: Callable[[Rows], Call] | None = None
    site: Callable[[Rows], Sequence[SiteNumber]] = lambda _: ()
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    derived: Mapping[str, Derived] = field(default_factory=dict[str, Derived])
    classes: Callable[[Rows], Text] | None = None
    split: tuple[str, ...] = ("dtype", LIBRARY)
    dtypes: tuple[str, ...] = ("dtype",)
    op: str = ""
    aliases: tuple[str, ...] = ()

    def groups(self, rows: Rows) -> Iterator[Group]:
        """The rows, split into calls."""
        texts = dict(rows.texts)
        for name, (sources, value) in self.derived.items():
            texts[name] = combine([texts[source] for source in sources], value)
        if self.classes:
            texts["class"] = self.classes(rows)
        rows = Rows(length=rows.length, numbers=rows.numbers, texts=texts)
        keys = [name for name in (*self.split, "class") if name in texts]
        for index in partition([texts[name] for name in keys]):
            part = rows if len(index) == rows.length else rows.take(index)
            yield Group(
                where=index,
                rows=part,
                library=part.only(LIBRARY),
                op=part.only(self.op) if self.op else self.name,
                dtype=dtype_label([part.only(name) for name in self.dtypes]),
            )

    def sites(self, rows: Rows) -> list[str]:
        """The shape site of each row, as text."""
        numbers = self.site(rows)
        cells = [[_site_text(x, number.whole) for x in number.values.tolist()] for number in numbers]
        return ["/".join(parts) for parts in zip(*cells, strict=True)] if cells else [""] * rows.length


def _site_text(value: float, whole: bool) -> str:
    return str(int(value)) if whole else str(value)


def dtype_label(formats: Sequence[str]) -> str:
    """Number formats in one word: `bfloat16`, or `bfloat16 kv fp8` where the cache has another."""
    first, *rest = formats
    return " ".join((first, *(f"kv {other}" for other in rest if other not in ("", first))))


def combine(texts: Sequence[Text], value: Callable[..., str]) -> Text:
    """A text column made of others; each combination that occurs is looked at once."""
    present, codes = _combinations(texts)
    index: dict[str, int] = {}
    mapped = np.array([index.setdefault(value(*each), len(index)) for each in present], dtype=np.intp)
    return Text(mapped[codes] if len(mapped) else codes, tuple(index))


def partition(texts: Sequence[Text]) -> list[NDArray[np.intp]]:
    """Row numbers of every combination that occurs, in the order of the values."""
    present, codes = _combinations(texts)
    if len(present) <= 1:
        return [np.arange(len(codes))] if len(codes) else []
    order = np.argsort(codes.astype(np.uint16) if len(present) < 2**16 else codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def _combinations(texts: Sequence[Text]) -> tuple[list[tuple[str, ...]], Codes]:
    """The combinations of values that occur (empty for none), and each row's number among them."""
    codes = np.zeros_like(texts[0].codes)
    for text in texts:
        codes = codes * (len(text.values) + 1) + text.codes + 1
    present = np.flatnonzero(np.bincount(codes)) if len(codes) else np.array([], dtype=np.intp)
    renumber = np.zeros(int(present[-1]) + 1 if len(present) else 0, dtype=np.intp)
    renumber[present] = np.arange(len(present))
    names: list[tuple[str, ...]] = []
    for code in present.tolist():
        parts: list[str] = []
        rest = code
        for text in reversed(texts):
            rest, last = divmod(rest, len(text.values) + 1)
            parts.append(text.values[last - 1] if last else "")
        names.append(tuple(reversed(parts)))
    return names, renumber[codes] if len(codes) else codes


def fold(sites: Sequence[str]) -> NDArray[np.uint8]:
    """A stable number from 0 to 255 for each site; odd ones are never fitted on.

    A hash of the site's text, so that the split does not depend on which rows a table holds.
    """
    cache = {site: blake2b(site.encode(), digest_size=1).digest()[0] for site in set(sites)}
    return np.array([cache[site] for site in sites], dtype=np.uint8)


def held_out(folds: NDArray[np.uint8]) -> Mask:
    """Which sites are kept from fitting."""
    return folds % 2 == 1


def interval_fold(folds: NDArray[np.uint8]) -> Mask:
    """Which of the sites that are kept from fitting shape the intervals; the rest show what those are worth."""
    return folds % 4 == 1


def scored_fold(folds: NDArray[np.uint8]) -> Mask:
    """Which sites shape neither parameters nor intervals."""
    return folds % 4 == 3
