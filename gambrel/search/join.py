"""Two sets of answers, row by row: sweeps by the indices of their axes, lists of records by their key columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array
from gambrel.errors import Problem, UsageError
from gambrel.estimation.many import QUESTION_COLUMNS
from gambrel.estimation.metrics import METRICS
from gambrel.search.arrow import read_answers
from gambrel.search.axes import Axes, Cell
from gambrel.search.manifest import Manifest
from gambrel.search.runs import Run

STATUSES = ("ok", "does not fit", "cannot run")
AS_PUBLISHED: tuple[Cell, ...] = ("1x",)
"""The list of a what-if that a sweep does not have."""

Record = Mapping[str, object]


class Side(NamedTuple):
    """Answers of some rows: the metrics, NaN where there is none, and indices into STATUSES."""

    metrics: Mapping[str, Array]
    status: NDArray[np.int8]


class Pairs(NamedTuple):
    """Rows that are on both sides, with their numbers on the first."""

    rows: NDArray[np.int64]
    a: Side
    b: Side


class Difference(NamedTuple):
    """Something that all rows of a side share, and that the other side has otherwise."""

    what: str
    a: object
    b: object


class OnlyIn(NamedTuple):
    """Values of a column that only one side has."""

    column: str
    a: Sequence[Cell]
    b: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Two sides of a comparison.

    Attributes:
        rows_a, rows_b: Rows of each.
        common: Rows that both have.
        differences: What tells the sides apart.
        only: Values that only one side has, for columns where there are some.
        pairs: The common rows, piece by piece.
        point: What the first side's row of a number asks, where rows differ in it.
    """

    rows_a: int
    rows_b: int
    common: int
    differences: Sequence[Difference]
    only: Sequence[OnlyIn]
    pairs: Iterator[Pairs]
    point: Callable[[int], dict[str, Cell]]


def join_runs(a: Run, b: Run) -> Joined:
    """Join two finished sweeps: a row of one is that of the other which asks the same.

    An axis that has one value on either side does not tell rows apart, even if these values differ: sweeps of two
    machines are compared row by row.

    Raises:
        UsageError: A sweep is unfinished.
    """
    for run in (a, b):
        if run.manifest.status != "complete":
            what = f"is unfinished: {len(run.manifest.parts)} of {len(run.manifest.layout)} files are there"
            raise UsageError(Problem(where=str(run.folder), what=what, fix="Give its `gambrel sweep` command again"))
    axes_a, axes_b = a.manifest.question.axes, b.manifest.question.axes
    names = tuple(dict.fromkeys((*axes_a.lists, *axes_b.lists)))
    matches = {
        name: _match(axes_a.lists.get(name, AS_PUBLISHED), axes_b.lists.get(name, AS_PUBLISHED)) for name in names
    }
    varied = [name for name in names if max(_sizes(name, axes_a, axes_b)) > 1]
    fixed = [name for name in names if name not in varied]
    lists = [(name, axes_a.lists.get(name, AS_PUBLISHED), axes_b.lists.get(name, AS_PUBLISHED)) for name in names]
    only = [OnlyIn(name, _without(x, y), _without(y, x)) for name, x, y in lists if name in varied]
    changed = [Difference(name, x[0], y[0]) for name, x, y in lists if name in fixed and x[0] != y[0]]
    return Joined(
        rows_a=axes_a.rows,
        rows_b=axes_b.rows,
        common=int(np.prod([np.count_nonzero(match >= 0) for match in matches.values()])),
        differences=[*changed, *_manifest_differences(a.manifest, b.manifest)],
        only=[each for each in only if each.a or each.b],
        pairs=_run_pairs(a, b, matches),
        point=lambda row: {name: value for name, value in axes_a.row(row).items() if name in varied},
    )


def _sizes(name: str, *axes: Axes) -> list[int]:
    return [len(each.lists.get(name, AS_PUBLISHED)) for each in axes]


def _match(a: Sequence[Cell], b: Sequence[Cell]) -> NDArray[np.int64]:
    """For each value of the first list its place in the second; -1 where it is not there."""
    if len(a) == len(b) == 1:
        return np.zeros(1, dtype=np.int64)
    places = {value: place for place, value in enumerate(b)}
    return np.array([places.get(value, -1) for value in a], dtype=np.int64)


def _without(values: Sequence[Cell], others: Sequence[Cell]) -> list[Cell]:
    known = set(others)
    return [value for value in values if value not in known]


def _manifest_differences(a: Manifest, b: Manifest) -> Iterator[Difference]:
    if a.question.model != b.question.model:
        yield Difference("model", a.question.model, b.question.model)
    if a.version != b.version:
        yield Difference("version", a.version, b.version)
    for kind in a.inputs:
        for name in a.inputs[kind].keys() & b.inputs.get(kind, {}).keys():
            if a.inputs[kind][name] != b.inputs[kind][name]:
                yield Difference(f"content of {kind} {name}", a.inputs[kind][name], b.inputs[kind][name])
    if a.question.allow_unpriced != b.question.allow_unpriced:
        yield Difference("allow_unpriced", a.question.allow_unpriced, b.question.allow_unpriced)


def _run_pairs(a: Run, b: Run, matches: Mapping[str, NDArray[np.int64]]) -> Iterator[Pairs]:
    names_a = tuple(a.manifest.question.axes.lists)
    sizes = dict(zip(b.manifest.question.axes.lists, b.manifest.question.axes.sizes, strict=True))
    strides: dict[str, int] = {}
    stride = 1
    for name in reversed(sizes):
        strides[name] = stride
        stride *= sizes[name]
    # What only the second side varies is where the first has no axis: one place of it matches, or none.
    base = sum(int(matches[name][0]) * strides[name] for name in sizes if name not in names_a)
    if any(matches[name][0] < 0 for name in sizes if name not in names_a):
        return
    firsts = np.array([part.first_row for part in b.manifest.parts])
    files = b.files

    @lru_cache(maxsize=4)
    def side(number: int) -> Side:
        return _side(*read_answers(files[number]))

    for part, file in zip(a.manifest.layout, a.files, strict=True):
        ranges = dict(zip(names_a, part.box, strict=True))
        places = [matches[name][each.start : each.stop] for name, each in ranges.items()]
        # Where a value has no match the sum is nonsense, and is left out.
        steps = [place * strides.get(name, 0) for name, place in zip(ranges, places, strict=True)]
        rows_b = reduce(np.add.outer, steps)
        both = reduce(np.logical_and.outer, [place >= 0 for place in places]).ravel()
        if not both.any():
            continue
        its = _side(*read_answers(file))
        rows_b = rows_b.ravel()[both] + base
        yield Pairs(np.flatnonzero(both) + part.first_row, _take(its, both), _gather(side, firsts, rows_b))


def _take(side: Side, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Side:
    return Side({name: values[rows] for name, values in side.metrics.items()}, side.status[rows])


def _gather(side: Callable[[int], Side], firsts: NDArray[np.int64], rows: NDArray[np.int64]) -> Side:
    """Rows of several parts, in the order in which they are asked for."""
    numbers = np.searchsorted(firsts, rows, side="right") - 1
    metrics = {name: np.empty(rows.size) for name in METRICS}
    status = np.empty(rows.size, dtype=np.int8)
    for number in np.unique(numbers).tolist():
        mine = numbers == number
        found = _take(side(number), rows[mine] - firsts[number])
        status[mine] = found.status
        for name, values in found.metrics.items():
            metrics[name][mine] = values
    return Side(metrics, status)


def _side(metrics: Mapping[str, Array], codes: NDArray[np.int32], texts: Sequence[str]) -> Side:
    places = np.array([_status(text) for text in texts], dtype=np.int8)
    return Side(metrics, places[codes])


def _status(text: str) -> int:
    return STATUSES.index(text) if text in STATUSES else len(STATUSES) - 1


def join_records(a: Sequence[Record], b: Sequence[Record]) -> Joined:
    """Join two lists of rows, as `gambrel estimate --format json` prints them, by the columns that vary in either."""
    known = ("on", "model", *QUESTION_COLUMNS, "devices")
    columns = [name for name in known if any(name in record for record in (*a, *b))]
    values = {name: ({_cell(r.get(name)) for r in a}, {_cell(r.get(name)) for r in b}) for name in columns}
    varied = [name for name, (x, y) in values.items() if max(len(x), len(y)) > 1]
    fixed = [name for name in columns if name not in varied]
    keys_b = {tuple(_cell(record.get(name)) for name in varied): row for row, record in enumerate(b)}
    places = [keys_b.get(tuple(_cell(record.get(name)) for name in varied), -1) for record in a]
    rows = np.array([row for row, place in enumerate(places) if place >= 0], dtype=np.int64)
    its = [record for record, place in zip(a, places, strict=True) if place >= 0]
    mine = [b[place] for place in places if place >= 0]
    pairs = Pairs(rows, _record_side(its), _record_side(mine))
    changed = [(name, a[0].get(name), b[0].get(name)) for name in fixed] if a and b else []
    only = [OnlyIn(name, *_sorted_apart(*values[name])) for name in varied]
    return Joined(
        rows_a=len(a),
        rows_b=len(b),
        common=len(rows),
        differences=[Difference(name, x, y) for name, x, y in changed if x != y],
        only=[each for each in only if each.a or each.b],
        pairs=iter((pairs,)),
        point=lambda row: {name: _cell(a[row].get(name)) for name in varied},
    )


def _cell(value: object) -> Cell:
    return value if value is None or isinstance(value, int | str) else str(value)


def _sorted_apart(a: set[Cell], b: set[Cell]) -> tuple[list[Cell], list[Cell]]:
    return sorted(a - b, key=_sort_key), sorted(b - a, key=_sort_key)


def _sort_key(value: Cell) -> tuple[str, int, str]:
    return (type(value).__name__, value, "") if isinstance(value, int) else (type(value).__name__, 0, str(value))


def _record_side(records: Sequence[Record]) -> Side:
    def number(value: object) -> float:
        return float(value) if isinstance(value, int | float) else np.nan

    metrics = {name: np.array([number(record.get(name)) for record in records], dtype=np.float64) for name in METRICS}
    return Side(metrics, np.array([_status(str(record.get("status"))) for record in records], dtype=np.int8))
