"""Estimates of the rows of an Arrow table: one row in, one row out, for engines that hand out batches."""

# pyarrow has no type stubs: what it returns is unknown to a type checker, and stays inside this file.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.many import COUNTS, QUESTION_COLUMNS, Asked, Setting, answer, first_bad
from gambrel.estimation.points import LENGTHS, Plan, Workload
from gambrel.hardware.device import Device
from gambrel.search.arrow import from_numpy, require_pyarrow, to_table
from gambrel.search.axes import Cell

if TYPE_CHECKING:
    import pyarrow

KNOWN = (*QUESTION_COLUMNS, "devices")
"""Columns of a batch."""


def evaluate_batch(
    table: "pyarrow.Table",
    *,
    model: Model,
    on: Machine,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> "pyarrow.Table":
    """Estimate the point of each row.

    Rows are independent and keep their order, so any engine may cut a table into batches: `map_batches` of Ray Data
    with `batch_format="pyarrow"`, `mapInArrow` of Spark. A process compiles each plan once.

    Args:
        table: Columns as `estimate_table` takes them, and `devices`; what is absent or null takes its default.
        model: As in `estimate`.
        on: As in `estimate`.
        devices: Where the table does not say.
        overrides: What-ifs on the profile.
        allow_unpriced: As in `estimate`.

    Returns:
        All question columns with what was open filled in, and the answers; a row that cannot run has the reason as its
        status.

    Raises:
        GambrelError: A column is unknown, a value is no count, or the model or the profile is wrong.
    """
    require_pyarrow("batches are Arrow tables")
    _check_columns(table)
    architecture, device = load(model), machine(on, tuple(overrides))
    settings, setting = _settings(table, device, devices)
    asked = Asked(settings=settings, setting=setting, lengths={name: _length(table, name) for name in LENGTHS})
    return to_table(answer(architecture, asked, allow_unpriced=allow_unpriced))


def _check_columns(table: "pyarrow.Table") -> None:
    problems: list[Problem] = []
    for name in dict.fromkeys(table.column_names):
        if name not in KNOWN:
            problems.append(Problem(where=name, what="unknown column", fix=did_you_mean(name, KNOWN)))
        elif table.column_names.count(name) > 1:
            problems.append(Problem(where=name, what="stands twice in the table"))
    if problems:
        raise PlanError(*problems)


def _length(table: "pyarrow.Table", name: str) -> Array:
    default = float(getattr(Workload(), name))
    if name not in table.column_names:
        return np.full(table.num_rows, default)
    values = _numbers(table, name)
    values = np.where(np.isnan(values), default, values)
    bad = first_bad(name, values)
    if bad is not None:
        least = 0 if name == "prefix" else 1
        what = f"{values[bad]:g} is not a count of {least} or more"
        raise PlanError(Problem(where=f"{name}, row {bad}", what=what, fix="Give a whole number"))
    return values


class _Coded(NamedTuple):
    """A column of choices: the distinct ones, and which each row has."""

    name: str
    values: list[Cell]
    codes: NDArray[np.int64]


def _settings(table: "pyarrow.Table", device: Device, devices: int | None) -> tuple[list[Setting], NDArray[np.intp]]:
    """The distinct combinations of all columns but the lengths, and which each row has."""
    import pyarrow

    columns = [_coded(table, name) for name in table.column_names if name not in LENGTHS]
    key = np.zeros(table.num_rows, dtype=np.int64)
    digits: list[list[Cell]] = [[]]
    for column in columns:
        # Renumbered with each column: only combinations that occur are counted, so that no product overflows.
        coded = from_numpy(pyarrow.int64(), key * len(column.values) + column.codes).dictionary_encode()
        before, digits, key = digits, [], coded.indices.to_numpy().astype(np.int64)
        for combination in coded.dictionary.to_pylist():
            first, last = divmod(combination, len(column.values))
            digits.append([*before[first], column.values[last]])
    names = [column.name for column in columns]
    settings = [_setting(dict(zip(names, row, strict=True)), device, devices) for row in digits]
    return settings or [_setting({}, device, devices)], key.astype(np.intp)


def _setting(values: dict[str, Cell], device: Device, devices: int | None) -> Setting:
    count = values.pop("devices", None)
    if isinstance(count, float | int) and not (count >= 1 and count == int(count)):
        raise PlanError(Problem(where="devices", what=f"{count:g} is not a count of 1 or more"))
    plan = Plan(**{name: value for name, value in values.items() if value is not None})  # pyright: ignore[reportArgumentType]
    return Setting(device=device, devices=devices if count is None else int(count), plan=plan)


def _coded(table: "pyarrow.Table", name: str) -> _Coded:
    import pyarrow

    if name in COUNTS:
        numbers = _numbers(table, name)
        column = from_numpy(pyarrow.float64(), numbers, np.isnan(numbers))
    else:
        column = _texts(table, name)
    coded = column.dictionary_encode(null_encoding="encode")
    values = coded.dictionary.to_pylist()
    if name in COUNTS:
        values = [int(value) if value is not None and value == int(value) else value for value in values]
    return _Coded(name, values, coded.indices.to_numpy().astype(np.int64))


def _numbers(table: "pyarrow.Table", name: str) -> Array:
    """A column of numbers, NaN where there is none."""
    import pyarrow

    column = _plain(table, name)
    kind = column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_null(kind)):
        raise PlanError(Problem(where=name, what=f"holds {kind}", fix="Give numbers"))
    return column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)


def _texts(table: "pyarrow.Table", name: str) -> "pyarrow.Array":
    import pyarrow

    column = _plain(table, name)
    kind = column.type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_null(kind)):
        raise PlanError(Problem(where=name, what=f"holds {kind}", fix="Give text"))
    return column.cast(pyarrow.string())


def _plain(table: "pyarrow.Table", name: str) -> "pyarrow.Array":
    import pyarrow

    column = table.column(name).combine_chunks()
    return column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column
