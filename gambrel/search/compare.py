"""What changed between two sweeps, or between two estimates."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from gambrel.errors import Problem, UsageError
from gambrel.estimation.metrics import METRICS
from gambrel.search.axes import Cell
from gambrel.search.join import STATUSES, Difference, Joined, OnlyIn, Record, join_records, join_runs
from gambrel.search.ratios import RatioCount
from gambrel.search.runs import read_run

_FIX = "Give a folder of `gambrel sweep`, or a file that `gambrel estimate --format json` printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeChange:
    """A row that changed much.

    Attributes:
        point: What it asks, where rows differ in it.
        a, b: Its values.
        ratio: b / a.
    """

    point: Mapping[str, Cell]
    a: float
    b: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """How one metric changed, as ratios b / a.

    Attributes:
        metric: Its column.
        rows: Common rows where both sides have a positive number.
        changed: Of these, the rows where they differ by more than rounding.
        median, p5, p95, least, most: Of the ratios; None without rows.
        exact: Whether the quantiles are exact; of more than a million rows they are to within 1e-4 of themselves.
        largest: The rows that changed by the largest factors.
    """

    metric: str
    rows: int
    changed: int
    median: float | None
    p5: float | None
    p95: float | None
    least: float | None
    most: float | None
    exact: bool
    largest: Sequence[LargeChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides, joined by what their rows ask.

    Attributes:
        a, b: Where they are from.
        differences: What all rows of a side share, and the other side has otherwise: machine, version, profile, ...
        rows_a, rows_b: Rows of each.
        common: Rows that both have.
        only: Values of columns that only one side has.
        statuses: Common rows by status on either side, where it differs: `{"ok -> does not fit": 12}`.
        metrics: By metric.
    """

    a: str
    b: str
    differences: Sequence[Difference]
    rows_a: int
    rows_b: int
    common: int
    only: Sequence[OnlyIn]
    statuses: Mapping[str, int]
    metrics: Sequence[MetricChange]

    @property
    def only_a(self) -> int:
        """Rows that only the first side has."""
        return self.rows_a - self.common

    @property
    def only_b(self) -> int:
        """Rows that only the second side has."""
        return self.rows_b - self.common

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "a": self.a,
            "b": self.b,
            "differences": [each._asdict() for each in self.differences],
            "rows": {
                "a": self.rows_a,
                "b": self.rows_b,
                "common": self.common,
                "only_a": self.only_a,
                "only_b": self.only_b,
            },
            "only": [each._asdict() for each in self.only],
            "statuses": self.statuses,
            "metrics": self.metrics,
        }


def compare(a: str | Path, b: str | Path) -> Comparison:
    """Compare two folders of sweeps, or two files that `gambrel estimate --format json` printed.

    Rows are joined by the columns that vary on either side; what is the same in all rows of a side, and differs between
    the sides, is a difference and not a key: sweeps of two machines, or of two versions, are compared row by row.

    Args:
        a: The one.
        b: The other; ratios are b / a.

    Raises:
        UsageError: One is neither, an unfinished sweep, or not of the same kind as the other.
    """
    first, second = Path(a), Path(b)
    missing = [path for path in (first, second) if not path.exists()]
    if missing:
        raise UsageError(*(Problem(where=str(path), what="does not exist", fix=_FIX) for path in missing))
    if first.is_dir() and second.is_dir():
        joined, more = join_runs(read_run(first), read_run(second)), list[Difference]()
    elif first.is_dir() or second.is_dir():
        what = f"{first} and {second} are a folder and a file"
        raise UsageError(Problem(where="compare", what=what, fix="Give two folders of sweeps, or two JSON files"))
    else:
        (rows_a, facts_a), (rows_b, facts_b) = _read(first), _read(second)
        joined = join_records(rows_a, rows_b)
        facts = {name: (facts_a[name], facts_b[name]) for name in facts_a.keys() & facts_b.keys()}
        more = [Difference(name, *values) for name, values in sorted(facts.items()) if values[0] != values[1]]
    return _compared(str(a), str(b), joined, more)


def _compared(a: str, b: str, joined: Joined, more: Sequence[Difference]) -> Comparison:
    counts = {metric: RatioCount() for metric in METRICS}
    statuses: dict[str, int] = {}
    for pairs in joined.pairs:
        moved = pairs.a.status != pairs.b.status
        codes = pairs.a.status[moved].astype(np.int64) * len(STATUSES) + pairs.b.status[moved]
        for code, rows in zip(*np.unique(codes, return_counts=True), strict=True):
            before, after = divmod(int(code), len(STATUSES))
            name = f"{STATUSES[before]} -> {STATUSES[after]}"
            statuses[name] = statuses.get(name, 0) + int(rows)
        for metric, count in counts.items():
            count.add(pairs.a.metrics[metric], pairs.b.metrics[metric], pairs.rows)
    return Comparison(
        a=a,
        b=b,
        differences=[*joined.differences, *more],
        rows_a=joined.rows_a,
        rows_b=joined.rows_b,
        common=joined.common,
        only=joined.only,
        statuses=statuses,
        metrics=[_metric(metric, count, joined) for metric, count in counts.items()],
    )


def _metric(metric: str, count: RatioCount, joined: Joined) -> MetricChange:
    found = count.result()

    def known(value: float) -> float | None:
        return value if found.rows else None

    return MetricChange(
        metric=metric,
        rows=found.rows,
        changed=found.changed,
        median=known(found.median),
        p5=known(found.p5),
        p95=known(found.p95),
        least=known(found.least),
        most=known(found.most),
        exact=found.exact,
        largest=[LargeChange(point=joined.point(x.row), a=x.a, b=x.b, ratio=x.b / x.a) for x in found.largest],
    )


def _read(path: Path) -> tuple[list[Record], Record]:
    """The rows of a JSON file, and what it says of all of them.

    Raises:
        UsageError: It cannot be read, or holds something else.
    """
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return _estimate(cast(Record, value))
        rows = cast("list[Record]", value)
        if not rows or not all("status" in row and "latency_s" in row for row in rows):
            raise KeyError("latency_s")
        return rows, {}
    except OSError as error:
        raise UsageError(Problem(where=str(path), what=f"cannot be read: {error.strerror or error}")) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(Problem(where=str(path), what="holds no estimates", fix=_FIX)) from None


def _estimate(value: Record) -> tuple[list[Record], Record]:
    """One estimate as a row, and its provenance."""
    memory, prefill = cast(Record, value["memory"]), cast(Record, value["prefill"])
    decode = cast("Record | None", value["decode"])
    row = {
        **{name: value[name] for name in ("model", "devices")},
        **cast(Record, value["workload"]),
        **cast(Record, value["plan"]),
        **{name: value[name] for name in METRICS if name in value},
        "status": "ok" if memory["fits"] else "does not fit",
        "memory_bytes": memory["total_bytes"],
        "prefill_mfu": prefill["mfu"],
        "decode_mbu": None if decode is None else decode["mbu"],
    }
    provenance = cast(Record, value["provenance"])
    names = ("profile", "profile_hash", "overrides", "version", "lower_bound")
    return [row], {name: provenance[name] for name in names}
