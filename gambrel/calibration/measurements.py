"""Measurements to calibrate with: files of a device's rows, each of one operation, with where they came from."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.accuracy import read_parquet
from gambrel.calibration.columns import Rows, Table, column_names, raw_column, to_numbers, to_text
from gambrel.calibration.operation import Operation
from gambrel.calibration.score import profile_of
from gambrel.calibration.tables import OPERATIONS, operation_named, read_table
from gambrel.errors import PlanError, Problem, ProfileError, UsageError, did_you_mean
from gambrel.hardware.device import Device

DEVICE = "device"
"""The column that names a row's device."""

LOOKALIKES = ("gpu", "gpu_name", "device_name", "hardware", "machine", "accelerator", "system")
"""Other names of such a column, which the user must confirm."""

LATENCY = "latency_us"


class Measurements(NamedTuple):
    """Rows of one operation on one device.

    Attributes:
        operation: What was measured.
        rows: All valid.
        origin: File name and checksum, for the profile's sources.
        remark: Which of the file's rows these are, where not all.
    """

    operation: Operation
    rows: Rows
    origin: str
    remark: str


class Choice(NamedTuple):
    """Which rows of the files count.

    Attributes:
        device: Whose rows.
        names: What the device may be called in a table.
        column: The column that names devices; empty for `device` where there is one.
        ops: Only these operations; all where empty.
    """

    device: Device
    names: tuple[str, ...]
    column: str = ""
    ops: tuple[str, ...] = ()


def read_measurements(path: Path, choice: Choice) -> list[Measurements]:
    """Reads a file, or every file of a folder that is named as an operation.

    A file is .parquet or .csv, with the columns of its operation and `latency_us`. Its operation is the one it is named
    as, or the one operation that is asked for.

    Raises:
        UsageError: There is nothing to read, or a file cannot be read.
        PlanError: An operation is unknown, devices are mixed, columns are missing or values are impossible.
    """
    wanted = {operation_named(op).name for op in choice.ops}
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix in READERS and file.stem in OPERATIONS]
        files = [file for file in files if not wanted or file.stem in wanted]
        if not files:
            why = "it holds no .parquet or .csv file named as an operation" + (" that is asked for" if wanted else "")
            fix = did_you_mean("", wanted or OPERATIONS)
            raise UsageError(Problem(where=str(path), what="nothing to calibrate with", why=why, fix=fix))
        found = [read_file(file, OPERATIONS[file.stem], choice, lenient=True) for file in files]
        return [part for part in found if part is not None]
    if not path.is_file():
        raise UsageError(Problem(where=str(path), what="no such file or folder"))
    if len(wanted) > 1:
        why = "one file holds one operation"
        raise UsageError(Problem(where=str(path), what="several operations are asked for", why=why))
    if not wanted and path.stem not in OPERATIONS:
        fix = f"Say which: --op NAME. {did_you_mean(path.stem, OPERATIONS)}"
        raise UsageError(Problem(where=str(path), what="the file is not named as an operation", fix=fix))
    part = read_file(path, operation_named(next(iter(wanted), path.stem)), choice)
    return [part] if part else []


def read_file(path: Path, operation: Operation, choice: Choice, *, lenient: bool = False) -> Measurements | None:
    """The rows of one file that are the device's; with `lenient`, None where there are none.

    Raises:
        UsageError, PlanError: As `read_measurements`.
    """
    if path.suffix not in READERS:
        fix = f"Give one of {', '.join(READERS)}"
        raise UsageError(
            Problem(where=str(path), what=f"files {path.suffix or 'without a suffix'} are not read", fix=fix)
        )
    table: Table = _read_csv(path) if path.suffix == ".csv" else cast("Table", read_parquet(path))
    chosen = _device_rows(path, table, choice, lenient=lenient)
    if chosen is not None and not len(chosen):
        return None
    origin = f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    part = measurements(table if chosen is None else _take(table, chosen), operation, path.name)
    remark = "" if chosen is None else f"{len(chosen):,} rows of {choice.device.name}"
    return part._replace(origin=origin, remark=remark)


def measurements(table: Table, operation: Operation, origin: str) -> Measurements:
    """Checks the rows of one device.

    Raises:
        PlanError: A column is missing, or a value is impossible: each of these problems.
    """
    read = read_table(operation, table)
    problems = list(read.problems)
    if LATENCY not in column_names(table):
        fix = did_you_mean(LATENCY, column_names(table))
        problems.append(Problem(where=LATENCY, what="no such column", why="it holds the measured time, us", fix=fix))
    else:
        times = read.rows.numbers[LATENCY]
        for bad, what in ((np.isnan(times), "has no value"), (times <= 0, "is not positive")):
            count = int(np.count_nonzero(bad))
            if count:
                first = int(np.argmax(bad))
                shown = f"{what} in {count:,} of {len(times):,} rows, first in row {first} ({times[first]:g})"
                problems.append(Problem(where=LATENCY, what=shown, why="a measured time is above 0"))
    if problems:
        where = f"{origin}: "
        raise PlanError(*(Problem(where=where + p.where, what=p.what, why=p.why, fix=p.fix) for p in problems))
    return Measurements(operation, read.rows, origin, "")


def _device_rows(path: Path, table: Table, choice: Choice, *, lenient: bool) -> NDArray[np.intp] | None:
    """Which rows are the device's; None for all."""
    names = column_names(table)
    column = choice.column or (DEVICE if DEVICE in names else "")
    if column and column not in names:
        fix = did_you_mean(column, names)
        raise PlanError(Problem(where=f"--device-column {column}", what=f"{path.name} has no such column", fix=fix))
    if not column:
        _refuse_mixed(path, table, names)
        return None
    codes, values = to_text(raw_column(table, column))
    present = [value for i, value in enumerate(values) if np.any(codes == i)]
    mine = [value for value in present if _is_named(value, choice)]
    if not mine and len(present) == 1 and not _is_known(present[0]):
        return None  # a name of the user's own, the same in every row
    if not mine and not lenient:
        shown = ", ".join(present[:8])
        what = f"no row is of {choice.device.name}"
        fix = "Give the device that was measured, or name the column with --device-column"
        raise PlanError(Problem(where=f"{path.name}: {column}", what=what, why=f"it has {shown}", fix=fix))
    return np.flatnonzero(np.isin(codes, [values.index(value) for value in mine]))


def _refuse_mixed(path: Path, table: Table, names: Sequence[str]) -> None:
    for name in names:
        if name.lower() in LOOKALIKES:
            values = to_text(raw_column(table, name)).values
            if len(values) > 1:
                what = f"seems to hold several devices ({', '.join(values[:4])})"
                fix = f"Say so: --device-column {name}; or keep the rows of one device only"
                raise PlanError(Problem(where=f"{path.name}: {name}", what=what, fix=fix))


def _is_named(value: str, choice: Choice) -> bool:
    return value in choice.names or (_is_known(value) and profile_of(value) in choice.names)


def _is_known(value: str) -> bool:
    try:
        return bool(profile_of(value))
    except ProfileError:
        return False


def _take(table: Table, rows: NDArray[np.intp]) -> Table:
    if isinstance(table, Mapping):
        return {name: np.asarray(values)[rows] for name, values in table.items()}
    names = column_names(table)
    taken: dict[str, NDArray[np.generic]] = {}
    for name in names:
        raw = raw_column(table, name)
        try:
            taken[name] = to_numbers(raw)[rows]
        except (TypeError, ValueError):
            codes, values = to_text(raw)
            taken[name] = np.array([*values, None], dtype=object)[codes[rows]]
    return taken


def _read_csv(path: Path) -> dict[str, NDArray[np.generic]]:
    """Columns of a CSV file with a header; numbers where every cell is one or empty.

    Raises:
        UsageError: It cannot be read, or has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(Problem(where=str(path), what="cannot be read as CSV", why=str(error))) from None
    ragged = next((i for i, line in enumerate(lines) if len(line) != len(header)), None)
    if not lines or ragged is not None:
        what = "has no rows" if not lines else f"line {cast('int', ragged) + 2} has not {len(header)} cells"
        raise UsageError(Problem(where=str(path), what=what, fix="Give a header and one line a measurement"))
    return {name.strip(): _column([line[i].strip() for line in lines]) for i, name in enumerate(header)}


def _column(cells: list[str]) -> NDArray[np.generic]:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array([cell or None for cell in cells], dtype=object)


READERS = (".parquet", ".csv")
"""Files that are read."""
