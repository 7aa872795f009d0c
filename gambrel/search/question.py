"""What a sweep asks: lists of machines, what-ifs, plans and lengths, checked before anything is evaluated."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from gambrel.errors import GambrelError, PlanError, Problem, did_you_mean
from gambrel.estimation.many import COUNTS, FORMAT_OPTIONS, PLAN_COUNTS, QUESTION_COLUMNS, counts
from gambrel.estimation.points import LARGEST, LENGTHS, Plan, Workload
from gambrel.passes.quantize import check_format
from gambrel.passes.shard import find_strategy
from gambrel.runtimes import load_engine
from gambrel.search.axes import Axes, Cell

T = TypeVar("T")

PLAN_ORDER = ("engine", *FORMAT_OPTIONS, "strategy", "placement", *PLAN_COUNTS)
"""Plan columns from the outside: those that need another compilation vary slowest."""

MOST_ROWS = 10**10
"""Rows that a sweep may have: a terabyte of answers."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A sweep in full; each list has at least one value.

    Attributes:
        model: Library name or path of a config.
        on: Profile names or paths.
        overrides: What-ifs on them: texts by path, `{"memory.hbm.bandwidth": ("1x", "2x")}`.
        devices: How many; None: what the degrees take.
        columns: Values by name, names from QUESTION_COLUMNS; None is the default.
        allow_unpriced: As in `estimate`.
    """

    model: str
    on: tuple[str, ...]
    overrides: Mapping[str, tuple[str, ...]]
    devices: tuple[int | None, ...]
    columns: Mapping[str, tuple[Cell, ...]]
    allow_unpriced: bool = False

    @cached_property
    def axes(self) -> Axes:
        """All lists, those of machines outside and those of lengths inside."""
        columns = {name: self.columns.get(name, (_default(name),)) for name in (*PLAN_ORDER, *LENGTHS)}
        return Axes({"on": self.on, **self.overrides, "devices": self.devices, **columns})

    def record(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "model": self.model,
            "on": self.on,
            "overrides": self.overrides,
            "devices": self.devices,
            "columns": self.columns,
            "allow_unpriced": self.allow_unpriced,
        }

    @cached_property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the record."""
        return hashlib.sha256(json.dumps(self.record()).encode()).hexdigest()[:12]


def read_question(record: Mapping[str, object]) -> Question:
    """The question of a record, checked again: it may come from a file that somebody edited.

    Raises:
        GambrelError: As `make_question`.
    """
    try:
        return make_question(**record)  # pyright: ignore[reportArgumentType]  (checked there)
    except (TypeError, AttributeError):
        raise PlanError(Problem(where="question", what="is not that of a sweep")) from None


def make_question(
    model: str,
    on: str | Sequence[str],
    *,
    columns: Mapping[str, Sequence[Cell]],
    devices: int | Sequence[int | None] | None = None,
    overrides: Mapping[str, Sequence[str]] | None = None,
    allow_unpriced: bool = False,
) -> Question:
    """A question of lists; values that stand twice in a list count once.

    Raises:
        PlanError: With every list that is empty or that has an unknown name or a value out of range, or where there are
            too many rows.
        ProfileError: An engine is unknown.
    """
    asked = devices if isinstance(devices, Sequence) else (devices,)
    cells = {name: [_cell(value) for value in values] for name, values in columns.items()}
    question = Question(
        model=str(model),
        on=_once([on] if isinstance(on, str) else map(str, on)),
        overrides={path: _once(map(str, values)) for path, values in sorted((overrides or {}).items())},
        devices=_once(asked),
        columns={
            name: _once(_default(name) if value is None else value for value in values)
            for name, values in sorted(cells.items())
        },
        allow_unpriced=bool(allow_unpriced),
    )
    problems = [*_empty(question), *_unknown(question)]
    if not problems:
        problems = list(_bad_values(question))
    if not problems and question.axes.rows > MOST_ROWS:
        sizes = " x ".join(f"{len(v):,} {name}" for name, v in question.axes.lists.items() if len(v) > 1)
        what = f"{sizes} are {question.axes.rows:,} rows"
        problems = [Problem(where="sweep", what=what, fix=f"Ask for at most {MOST_ROWS:,} at once")]
    if problems:
        raise PlanError(*problems)
    return question


def _once(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def _default(name: str) -> Cell:
    """What a column is where nothing is said; None for one that is unknown, which is an error of its own."""
    return getattr(Workload() if name in LENGTHS else Plan(), name, None)


def _cell(value: object) -> Cell:
    """A value of a list as JSON has it: NumPy's integers and whole floats as Python's integers."""
    if value is None or isinstance(value, str):
        return value
    try:
        whole = int(value)  # pyright: ignore[reportArgumentType]  (or it is refused)
    except (TypeError, ValueError, OverflowError):
        whole = None
    # What is no count stays as it is, and `_bad_values` says what is wrong with it.
    return whole if whole == value else value  # pyright: ignore[reportReturnType]


def _empty(question: Question) -> Iterator[Problem]:
    for name, values in question.axes.lists.items():
        if not values:
            yield Problem(where=name, what="no values", fix="Give at least one")


def _unknown(question: Question) -> Iterator[Problem]:
    for name in question.columns:
        if name in ("on", "devices"):
            yield Problem(where=name, what="is no column of plans or lengths", fix=f"Give {name}= beside columns=")
        elif name not in QUESTION_COLUMNS:
            yield Problem(where=name, what="unknown column", fix=did_you_mean(name, QUESTION_COLUMNS))
    for path in question.overrides:
        if not path or path in (*QUESTION_COLUMNS, "devices", "on"):
            yield Problem(
                where=f"--set {path}", what="not a path into a profile", fix="Write memory.hbm.bandwidth=1x,2x"
            )


def _bad_values(question: Question) -> Iterator[Problem]:
    """What no point could have; what only some plans cannot have is the status of their rows."""
    for count in question.devices:
        if count is not None and not 1 <= count <= LARGEST:
            yield Problem(where="devices", what=f"{count!r} is out of range", fix="Give 1 or more, or None")
    for name, values in question.columns.items():
        try:
            _check(name, values)
        except GambrelError as error:
            yield from error.problems


def _check(name: str, values: Sequence[Cell]) -> None:
    """Refuse the first value that a column cannot have.

    Raises:
        GambrelError: That value is out of range, or unknown.
    """
    strings = name not in COUNTS
    for value in values:
        if value is not None and isinstance(value, str) != strings:
            what = f"{value!r} is not a {'name' if strings else 'count'}"
            raise PlanError(Problem(where=name, what=what, fix=f"Give a {'name' if strings else 'whole number'}"))
    if name in LENGTHS:
        counts(name, values)
        return
    for value in values:
        Plan(**{name: value})  # pyright: ignore[reportArgumentType]  (by column, as checked above)
        if name == "strategy" and value is not None:
            find_strategy(str(value))
        elif name in FORMAT_OPTIONS:
            check_format(name, None if value is None else str(value))
        elif name == "engine":
            load_engine(str(value))
