"""Estimates beside measured tables: errors, bias and coverage by family, operation, device and number format."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

from gambrel.calibration.columns import Array, Mask, Table, column_names, raw_column, to_text
from gambrel.calibration.operation import Call, Group, Operation, fold, held_out, scored_fold
from gambrel.calibration.predict import answer_call, build, with_rate
from gambrel.calibration.tables import read_table
from gambrel.calibration.transfer import without_own_fit
from gambrel.cost.roofline import roofline
from gambrel.errors import GambrelError, ProfileError, UnpricedOpError
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

FITTED_SOURCES = ("aiconfigurator", "aisimulate", "vidur", "ascend", "neusight", "llmcompassplus")
"""What the names of sources begin with whose rows shipped parameters were fitted on."""

NO_PROFILE = "no profile"
"""Grade of rows of a device that no profile describes."""

NO_ENGINE = "no engine"
"""Grade of rows of an operation that no engine prices."""

INCOMPLETE = "incomplete row"
"""Grade of rows that lack a column or hold a value that is no size."""

NO_RATE = "not supported"
"""Grade of rows that the device's profile cannot run: no such rate, no link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of one operation on one device in one format; fractions, None where nothing was answered.

    Attributes:
        family: The measured table.
        op: Which of its operations; `gemm@vllm` where libraries are told apart.
        device: As the table names it.
        dtype: As the table names it.
        grade: How well the parameters are known, or why there is no answer.
        n: Scored rows.
        answered: Share of them that got an estimate.
        mape, median, p90: Absolute relative error.
        bias: Geometric mean of estimate over measurement, minus one.
        coverage95: Share of the measurements inside the 95 % interval, of those that did not shape it.
        roofline_mape: The same mean for plain roofline.
    """

    family: str
    op: str
    device: str
    dtype: str
    grade: str
    n: int
    answered: float
    mape: float | None = None
    median: float | None = None
    p90: float | None = None
    bias: float | None = None
    coverage95: float | None = None
    roofline_mape: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is scored.

    Attributes:
        device: Only rows of this device; all where empty.
        op: Only this operation; all where empty.
        all_rows: Also the sites that parameters were fitted on.
        leave_out_device: Price each device without what was fitted on it.
        by_library: A record for each library.
    """

    device: str = ""
    op: str = ""
    all_rows: bool = False
    leave_out_device: bool = False
    by_library: bool = False


class Comparison(NamedTuple):
    """Measured rows beside their estimates; arrays of one length.

    Attributes:
        unseen: Rows that did not shape the interval.
    """

    measured: Array
    seconds: Array
    lower: Array
    upper: Array
    plain: Array
    unseen: Mask


class Key(NamedTuple):
    """What a score is of."""

    family: str
    op: str
    device: str
    dtype: str
    grade: str


@dataclass(slots=True)
class Tally:
    """What is collected for one score: comparisons, or a count of rows without an answer."""

    comparisons: list[Comparison] = field(default_factory=list[Comparison])
    silent: int = 0


def score_table(operation: Operation, table: Table, options: Options) -> list[Score]:
    """Scores a measured table.

    Args:
        operation: What its rows are.
        table: The operation's columns, and `device`, `latency_us` in us, and maybe `source`.
        options: What to score.

    Returns:
        One score for each operation, device, format and grade that occurs, in the order of the table's devices; also
        for those that got no answer, so that nothing that was measured is left out silently.
    """
    tallies: dict[Key, Tally] = {}
    for key, tally in compare_table(operation, table, options):
        into = tallies.setdefault(key, Tally())
        into.comparisons += tally.comparisons
        into.silent += tally.silent
    return [score for key, tally in tallies.items() if (score := summary(key, tally)).n]


def compare_table(operation: Operation, table: Table, options: Options) -> Iterator[tuple[Key, Tally]]:
    """The comparisons of a table, call by call."""
    names = set(column_names(table))
    read = read_table(operation, table)
    measured = read.rows.numbers["latency_us"] * 1e-6
    valid = read.valid & (measured > 0)
    devices = to_text(raw_column(table, "device")) if "device" in names else to_text([""] * read.rows.length)
    for number, device in enumerate(devices.values):
        if options.device and options.device not in (device, profile_of(device)):
            continue
        mine = devices.codes == number
        broken = int(np.count_nonzero(mine & ~valid))
        if broken:
            yield Key(operation.name, operation.name, device, "", INCOMPLETE), Tally(silent=broken)
        index = np.flatnonzero(mine & valid)
        for group in operation.groups(read.rows.take(index)):
            op = f"{group.op}@{group.library}" if options.by_library and group.library else group.op
            if options.op and options.op not in (operation.name, group.op, f"{operation.name} {group.op}"):
                continue
            y = measured[index][group.where]
            grade, found = compare(operation, group, device, y, options)
            tally = Tally(silent=len(y)) if found is None else Tally(comparisons=[found])
            yield Key(operation.name, op, device, group.dtype, grade), tally


def compare(
    operation: Operation, group: Group, device: str, measured: Array, options: Options
) -> tuple[str, Comparison | None]:
    """The grade of a call and its rows that count, or why there is no answer."""
    try:
        machine = machine_of(device, leave_out=options.leave_out_device)
        call = build(operation, group.rows)
        answer = answer_call(call, machine)
        plain = roofline_seconds(call, machine)
    except ProfileError:
        return NO_PROFILE, None
    except UnpricedOpError:
        return NO_ENGINE, None
    except GambrelError:
        return NO_RATE, None
    folds = fold(operation.sites(group.rows))
    shaping = _is_fitted_source(group)
    counts = ~shaping | held_out(folds) | (answer.grade == "datasheet") | options.all_rows
    arrays = np.broadcast_arrays(measured, answer.seconds, answer.lower_s, answer.upper_s, plain)
    y, seconds, lower, upper, floor = (values[counts] for values in arrays)
    return answer.grade, Comparison(y, seconds, lower, upper, floor, (~shaping | scored_fold(folds))[counts])


def _is_fitted_source(group: Group) -> Mask:
    """Rows whose source is one that shipped parameters and intervals come from."""
    codes, values = group.rows.texts["source"]
    fitted = np.array([*(value.startswith(FITTED_SOURCES) for value in values), False], dtype=np.bool_)
    return fitted[codes]


def roofline_seconds(call: Call, device: Device) -> Array:
    """Plain roofline of all kernels of a call."""
    total = np.asarray(0.0)
    for kernel in call.kernels:
        total = total + roofline(with_rate(kernel, device), device).seconds
    return total


@cache
def machine_of(name: str, *, leave_out: bool = False) -> Device:
    """The device of a name in the tables, or of a profile.

    Raises:
        ProfileError: No profile has the name or alias.
    """
    return without_own_fit(name) if leave_out else load_device(name)


def profile_of(name: str) -> str:
    """The profile of a name in the tables; empty where none describes it."""
    try:
        return machine_of(name).name
    except ProfileError:
        return ""


def summary(key: Key, tally: Tally) -> Score:
    """The errors of what was collected for one key."""
    if not tally.comparisons:
        return Score(**key._asdict(), n=tally.silent, answered=0.0)
    y, seconds, lower, upper, plain, unseen = (np.concatenate(parts) for parts in zip(*tally.comparisons, strict=True))
    count = len(y)
    if not count:
        return Score(**key._asdict(), n=tally.silent, answered=0.0)
    errors = np.abs(seconds / y - 1.0)
    inside = (y >= lower) & (y <= upper)
    return Score(
        **key._asdict(),
        n=count + tally.silent,
        answered=count / (count + tally.silent),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        bias=float(np.expm1(np.log(seconds / y).mean())),
        coverage95=float(inside[unseen].mean()) if unseen.any() else None,
        roofline_mape=float(np.abs(plain / y - 1.0).mean()),
    )


Report = Callable[[str], None]
"""Where progress goes."""


def mean_by(scores: Iterable[Score], *names: str) -> dict[tuple[str, ...], tuple[int, float, float]]:
    """Rows, and row-weighted mean errors of estimate and roofline, of the answered scores that share some fields."""
    sums: dict[tuple[str, ...], list[float]] = {}
    for score in scores:
        if score.mape is None or score.roofline_mape is None:
            continue
        rows = score.n * score.answered
        total = sums.setdefault(tuple(str(getattr(score, name)) for name in names), [0.0, 0.0, 0.0])
        total[0] += rows
        total[1] += rows * score.mape
        total[2] += rows * score.roofline_mape
    return {key: (round(n), ours / n, plain / n) for key, (n, ours, plain) in sums.items()}
