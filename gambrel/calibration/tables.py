"""The registry of measured operations, and the reading of a table of one of them: all of its mistakes at once."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gambrel.calibration.columns import (
    Array,
    Column,
    Mask,
    Rows,
    Table,
    Text,
    column_names,
    raw_column,
    to_numbers,
    to_text,
)
from gambrel.calibration.operation import Operation
from gambrel.calibration.ops.attention import ATTENTION_DECODE, ATTENTION_PREFILL
from gambrel.calibration.ops.collective import COLLECTIVE
from gambrel.calibration.ops.convolution import CONV
from gambrel.calibration.ops.encoder import ATTENTION_ENCODER
from gambrel.calibration.ops.exchange import MOE_ALLTOALL
from gambrel.calibration.ops.experts import MOE
from gambrel.calibration.ops.gemm import GEMM
from gambrel.calibration.ops.latent import MLA
from gambrel.calibration.ops.linear import LINEAR_ATTENTION
from gambrel.calibration.ops.memory_bound import MEMORY_BOUND
from gambrel.calibration.ops.topology import COLLECTIVE_TOPOLOGY
from gambrel.errors import PlanError, Problem, did_you_mean

OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        GEMM,
        ATTENTION_PREFILL,
        ATTENTION_DECODE,
        ATTENTION_ENCODER,
        MLA,
        LINEAR_ATTENTION,
        MEMORY_BOUND,
        CONV,
        MOE,
        MOE_ALLTOALL,
        COLLECTIVE,
        COLLECTIVE_TOPOLOGY,
    )
}
"""Every measured operation by name; a new one is added here."""

UNCHECKED = ("latency_us",)
"""Columns whose values are no sizes."""


_BROKEN = np.zeros(())
"""Stands for a column that could not be read, so that its rows are not reported again."""


class Read(NamedTuple):
    """A table as rows of an operation.

    Attributes:
        rows: Every column, also of rows that are not valid.
        valid: Which rows have all that is needed.
        problems: What is wrong, a problem for each column.
    """

    rows: Rows
    valid: Mask
    problems: tuple[Problem, ...]


def operation_named(name: str) -> Operation:
    """The operation of a name or alias.

    Raises:
        PlanError: There is none; the error lists the nearest names.
    """
    names = dict(OPERATIONS)
    names |= {alias: operation for operation in OPERATIONS.values() for alias in operation.aliases}
    if name not in names:
        what = "unknown operation"
        raise PlanError(Problem(where=name or "''", what=what, fix=did_you_mean(name, names)))
    return names[name]


def read_table(operation: Operation, table: Table) -> Read:
    """The columns of an operation, read from a table; columns that it does not know are ignored.

    A row is valid where every required column has a value, sizes are at least 0 and names are known.

    Args:
        operation: What the rows are.
        table: A mapping of arrays (scalars stand for all rows), a pyarrow table, or a data frame.
    """
    reader = _Reader(operation, table)
    numbers = {c.name: reader.numbers(c) for c in operation.columns if not c.text}
    texts = {c.name: reader.texts(c) for c in operation.columns if c.text}
    rows = Rows(length=reader.length, numbers=numbers, texts=texts)
    return Read(rows, reader.valid, tuple(reader.problems))


class _Reader:
    """One pass over the columns of a table."""

    def __init__(self, operation: Operation, table: Table) -> None:
        self.problems: list[Problem] = []
        self._operation, self._table = operation, table
        self._names = set(column_names(table))
        self._raw: dict[str, Array | Text] = {}
        for column in operation.columns:
            for name in self._given(column):
                self._convert(name, text=column.text)
        self.length = self._length()
        self.valid: Mask = np.full(self.length, not self.problems)

    def _given(self, column: Column) -> Iterator[str]:
        yield from (name for name in (column.name, *column.aliases) if name in self._names)

    def _convert(self, name: str, *, text: bool) -> None:
        if name in self._raw:
            return
        raw = raw_column(self._table, name)
        try:
            values = to_text(raw) if text else to_numbers(raw)
        except (TypeError, ValueError) as error:
            self._note(name, "is not numbers", str(error))
            values = _BROKEN
        shape = values.codes if isinstance(values, Text) else values
        if shape.ndim > 1:
            self._note(name, f"has {shape.ndim} dimensions", "a column is one value a row")
            values = _BROKEN
        self._raw[name] = values

    def _length(self) -> int:
        lengths = {
            name: codes.size
            for name, raw in self._raw.items()
            if (codes := raw.codes if isinstance(raw, Text) else raw).ndim
        }
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            self._note("columns", "have different lengths", shown)
            self._raw.clear()
            return 0
        return next(iter(lengths.values()), 1 if self._raw else 0)

    def numbers(self, column: Column) -> Array:
        """A column of numbers with its defaults; NaN where one is needed and there is none."""
        values = np.full(self.length, np.nan)
        for name in self._given(column):
            raw = self._raw.get(name)
            if isinstance(raw, np.ndarray):
                values = np.where(np.isnan(values), raw, values)
        default = column.default
        if isinstance(default, float):
            values = np.where(np.isnan(values), default, values)
        if column.name in UNCHECKED or not self._present(column):
            return values
        self._check(column, np.isnan(values), "has no value")
        self._check(column, np.isinf(values), "is infinite")
        self._check(column, values < 0, "is negative", values)
        return values

    def texts(self, column: Column) -> Text:
        """A column of names with its defaults; -1 where one is needed and there is none."""
        default = column.default
        result = Text(np.full(self.length, -1, dtype=np.intp), ())
        for name in self._given(column):
            raw = self._raw.get(name)
            if isinstance(raw, Text):
                shifted = np.where(raw.codes >= 0, raw.codes + len(result.values), -1)
                result = Text(np.where(result.codes < 0, shifted, result.codes), (*result.values, *raw.values))
        if isinstance(default, str):
            result = Text(np.where(result.codes < 0, len(result.values), result.codes), (*result.values, default))
        elif self._present(column):
            self._check(column, result.codes < 0, "has no value")
        known = self._operation.known.get(column.name, ())
        unknown = [i for i, value in enumerate(result.values) if known and value not in known]
        used = [i for i in unknown if np.any(result.codes == i)]
        for i in used:
            value = result.values[i]
            self._note(column.name, f"unknown value {value!r}", fix=did_you_mean(value, known))
        if used:
            self.valid &= ~np.isin(result.codes, used)
        return result

    def _present(self, column: Column) -> bool:
        """Whether a needed column is there; noted where not."""
        if column.default is not None or any(True for _ in self._given(column)):
            return True
        self.valid[:] = False
        also = f" (or {', '.join(column.aliases)})" if column.aliases else ""
        near = did_you_mean(column.name, self._names) if self._names else ""
        fix = near if near.startswith("Did") else ""
        self._note(f"{column.name}{also}", "no such column", f"{self._operation.name} needs it: {column.doc}", fix)
        return False

    def _check(self, column: Column, bad: Mask, what: str, values: Array | None = None) -> None:
        count = int(np.count_nonzero(bad))
        if not count:
            return
        first = int(np.argmax(bad))
        self.valid &= ~bad
        shown = "" if values is None else f" ({values[first]:g})"
        self._note(column.name, f"{what} in {count:,} of {self.length:,} rows, first in row {first}{shown}")

    def _note(self, where: str, what: str, why: str = "", fix: str = "") -> None:
        self.problems.append(Problem(where=where, what=what, why=why, fix=fix))
