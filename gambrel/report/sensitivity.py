"""What an estimate depends on, for the terminal."""

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from gambrel.report.blocks import bar, grid, heading
from gambrel.report.question import question_lines
from gambrel.search.sensitivity import Sensitivity
from gambrel.units import format_quantity

_NOT_SHOWN_BELOW = 0.0005
"""Elasticities that would print as zero are left out."""

FIXED = "fixed times of kernels and host"


def sensitivity_report(found: Sensitivity) -> list[RenderableType]:
    """The numbers of the device, then the counts of the workload, the largest effect first."""
    value = format_quantity(found.value, found.unit)
    fits = [] if found.fits else [Text("DOES NOT FIT the memory: times are those that it would take", style="bold red")]
    return [
        *question_lines(found),
        *fits,
        *_numbers(found, f"{found.title} {value}: what 1 % more of each number of the device changes"),
        *_kinks(found),
        *_counts(found),
    ]


def _numbers(found: Sensitivity, title: str) -> Iterator[RenderableType]:
    rows = [(each.title, format_quantity(each.value, each.unit), each.elasticity) for each in found.numbers]
    if abs(found.fixed) > _NOT_SHOWN_BELOW:
        rows.append((FIXED, "", found.fixed))
    rows = sorted((row for row in rows if abs(row[2]) >= _NOT_SHOWN_BELOW), key=lambda row: -abs(row[2]))
    yield heading(title)
    if not rows:
        yield Text("nothing")
        return
    cells = [(name, today, _percent(elasticity), bar(abs(elasticity))) for name, today, elasticity in rows]
    yield grid(cells, right=(1, 2))


def _kinks(found: Sensitivity) -> Iterator[RenderableType]:
    """Where a little less and a little more of a number are not the same."""
    for each in found.numbers:
        if each.left is not None and each.right is not None:
            yield Text(f"{each.title}: {_side(each.left)} just below today's, {_side(each.right)} just above")


def _side(elasticity: float) -> str:
    return "a jump" if math.isnan(elasticity) else _percent(elasticity)


def _counts(found: Sensitivity) -> Iterator[RenderableType]:
    yield heading(f"{found.title} with half and with twice the counts of the workload")
    rows = [
        (
            each.title,
            f"{each.value}",
            "-" if each.value == 1 else _change(each.half),
            _change(each.twice),
            _percent(each.elasticity),
        )
        for each in found.counts
    ]
    yield grid(rows, right=range(1, 5), head=("", "now", "half", "twice", "mean of 1 %"))


def _change(factor: float | None) -> str:
    return "cannot run" if factor is None else f"{100.0 * (factor - 1.0):+.1f} %"


def _percent(elasticity: float) -> str:
    return f"{elasticity:+.3f} %"
