"""Any CSV file with a line of names, read through a column map.

A file of one's own has no known mistakes: what cannot be right (a time that is not above 0) is an error, not a row that
is left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gambrel.calibration.importers.block import Block, Cells, FileRead, block
from gambrel.calibration.importers.column_map import Cell
from gambrel.calibration.importers.sheet import TextSheet, UnreadableError, read_csv
from gambrel.calibration.importers.source import Found, Request
from gambrel.calibration.importers.tables import TABLES, Field
from gambrel.errors import Problem, UsageError, did_you_mean


def find(request: Request) -> Found:
    """The file itself.

    Raises:
        UsageError: No operation is named, or several, or the path is a folder.
    """
    if len(request.ops) != 1:
        raise UsageError(
            Problem(
                where="--op",
                what="is given more than once" if request.ops else "is missing",
                why="a CSV file does not say what was measured",
                fix=f"Name one of: {', '.join(TABLES)}",
            )
        )
    if request.path.is_dir():
        raise UsageError(Problem(where=str(request.path), what="is a folder", fix="Name one CSV file"))
    label = request.label or request.path.stem
    return Found(
        root=request.path.parent, files=(request.path,), label=label, version="", read=partial(_read, label, request)
    )


def _read(label: str, request: Request, path: Path) -> FileRead:
    try:
        sheet = read_csv(path)
    except UnreadableError as error:
        raise UsageError(Problem(where=str(path), what=str(error))) from None
    if not sheet.length:
        raise UsageError(Problem(where=str(path), what="has a line of names, but no rows"))
    (table,) = request.ops
    fields = TABLES[table]
    cells = {"source": Cell(constant=label, is_text=True)}
    cells |= {name: Cell(column=name) for name in fields if name in sheet.names}
    cells |= request.columns.cells
    problems = [*_check_map(cells, table, sheet), *_check_required(cells, table, path)]
    if problems:
        raise UsageError(*problems)
    columns = {name: _cells(cell, fields[name], sheet) for name, cell in cells.items()}
    _check_times(columns["latency_us"], path)
    skipped: Counter[str] = Counter()
    blocks: Sequence[Block] = (block(table, sheet.length, columns, skipped),)
    return FileRead(path=path, rows=sheet.length, blocks=tuple(blocks), skipped=skipped)


def _cells(cell: Cell, field: Field, sheet: TextSheet) -> Cells:
    if cell.column:
        return sheet.text(cell.column) if field.kind == "text" else sheet.numbers(cell.column) * cell.factor
    return cell.constant if field.kind == "text" else float(cell.constant)


def _check_map(cells: Mapping[str, Cell], table: str, sheet: TextSheet) -> list[Problem]:
    problems: list[Problem] = []
    for name, cell in cells.items():
        field = TABLES[table].get(name)
        where = f"--map {name}"
        if field is None:
            problems.append(
                Problem(
                    where=where, what=f"the table {table!r} has no such column", fix=did_you_mean(name, TABLES[table])
                )
            )
        elif cell.column and cell.column not in sheet.names:
            problems.append(
                Problem(
                    where=where,
                    what=f"the file has no column {cell.column!r}",
                    fix=did_you_mean(cell.column, sheet.names),
                )
            )
        elif field.kind == "text" and cell.factor != 1.0:
            problems.append(Problem(where=where, what="holds names, which have no factor"))
        elif field.kind != "text" and cell.is_text:
            problems.append(Problem(where=where, what=f"holds numbers, not {cell.constant!r}"))
    return problems


def _check_required(cells: Mapping[str, Cell], table: str, path: Path) -> list[Problem]:
    absent = [name for name, field in TABLES[table].items() if field.required and name not in cells]
    if not absent:
        return []
    options = [f"--{name}" for name in ("device", "dtype") if name in absent]
    mapped = [name for name in absent if f"--{name}" not in options]
    ways = [f"Give {' and '.join(options)}"] if options else []
    ways += [f"Map columns: --map {','.join(f'{name}=COLUMN' for name in mapped)}"] if mapped else []
    return [
        Problem(
            where=str(path),
            what=f"has no column {', '.join(absent)}",
            why=f"the table {table!r} needs {'it' if len(absent) == 1 else 'them'}",
            fix=". ".join(ways),
        )
    ]


def _check_times(times: Cells, path: Path) -> None:
    values = np.atleast_1d(np.asarray(times, dtype=np.float64))
    bad = np.flatnonzero(values <= 0)
    if len(bad):
        raise UsageError(
            Problem(
                where=f"{path}: row {bad[0] + 2}",
                what=f"latency_us is {values[bad[0]]:g}",
                why=f"a time is above 0 (rows like it: {len(bad)})",
                fix="Map latency_us to the column of the times, or take these rows out",
            )
        )
