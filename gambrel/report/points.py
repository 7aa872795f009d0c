"""The plans of a report: which run, which are beaten by none of the others, and a fair sample of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gambrel.errors import Problem, UsageError
from gambrel.estimation.many import ANSWER_COLUMNS, QUESTION_COLUMNS
from gambrel.estimation.table import Cell, EstimateTable
from gambrel.search.front import front
from gambrel.units import Dimension, format_quantity

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST_ROWS = 2000
"""Plans beside the front that a page holds; more make it slow, and show no more."""

SHOWN_ANSWERS: Mapping[str, tuple[str, Dimension]] = {
    "ttft_s": ("TTFT", "s"),
    "tpot_s": ("TPOT", "s"),
    "tokens_per_s": ("tokens/s", "count"),
    "tokens_per_s_per_device": ("tokens/s/device", "count"),
    "memory_bytes": ("memory", "B"),
    "energy_per_token_j": ("per token", "J"),
    "usd_per_million_tokens": ("USD/M tokens", "count"),
}
"""Answers as people call them, and what they measure."""


class Source(Protocol):
    """A table of plans with their answers, column by column."""

    def __len__(self) -> int:
        """How many plans."""
        ...

    def numbers(self, name: str) -> Array:
        """A column of numbers, NaN where there is none; all NaN where the table lacks it."""
        ...

    def is_status(self, status: str) -> Flags:
        """Which plans have a status: `ok`, `does not fit`, or why they cannot run."""
        ...

    def records(self, numbers: Sequence[int]) -> list[Mapping[str, Cell]]:
        """All columns of some plans."""
        ...


class TableSource:
    """The plans of a table in memory, all of one machine."""

    def __init__(self, table: EstimateTable, machine: str) -> None:
        """Keep the columns.

        Args:
            table: The plans.
            machine: Name of the profile that they are for.
        """
        self.columns: Mapping[str, Sequence[Cell]] = {**table.columns, "machine": [machine] * len(table)}

    def __len__(self) -> int:
        return len(self.columns["status"])

    def numbers(self, name: str) -> Array:
        """As in Source."""
        cells = self.columns.get(name, ())
        known = [float(cell) if isinstance(cell, int | float) else np.nan for cell in cells]
        return np.asarray(known or [np.nan] * len(self), dtype=np.float64)

    def is_status(self, status: str) -> Flags:
        """As in Source."""
        return np.array([cell == status for cell in self.columns["status"]], dtype=np.bool_)

    def records(self, numbers: Sequence[int]) -> list[Mapping[str, Cell]]:
        """As in Source."""
        return [{name: cells[number] for name, cells in self.columns.items()} for number in numbers]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One plan.

    Attributes:
        number: Of its row in the whole table, from 0.
        cells: Its columns.
        per_user: Output tokens per second that a user sees, `1 / TPOT`; NaN where it cannot run.
        per_device: Output tokens per second of one device.
        fits: Whether it runs and fits.
        on_front: Whether no other plan is at least as good in both and better in one.
        text: What a picture says of it, as HTML.
    """

    number: int
    cells: Mapping[str, Cell]
    per_user: float
    per_device: float
    fits: bool
    on_front: bool
    text: str

    @property
    def machine(self) -> str:
        """Name of its machine's profile."""
        return str(self.cells["machine"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPoints:
    """The plans that a page shows.

    Attributes:
        rows: The front and the others, in the order of the table.
        varied: Question columns in which they differ.
        total: Plans of the table for the lengths of the detailed one.
        too_big: Of them, those that lack memory.
        cannot_run: Of them, those that break a rule.
        elsewhere: Plans of the table for other lengths.
        detailed: Number of the plan that the page details.
        by_tpot: Whether `per_user` is `1 / TPOT`; else, where no plan has one, it is `1 / latency`.
    """

    rows: Sequence[PlanRow]
    varied: Sequence[str]
    total: int
    too_big: int
    cannot_run: int
    elsewhere: int
    detailed: int
    by_tpot: bool

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines of the rows."""
        return tuple(dict.fromkeys(row.machine for row in self.rows))

    @property
    def per_user_title(self) -> str:
        """What `per_user` is."""
        return "output tokens/s for a user (1 / TPOT)" if self.by_tpot else "requests/s of a user (1 / latency)"

    @property
    def counts_text(self) -> str:
        """How many plans there are, run, and are shown."""
        fitting = self.total - self.too_big - self.cannot_run
        shown = sum(row.fits for row in self.rows)
        front = sum(row.on_front for row in self.rows)
        text = f"{self.total:,} plans: {fitting:,} fit, {self.too_big:,} lack memory, {self.cannot_run:,} cannot run."
        if shown < fitting:
            text += f" Shown are all {front:,} of the front, and {shown - front:,} of the others, drawn at random."
        if self.elsewhere:
            text += f" {self.elsewhere:,} others are for other lengths, and not shown."
        return text


def plan_points(source: Source, detailed: int | None = None) -> PlanPoints:
    """Choose what a page shows of a table: plans for the same lengths, as others cannot be compared.

    Args:
        source: All plans.
        detailed: Number of the plan to detail; None takes the one with the largest product of both speeds, or where
            none fits the one that needs the least memory, for the lengths of the first plan that runs.

    Raises:
        UsageError: There are no plans, none can run, or the one to detail is not there or cannot run.
    """
    if not len(source):
        raise UsageError(Problem(where="report", what="there are no plans"))
    ok, lacking = source.is_status("ok"), source.is_status("does not fit")
    here = _same_lengths(source, _reference(source, detailed, ok, lacking))
    fits, too_big = ok & here, lacking & here
    tpot = source.numbers("tpot_s")
    by_tpot = bool(np.any(np.isfinite(tpot[here])))
    speeds = _Speeds(
        1.0 / (tpot if by_tpot else source.numbers("latency_s")), source.numbers("tokens_per_s_per_device")
    )
    best = np.zeros(len(source), dtype=np.bool_)
    best[front(np.stack([np.where(fits, speeds.per_user, np.nan), speeds.per_device], axis=1))] = True
    chosen = detailed
    if chosen is None and np.any(fits):
        chosen = int(np.argmax(np.where(fits, speeds.per_user * speeds.per_device, -np.inf)))
    elif chosen is None:
        chosen = int(np.argmin(np.where(too_big, source.numbers("memory_bytes"), np.inf)))
    rows, varied = _rows(source, _kept(here, fits, best, chosen), speeds, fits, best)
    total, lack = int(np.count_nonzero(here)), int(np.count_nonzero(too_big))
    return PlanPoints(
        rows=rows,
        varied=varied,
        total=total,
        too_big=lack,
        cannot_run=total - lack - int(np.count_nonzero(fits)),
        elsewhere=len(source) - total,
        detailed=chosen,
        by_tpot=by_tpot,
    )


class _Speeds(NamedTuple):
    """What a user sees, and what a device yields, of every plan."""

    per_user: Array
    per_device: Array


def _rows(
    source: Source, kept: Sequence[int], speeds: _Speeds, fits: Flags, best: Flags
) -> tuple[list[PlanRow], list[str]]:
    """The rows of some plans, and the questions in which they differ."""
    records = source.records(kept)
    varied = _varied(records)
    rows = [
        PlanRow(
            number=number,
            cells=cells,
            per_user=float(speeds.per_user[number]),
            per_device=float(speeds.per_device[number]),
            fits=bool(fits[number]),
            on_front=bool(best[number]),
            text=_text(number, cells, varied),
        )
        for number, cells in zip(kept, records, strict=True)
    ]
    return rows, varied


def _reference(source: Source, asked: int | None, ok: Flags, lacking: Flags) -> int:
    """The plan that is asked for, else the first that fits, else the first that would with more memory."""
    if asked is None:
        runs = ok if np.any(ok) else lacking
        if not np.any(runs):
            raise UsageError(Problem(where="report", what="no plan can run", why=str(source.records([0])[0]["status"])))
        return int(np.argmax(runs))
    if not 0 <= asked < len(ok):
        raise UsageError(Problem(where="--row", what=f"there is no plan {asked}", fix=f"Give 0 to {len(ok) - 1}"))
    if not (ok[asked] or lacking[asked]):
        reason = str(source.records([asked])[0]["status"])
        raise UsageError(Problem(where="--row", what=f"plan {asked} cannot run", why=reason))
    return asked


def _same_lengths(source: Source, reference: int) -> Flags:
    """Plans for prompts and outputs as long as those of one of them."""
    out = np.ones(len(source), dtype=np.bool_)
    for name in ("isl", "osl", "prefix"):
        column = source.numbers(name)
        if np.isfinite(column[reference]):
            out &= column == column[reference]
    return out


def _kept(here: Flags, fits: Flags, best: Flags, chosen: int) -> list[int]:
    """All plans where these are few, else the front, the chosen one, and as many of the others that fit as may be."""
    if np.count_nonzero(here) <= MOST_ROWS:
        return np.flatnonzero(here).tolist()
    must = best.copy()
    must[chosen] = True
    others = np.flatnonzero(fits & ~must)
    if len(others) > MOST_ROWS:
        # Always the same sample, so that a report of the same run is the same file.
        others = np.random.default_rng(0).choice(others, size=MOST_ROWS, replace=False)
    return sorted([*np.flatnonzero(must).tolist(), *others.tolist()])


def _varied(records: Sequence[Mapping[str, Cell]]) -> list[str]:
    """Questions in which the plans that can run differ; the others do not have all of their choices filled in."""
    run = [record for record in records if record["status"] in ("ok", "does not fit")]
    known = ("machine", *QUESTION_COLUMNS, "devices")
    # What is no column of every table is a what-if on the machine.
    what_ifs = [name for name in run[0] if name not in (*known, *ANSWER_COLUMNS)]
    names = [name for name in (*known, *what_ifs) if name in run[0]]
    return [name for name in names if len({record[name] for record in run}) > 1]


def _text(number: int, cells: Mapping[str, Cell], varied: Sequence[str]) -> str:
    plan = ", ".join(f"{name.replace('_', ' ')} {cells[name]}" for name in varied if cells[name] is not None)
    lines = [f"<b>{escape(plan) or 'the plan'}</b> (plan {number})"]
    for name, (title, unit) in SHOWN_ANSWERS.items():
        value = cells.get(name)
        if isinstance(value, int | float):
            lines.append(f"{title}: {format_quantity(float(value), unit)}")
    return "<br>".join(lines)
