"""Many design points at once: what each asks but its lengths is resolved one by one, lengths and batches are arrays."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.cost.whatif import layout, stack
from gambrel.errors import PlanError, Problem
from gambrel.estimation.checks import WORKLOAD_RULES, fixed_problems
from gambrel.estimation.metrics import METRICS, PIECE_POINTS, metrics
from gambrel.estimation.points import DEGREES, LARGEST, LENGTHS, Plan, Points, Workload
from gambrel.estimation.resolve import open_microbatches, plan_numbers, resolve
from gambrel.estimation.variant import Structure, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.runtimes import load_engine

FORMAT_OPTIONS = ("weights", "experts", "activations", "kv")
PLAN_COUNTS = (*DEGREES, "prefill_chunk")
PLAN_NAMES = ("strategy", "placement", *FORMAT_OPTIONS, "engine")
QUESTION_COLUMNS = (*LENGTHS, "strategy", *PLAN_COUNTS, "placement", *FORMAT_OPTIONS, "engine")
"""What many points may vary."""

ANSWER_COLUMNS = ("devices", "status", *METRICS[:-2], "fits", *METRICS[-2:])
"""What they answer; `status` is `ok`, `does not fit`, or why the plan cannot run."""

COUNTS = frozenset((*LENGTHS, *PLAN_COUNTS, "devices"))
"""Columns of whole numbers."""

FLAGS = frozenset({"fits"})
"""Columns of yes and no."""

Flags = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """All that a design point asks, but its lengths.

    Attributes:
        device: The machine.
        devices: How many; None: what the degrees take.
        plan: As asked, open where nothing was said.
    """

    device: Device
    devices: int | None
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Design points as arrays that broadcast to one shape.

    Attributes:
        settings: The distinct ones.
        setting: Which of them the points have, along the first axis.
        lengths: Each of LENGTHS, as `counts` makes them, with as many axes as the shape.
    """

    settings: Sequence[Setting]
    setting: NDArray[np.intp]
    lengths: Mapping[str, Array]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all arrays together."""
        return np.broadcast_shapes(self.along_first(self.setting).shape, *(x.shape for x in self.lengths.values()))

    def along_first(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values of the rows of the first axis, with the axes of the shape."""
        return values.reshape((-1,) + (1,) * (next(iter(self.lengths.values())).ndim - 1))

    def spread(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values of the settings at the points that have them."""
        return self.along_first(values[self.setting])


class Words(NamedTuple):
    """A column of text: codes into its values, -1 where there is none."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The columns of many points.

    Attributes:
        shape: Of the points; every column broadcasts to it.
        columns: QUESTION_COLUMNS, with what was open filled in, and ANSWER_COLUMNS. Numbers are NaN where there is
            none; flags are 0 and 1.
    """

    shape: tuple[int, ...]
    columns: Mapping[str, Array | Words]


class _Settled(NamedTuple):
    """A setting with nothing left open but microbatches, which are those of an endless batch.

    Attributes:
        plan: Resolved, or as asked where that failed.
        structure: What has to be compiled; None where the plan cannot be resolved.
        problems: Why it cannot run, whatever the lengths.
    """

    plan: Plan
    structure: Structure | None
    problems: tuple[Problem, ...]


def counts(name: str, values: Sequence[object]) -> Array:
    """One of LENGTHS as an array.

    Raises:
        PlanError: A value is none that a workload can have.
    """
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        column = np.full(len(values), np.nan)
    bad = first_bad(name, column)
    if bad is not None:
        Workload(**{name: values[bad]})  # pyright: ignore[reportArgumentType]  (raises, and says what is wrong)
    return column


def first_bad(name: str, column: Array) -> int | None:
    """Where the first value stands that is no count; None where all are."""
    good = (column == np.floor(column)) & (column >= (0.0 if name == "prefix" else 1.0)) & (column <= LARGEST)
    return None if good.all() else int(np.argmin(good))


def answer(architecture: Architecture, asked: Asked, *, allow_unpriced: bool = False) -> Answers:
    """Evaluate design points; those of one structure (strategy, formats, axes in use) together.

    Args:
        architecture: The model.
        asked: The points.
        allow_unpriced: As in `estimate`.

    Raises:
        GambrelError: An op has no cost rule, or an engine is unknown. A point that cannot run has the reason as its
            status instead.
    """
    settled = [_settle(architecture, setting) for setting in asked.settings]
    points = _points(asked, settled)
    reasons = _reasons(architecture, asked, settled, points)
    stopped = reasons.codes >= 0
    out = {name: np.full(asked.shape, np.nan) for name in METRICS}
    capacity = asked.along_first(np.full(len(asked.setting), np.nan))
    for group in _groups(asked, settled):
        device = _stacked(asked, group.rows)
        variant = compile_variant(architecture, group.structure, allow_unpriced=allow_unpriced)
        part, engine = _cut(points, group.rows), load_engine(group.engine)
        for name, value in metrics(variant, device, rates_of(device), part, engine).items():
            out[name][group.rows] = value
        capacity[group.rows] = device.memory_bytes
    if stopped.any():
        for column in out.values():
            np.copyto(column, np.nan, where=stopped)
    fits = np.where(np.isnan(out["memory_bytes"]), np.nan, out["memory_bytes"] <= capacity)
    columns: dict[str, Array | Words] = {
        **_question_columns(asked, settled, points, stopped),
        "devices": np.where(stopped, np.nan, points.devices),
        "status": _status(fits, reasons),
        "fits": fits,
        **out,
    }
    return Answers(shape=asked.shape, columns={name: columns[name] for name in (*QUESTION_COLUMNS, *ANSWER_COLUMNS)})


def _settle(architecture: Architecture, setting: Setting) -> _Settled:
    try:
        resolved = resolve(architecture, setting.device, Workload(batch=LARGEST), setting.plan, setting.devices)
    except PlanError as error:
        return _Settled(setting.plan, None, error.problems)
    problems = fixed_problems(architecture, setting.device, resolved.plan, setting.devices)
    return _Settled(resolved.plan, resolved.structure, tuple(problems))


def _points(asked: Asked, settled: Sequence[_Settled]) -> Points:
    numbers = [plan_numbers(one.plan) for one in settled]
    columns = {name: asked.spread(np.array([each[name] for each in numbers])) for name in numbers[0]}
    if np.any(columns["pp"] > 1.0):
        parts = open_microbatches(columns["pp"], columns["dp"], asked.lengths["batch"])
        for name, value in parts.items():
            is_open = asked.spread(np.array([getattr(setting.plan, name) is None for setting in asked.settings]))
            columns[name] = np.where(is_open, value, columns[name])
    return Points.of(**asked.lengths, **columns)


def _reasons(architecture: Architecture, asked: Asked, settled: Sequence[_Settled], points: Points) -> Words:
    """Why points cannot run; -1 where they can. The codes have only the axes that decide it."""
    never = asked.spread(np.array([bool(one.problems) for one in settled]))
    broken = [rule.broken(architecture, points) for rule in WORKLOAD_RULES]
    stopped: Flags = reduce(np.logical_or, (flags for flags in broken if flags.any()), never)
    codes = np.full(stopped.shape, -1, dtype=np.int32)
    texts: dict[str, int] = {}
    plain = [_text(one.problems) for one in settled]
    for place in zip(*np.nonzero(stopped), strict=True):
        number = int(asked.setting[place[0]])
        one, text = settled[number], plain[number]
        rules = [rule for rule, flags in zip(WORKLOAD_RULES, broken, strict=True) if _at(flags, place)]
        if rules and one.structure is not None:
            workload = Workload(**{name: int(_at(values, place)) for name, values in asked.lengths.items()})
            text = _text((*one.problems, *(rule.problem(architecture, workload, one.plan) for rule in rules)))
        codes[place] = texts.setdefault(text, len(texts))
    return Words(codes, tuple(texts))


def _at(values: Array | Flags, place: tuple[np.intp, ...]) -> float:
    """A value at a place of a shape that it broadcasts to (or at the first of those that share it)."""
    own = place[len(place) - values.ndim :]
    return float(values[tuple(i if length > 1 else 0 for i, length in zip(own, values.shape, strict=True))])


def _text(problems: Sequence[Problem]) -> str:
    return "; ".join(f"{problem.where}: {problem.what}" for problem in problems)


Rows = slice | NDArray[np.intp]
"""Along the first axis; a slice where they follow each other."""


class _Group(NamedTuple):
    """Points that are evaluated together: their rows along the first axis."""

    structure: Structure
    engine: str
    rows: Rows


def _groups(asked: Asked, settled: Sequence[_Settled]) -> Iterator[_Group]:
    """Points of one structure, engine, number of stages and kind of machine.

    Small groups of several what-ifs on one machine are stacked; large ones gain nothing from that.
    """
    each = np.prod(asked.shape) / max(len(asked.settings), 1)
    devices = {id(setting.device): setting.device for setting in asked.settings}
    stacked = len(devices) > 1 and each < PIECE_POINTS
    first: dict[Hashable, int] = {}
    kinds = {
        machine: first.setdefault(layout(device), machine) if stacked else machine
        for machine, device in devices.items()
    }
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, (setting, one) in enumerate(zip(asked.settings, settled, strict=True)):
        if one.structure is not None and not one.problems:
            key = (one.structure, one.plan.engine, one.plan.pp, kinds[id(setting.device)])
            groups.setdefault(key, []).append(number)
    for numbers in groups.values():
        one = settled[numbers[0]]
        member = np.zeros(len(settled), dtype=np.bool_)
        member[numbers] = True
        rows = member[asked.setting]
        if one.structure is not None and rows.any():
            yield _Group(one.structure, one.plan.engine, _rows(rows))


def _rows(member: Flags) -> Rows:
    rows = np.flatnonzero(member)
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _stacked(asked: Asked, rows: Rows) -> Device:
    """The machine of some rows: one, or several what-ifs on it as arrays along the first axis."""
    numbers, index = np.unique(asked.setting[rows], return_inverse=True)
    devices = [asked.settings[int(number)].device for number in numbers]
    distinct = {id(device): device for device in devices}
    places = {machine: place for place, machine in enumerate(distinct)}
    own = np.array([places[id(device)] for device in devices], dtype=np.intp)
    return stack(list(distinct.values()), asked.along_first(own[index]))


def _cut(points: Points, rows: Rows) -> Points:
    columns: dict[str, Array] = {field.name: getattr(points, field.name) for field in fields(points)}
    return Points.of(**{name: x[rows] if x.ndim and x.shape[0] > 1 else x for name, x in columns.items()})


def _question_columns(
    asked: Asked, settled: Sequence[_Settled], points: Points, stopped: Flags
) -> dict[str, Array | Words]:
    """What was asked, and what filled the gaps of points that can run."""
    out: dict[str, Array | Words] = dict(asked.lengths)
    for name in PLAN_COUNTS:
        values = [getattr(setting.plan, name) for setting in asked.settings]
        given = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        column = asked.spread(given)
        if name in DEGREES and None in values:
            column = np.where(np.isnan(column) & ~stopped, getattr(points, name), column)
        out[name] = column
    for name in PLAN_NAMES:
        given = [getattr(setting.plan, name) for setting in asked.settings]
        filled = [getattr(one.plan, name) if text is None else text for text, one in zip(given, settled, strict=True)]
        texts: dict[str, int] = {}
        codes = asked.spread(np.array([_code(texts, text) for text in filled], dtype=np.int32))
        if None in given:
            unsaid = asked.spread(np.array([text is None for text in given]))
            codes = np.where(unsaid & stopped, np.int32(-1), codes)
        out[name] = Words(codes, tuple(texts))
    return out


def _code(texts: dict[str, int], text: str | None) -> int:
    return -1 if text is None else texts.setdefault(text, len(texts))


def _status(fits: Array, reasons: Words) -> Words:
    codes = np.where(fits == 1.0, np.int32(0), np.int32(1))
    if reasons.values:
        codes = np.where(reasons.codes >= 0, reasons.codes + np.int32(2), codes)
    return Words(codes, ("ok", "does not fit", *reasons.values))
