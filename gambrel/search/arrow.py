"""Answers as Arrow tables and as Parquet text: the one place where searches meet pyarrow."""

# pyarrow has no type stubs: what it returns is unknown to a type checker, and stays inside this file.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.importers.arrow import require_pyarrow
from gambrel.cost.vectorise import Array
from gambrel.errors import Problem, UsageError
from gambrel.estimation.many import COUNTS, FLAGS, Answers, Words
from gambrel.estimation.metrics import METRICS

if TYPE_CHECKING:
    import pyarrow

METADATA = b"gambrel"
"""Under which key a part says what it holds."""

COMPRESSION = "snappy"
"""Read everywhere; zstd at level 1 takes half as long again for files that are an eighth smaller."""

__all__ = [
    "METADATA",
    "from_numpy",
    "parquet_of",
    "read_answers",
    "read_note",
    "require_pyarrow",
    "to_parquet",
    "to_table",
]


def to_table(answers: Answers, more: Mapping[str, Array | Words] | None = None) -> "pyarrow.Table":
    """The columns of some points, text as dictionaries, what is missing as null.

    Args:
        answers: Of the points.
        more: Columns to put before them, which broadcast to the same shape.
    """
    import pyarrow

    columns = {**(more or {}), **answers.columns}
    return pyarrow.table({name: _array(name, column, answers.shape) for name, column in columns.items()})


def to_parquet(table: "pyarrow.Table", metadata: bytes) -> bytes:
    """One Parquet file with one row group, the same bytes for the same table."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    table = table.replace_schema_metadata({METADATA: metadata})
    # A dictionary of floats that hardly repeat takes longer to build than to do without.
    repeated = [field.name for field in table.schema if not pyarrow.types.is_floating(field.type)]
    pyarrow.parquet.write_table(
        table,
        sink,
        row_group_size=max(table.num_rows, 1),
        use_dictionary=repeated,  # pyright: ignore[reportArgumentType]  (or names)
        compression=COMPRESSION,
    )
    return sink.getvalue().to_pybytes()


def parquet_of(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Records with the same keys as one Parquet file."""
    import pyarrow

    return to_parquet(pyarrow.Table.from_pylist([dict(row) for row in rows]), b"{}")


def _array(name: str, column: Array | Words, shape: tuple[int, ...]) -> "pyarrow.Array":
    import pyarrow

    if isinstance(column, Words):
        missing = np.broadcast_to(column.codes < 0, shape).ravel() if np.any(column.codes < 0) else None
        codes = np.broadcast_to(column.codes, shape).ravel()
        indices = from_numpy(pyarrow.int32(), codes if missing is None else np.maximum(codes, 0), missing)
        return pyarrow.DictionaryArray.from_arrays(indices, _texts(column.values))
    values = np.broadcast_to(column, shape).ravel()
    missing = np.isnan(values) if np.any(np.isnan(column)) else None
    if name in FLAGS:
        return from_numpy(pyarrow.bool_(), _bits(values == 1.0), missing, values.size)
    if name in COUNTS:
        whole = values if missing is None else np.where(missing, 0.0, values)
        return from_numpy(pyarrow.int64(), whole.astype(np.int64), missing)
    return from_numpy(pyarrow.float64(), values, missing)


def _texts(values: Sequence[str]) -> "pyarrow.Array":
    import pyarrow

    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    buffers = (pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(encoded)))
    return pyarrow.StringArray.from_buffers(len(values), *buffers)


def from_numpy(
    kind: "pyarrow.DataType",
    values: NDArray[np.generic],
    missing: NDArray[np.bool_] | None = None,
    size: int | None = None,
) -> "pyarrow.Array":
    """An array over NumPy's memory; `pyarrow.array` would import pandas to see whether it is given some of that."""
    import pyarrow

    valid = None if missing is None else pyarrow.py_buffer(_bits(~missing))
    buffers = [valid, pyarrow.py_buffer(np.ascontiguousarray(values))]
    return pyarrow.Array.from_buffers(kind, values.size if size is None else size, buffers)


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Flags as Arrow packs them."""
    return np.packbits(flags, bitorder="little")


def read_note(data: bytes) -> dict[str, object] | None:
    """What a part says of itself; None where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(pyarrow.BufferReader(data)).metadata or {}
        return json.loads(metadata[METADATA])
    except (pyarrow.ArrowInvalid, OSError, KeyError, ValueError):
        return None


def read_answers(file: Path) -> tuple[dict[str, Array], NDArray[np.int32], list[str]]:
    """The metrics of a part, NaN where there is none, and its statuses as codes and their texts.

    Raises:
        UsageError: The file cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file, columns=[*METRICS, "status"])
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise UsageError(Problem(where=str(file), what=f"cannot be read: {error}")) from None
    status = table.column("status").combine_chunks()
    metrics = {name: table.column(name).to_numpy() for name in METRICS}
    return metrics, status.indices.to_numpy(), status.dictionary.to_pylist()
