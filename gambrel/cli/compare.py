"""`gambrel compare`: what changed between two sweeps, or between two estimates."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gambrel.cli.output import print_json, print_table
from gambrel.errors import Problem, UsageError

if TYPE_CHECKING:
    from gambrel.search.axes import Cell
    from gambrel.search.compare import Comparison, MetricChange

SHOWN = ("ttft_s", "tpot_s", "memory_bytes")
"""Metrics whose largest changes are shown; JSON has those of all."""

MOST_VALUES = 8
"""Values of a column that are listed."""


def compare(a: Path, b: Path, /, *, format: Literal["text", "json"] = "text") -> None:
    """Compare two sweeps, or two estimates, row by row.

    Rows are joined by what varies on either side. What all rows of a side share, such as the machine or the version,
    may differ: it is listed. Ratios are b / a.

    Args:
        a: A folder that `gambrel sweep` wrote, or a file that `gambrel estimate --format json` printed.
        b: Another of that kind.
        format: Tables for people, or JSON.

    Raises:
        UsageError: One cannot be read, or no row of one asks what a row of the other does.
    """
    from gambrel.search.compare import compare as compare_two

    found = compare_two(a, b)
    if not found.common:
        raise UsageError(_nothing_in_common(found))
    if format == "json":
        print_json(found.to_dict())
        return
    for line in _head(found):
        print(line)
    changed = [metric for metric in found.metrics if metric.changed]
    if not changed:
        print("\nno metric changed")
        return
    print()
    columns = ("b / a", ">rows", ">changed", ">median", ">5 %", ">95 %")
    print_table(columns, [_cells(metric) for metric in found.metrics if metric.rows])
    for metric in changed:
        if metric.metric in SHOWN and metric.rows > 1:
            print(f"\nlargest changes of {metric.metric}")
            for change in metric.largest:
                point = ", ".join(f"{name} {_plain(value)}" for name, value in change.point.items())
                print(f"  {_ratio(change.ratio)}: {change.a:.4g} -> {change.b:.4g} at {point}")


def _nothing_in_common(found: "Comparison") -> Problem:
    """Where two tables are apart: columns of which they share no value."""
    why = "; ".join(
        f"{each.column} is {_values(each.a)} there, {_values(each.b)} here" for each in found.only if each.a and each.b
    )
    fix = "Compare sweeps whose lists share values in every column"
    return Problem(where=found.b, what=f"has no row in common with {found.a}", why=why, fix=fix)


def _head(found: "Comparison") -> Iterator[str]:
    for side, where, rows in (("a", found.a, found.rows_a), ("b", found.b, found.rows_b)):
        yield f"{side}: {where}, {rows:,} row{'' if rows == 1 else 's'}"
    for difference in found.differences:
        yield f"{difference.what}: {_plain(difference.a)} -> {_plain(difference.b)}"
    yield f"{found.common:,} rows in both, {found.only_a:,} only in a, {found.only_b:,} only in b"
    for each in found.only:
        for side, values in (("a", each.a), ("b", each.b)):
            if values:
                yield f"{each.column} only in {side}: {_values(values)}"
    for change, rows in found.statuses.items():
        yield f"{change}: {rows:,} rows"


def _values(values: "Sequence[Cell]") -> str:
    shown = ", ".join(map(_plain, values[:MOST_VALUES]))
    return f"{shown}{', ...' if len(values) > MOST_VALUES else ''}"


def _cells(metric: "MetricChange") -> tuple[str, ...]:
    numbers = (metric.median, metric.p5, metric.p95)
    return (metric.metric, f"{metric.rows:,}", f"{metric.changed:,}", *map(_ratio, numbers))


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if 0.01 <= value < 100 else f"{value:.3g}"


def _plain(value: "Cell | object") -> str:
    return "default" if value is None else str(value)
