"""The results of the benchmark of grades as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.accuracy.grade_cells import COLUMNS
from benchmarks.accuracy.grade_rows import SetError

DATACENTRE = ("a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm")
"""Devices of the first mean, today's of large servers; a second one is over all that a table has."""

SERVED = {"gemm": ("gemm_bf16", "gemm_fp8", "gemm_nvfp4")}
"""Sets of a table that large models are served with, in any library: they get means of their own."""

TITLES = {
    "new": "no data of the device",
    "random": "20 rows a set, random",
    "spread": "20 rows a set, spread",
    "tenth": "10 % of the rows",
    "shipped": "shipped",
    "roofline": "roofline",
}
"""What the columns are called."""

TEXT = """\
## By what is known of the device

Written by `python -m benchmarks.accuracy.grades --write`. Mean absolute error in percent of the measured time, all
columns on the same rows: those of the shape sites that nothing is ever fitted on (the odd half of a hash of the site).

- *No data of the device*: H100 and H200 have the parameters that are fitted on the other of the two alone; all others
  have the engine's defaults. Fits on a sibling see at most 120 rows of each kind of call.
- *20 rows a set*: from there, `gambrel.calibration.calibrate` on 20 rows of each set of parameters, which is a number
  format or kernel class of one library (`gemm_fp8@vllm`). Drawn at random with a fixed seed, or *spread*: each the
  farthest from those before it in the logarithms of its sizes, as one would lay out a measurement. Where the other half
  of the sites holds fewer, all of them; a family needs 20 rows, the set of one library 10.
- *10 % of the rows* of each set, 20 at least, at random; a fit sees at most 1,200.
- *Shipped*: the parameters of the profile, fitted on all rows of the other half of the sites.

What no column protects from: the forms themselves, and the engine's defaults, were made with these devices' tables in
view.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One table on one device: by column, the errors of each set of parameters."""

    table: str
    device: str
    columns: Mapping[str, Sequence[SetError]]

    @property
    def rows(self) -> int:
        """Scored rows."""
        return sum(each.rows for each in self.columns["new"])

    def error(self, column: str) -> float:
        """Mean over all rows, a fraction."""
        return sum(each.rows * each.error for each in self.columns[column]) / self.rows

    def only(self, families: Sequence[str]) -> Cell:
        """The sets of some families, in any library."""
        kept = {
            column: [each for each in sets if each.name.partition("@")[0] in families]
            for column, sets in self.columns.items()
        }
        return replace(self, columns=kept)


def table_lines(cells: Sequence[Cell], titles: Mapping[str, str]) -> list[str]:
    """A line for each family and device, and one for its mean over the datacentre devices."""
    head = ["kernels", "device", "rows", *(TITLES[column] for column in COLUMNS)]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    for table, title in titles.items():
        mine = [cell for cell in cells if cell.table == table]
        lines += [_line(title, x.device, x.rows, [x.error(column) for column in COLUMNS]) for x in mine]
        some = [cell for cell in mine if cell.device in DATACENTRE]
        lines += _mean(title, "datacentre", some)
        served = [cell.only(SERVED[table]) for cell in some] if table in SERVED else []
        lines += _mean(f"{title} in bf16, fp8 and nvfp4", "datacentre", served)
        lines += _mean(title, "all devices", mine) if len(mine) > len(some) else []
    return lines


def _mean(title: str, where: str, cells: Sequence[Cell]) -> list[str]:
    """A line with the means over devices; none for less than two."""
    if len(cells) < 2:
        return []
    means = [float(np.mean([cell.error(column) for cell in cells])) for column in COLUMNS]
    return [_line(f"**{title}**", f"**{where}**", sum(cell.rows for cell in cells), means)]


def set_lines(cells: Sequence[Cell]) -> list[str]:
    """A line for each set of parameters of each cell."""
    lines: list[str] = []
    for cell in cells:
        by_name = {column: {each.name: each for each in cell.columns[column]} for column in COLUMNS}
        for name, first in by_name["new"].items():
            errors = [by_name[column][name].error for column in COLUMNS]
            lines.append(_line(name, cell.device, first.rows, errors))
    return lines


def _line(title: str, device: str, rows: int, errors: Sequence[float]) -> str:
    return f"| {title} | {device} | {rows:,} | {' | '.join(f'{100 * error:.1f}' for error in errors)} |"


def section(cells: Sequence[Cell], titles: Mapping[str, str]) -> str:
    """The section of RESULTS.md."""
    return "\n".join([TEXT, *table_lines(cells, titles)])
