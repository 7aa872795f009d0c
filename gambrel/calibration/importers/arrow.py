"""The one place where imports meet pyarrow: Parquet files read as sheets, and tables written block by block."""

# pyarrow has no type stubs: what it returns is unknown to a type checker, and stays inside this file.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gambrel.calibration.columns import Array, Text, to_numbers, to_text
from gambrel.calibration.importers.block import Block
from gambrel.calibration.importers.sheet import UnreadableError
from gambrel.calibration.importers.tables import TABLES, Field
from gambrel.errors import Problem, UsageError

if TYPE_CHECKING:
    import pyarrow


def require_pyarrow(why: str = "measurements are kept in Parquet files") -> None:
    """Make sure that Parquet files can be written.

    Args:
        why: What needs them.

    Raises:
        UsageError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UsageError(
            Problem(
                where="pyarrow",
                what="is not installed",
                why=why,
                fix="pip install 'gambrel[arrow]'",
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrowSheet:
    """The columns of a Parquet file."""

    table: "pyarrow.Table"

    @property
    def names(self) -> Sequence[str]:
        """Columns in order."""
        return tuple(self.table.column_names)

    @property
    def length(self) -> int:
        """Rows."""
        return int(self.table.num_rows)

    def numbers(self, name: str) -> Array:
        """A column as float64, NaN where a cell is missing or no number."""
        try:
            return to_numbers(self.table.column(name))
        except (ValueError, TypeError):
            return np.full(self.length, np.nan)

    def text(self, name: str) -> Text:
        """A column as text, code -1 where a cell is missing."""
        codes, values = to_text(self.table.column(name))
        empty = [code for code, value in enumerate(values) if not value]
        return Text(np.where(np.isin(codes, empty), -1, codes), values)


def read_parquet(path: Path) -> ArrowSheet:
    """Read a Parquet file.

    Raises:
        UnreadableError: It is none.
    """
    import pyarrow
    import pyarrow.parquet

    _check_magic(path)
    try:
        return ArrowSheet(table=pyarrow.parquet.ParquetFile(path).read())
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableError(f"is no readable Parquet file: {' '.join(str(error).split())}") from None


def count_rows(path: Path) -> int:
    """Rows of a Parquet file, from its footer alone.

    Raises:
        UnreadableError: It is none.
    """
    import pyarrow
    import pyarrow.parquet

    _check_magic(path)
    try:
        return int(pyarrow.parquet.ParquetFile(path).metadata.num_rows)
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableError(f"is no readable Parquet file: {' '.join(str(error).split())}") from None


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"version https://"):
        raise UnreadableError("is a Git LFS pointer, not the file itself: run `git lfs pull`")
    if not start.startswith(b"PAR1"):
        raise UnreadableError("is empty" if not start else "is no Parquet file")


class TableWriter:
    """Writes one table, block after block; the file appears under its name only when all of it is written."""

    def __init__(self, path: Path, name: str, *, keep: bool) -> None:
        """Begin a table.

        Args:
            path: The file to make.
            name: Which of TABLES.
            keep: Whether rows that the file holds already stay, before the new ones.

        Raises:
            UnreadableError: The file is there, and cannot be continued.
        """
        import pyarrow.parquet

        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        old = pyarrow.parquet.ParquetFile(path) if keep and _is_parquet(path) else None
        self._schema = _schema(TABLES[name], old.schema_arrow if old else None)
        self._writer = pyarrow.parquet.ParquetWriter(self.partial, self._schema, compression="zstd")
        try:
            for batch in old.iter_batches(batch_size=100_000) if old else ():
                self._append(dict(zip(batch.schema.names, batch.columns, strict=True)), batch.num_rows)
        except UnreadableError:
            self.discard()
            raise

    def write(self, block: Block) -> None:
        """Append the rows of a block.

        Raises:
            UnreadableError: A column of the file that is continued cannot hold them.
        """
        import pyarrow

        columns: dict[str, pyarrow.Array] = {}
        for name, cells in block.columns.items():
            if isinstance(cells, Text):
                values = pyarrow.array(cells.values, type=pyarrow.string())
                codes = pyarrow.array(cells.codes.astype(np.int32), mask=cells.codes < 0)
                columns[name] = pyarrow.DictionaryArray.from_arrays(codes, values)
            else:
                columns[name] = pyarrow.array(cells, mask=np.isnan(cells))
        self._append(columns, block.length)

    def _append(self, columns: "Mapping[str, pyarrow.Array]", length: int) -> None:
        import pyarrow

        arrays: list[pyarrow.Array] = []
        for field in self._schema:
            if field.name not in columns:
                arrays.append(pyarrow.nulls(length, type=field.type))
                continue
            try:
                arrays.append(columns[field.name].cast(field.type))
            except pyarrow.ArrowException:
                found = columns[field.name].type
                raise UnreadableError(
                    f"cannot be continued: its column {field.name!r} is {field.type}, the new one {found}"
                ) from None
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Finish the file under its temporary name."""
        self._writer.close()

    def publish(self) -> None:
        """Give the finished file its name, in place of one that was there."""
        self.partial.replace(self.path)

    def discard(self) -> None:
        """Remove what was written, unless it is published."""
        self._writer.close()
        self.partial.unlink(missing_ok=True)


def _is_parquet(path: Path) -> bool:
    if not path.exists():
        return False
    _check_magic(path)
    return True


def _schema(fields: Mapping[str, Field], old: "pyarrow.Schema | None") -> "pyarrow.Schema":
    """A table's columns; those of the file that it continues come first and keep their types."""
    import pyarrow

    kinds = {"count": pyarrow.int64(), "size": pyarrow.int64(), "text": pyarrow.string()}
    columns: dict[str, pyarrow.DataType] = {}
    for field in old or ():
        is_text = pyarrow.types.is_dictionary(field.type) or pyarrow.types.is_large_string(field.type)
        # a column without any value has the type null, and can hold none
        if not pyarrow.types.is_null(field.type) or field.name not in fields:
            columns[field.name] = pyarrow.string() if is_text else field.type
    for name, field in fields.items():
        columns.setdefault(name, kinds.get(field.kind, pyarrow.float64()))
    return pyarrow.schema(list(columns.items()))
