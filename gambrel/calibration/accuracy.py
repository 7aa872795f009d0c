"""Scores of a folder of measured tables, and their forms: records, text, Markdown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from gambrel.calibration.columns import Table, raw_column, to_text
from gambrel.calibration.score import Options, Score, score_table
from gambrel.calibration.tables import OPERATIONS, operation_named
from gambrel.errors import Problem, UsageError, did_you_mean

POWER = "power"
"""The file whose rows name their operation in a column; its times are scored as that operation's."""

Report = Callable[[str], None]
"""Where progress and remarks go."""

HEADER = (
    *("op", "device", "dtype", "parameters", ">rows", ">answered", ">MAPE", ">median", ">p90", ">bias", ">in 95 %"),
    ">roofline",
)
"""Columns of the text forms; those whose name begins with `>` are numbers."""


class _Arrow(Protocol):
    num_rows: int

    def take(self, indices: object, /) -> "_Arrow": ...


class _Parquet(Protocol):
    def read_table(self, source: Path, /) -> _Arrow: ...


def score_folder(folder: Path, options: Options, report: Report) -> list[Score]:
    """Scores every measured table of a folder.

    Args:
        folder: Of parquet files named as their operation.
        options: What to score.
        report: Gets a line for each file, and one for each file that is not understood.

    Raises:
        UsageError: The folder has no such file, a file cannot be read, or pyarrow is not installed.
        PlanError: `options.op` names no operation.
    """
    wanted = _wanted(options.op)
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise UsageError(Problem(where=str(folder), what="holds no .parquet file", why="each operation is one of them"))
    scores: list[Score] = []
    for path in paths:
        if wanted and path.stem not in (wanted, POWER):
            continue
        if path.stem != POWER and path.stem not in OPERATIONS:
            report(f"{path.name}: skipped, no such operation. {did_you_mean(path.stem, OPERATIONS)}")
            continue
        table = read_parquet(path)
        report(f"{path.name}: {table.num_rows:,} rows")
        for name, part in _tables(path.stem, table):
            if not wanted or name == wanted:
                found = score_table(OPERATIONS[name], part, options)
                scores += [_of_power(x) for x in found] if path.stem == POWER else found
    return scores


def _wanted(op: str) -> str:
    """The operation that an option names, which may be one of its kinds: `memory_bound softmax`."""
    return operation_named(op.split(maxsplit=1)[0]).name if op else ""


def _tables(stem: str, table: _Arrow) -> Iterator[tuple[str, Table]]:
    if stem != POWER:
        yield stem, cast("Table", table)
        return
    text = to_text(raw_column(cast("Table", table), "op"))
    for number, value in enumerate(text.values):
        yield operation_named(value).name, cast("Table", table.take(np.flatnonzero(text.codes == number)))


def _of_power(score: Score) -> Score:
    return replace(score, family=POWER)


def read_parquet(path: Path) -> _Arrow:
    """A parquet file as an Arrow table.

    Raises:
        UsageError: It cannot be read, or pyarrow is not installed.
    """
    try:
        arrow = cast("_Parquet", import_module("pyarrow.parquet"))
    except ImportError:
        fix = "Install it: pip install 'gambrel[arrow]'"
        raise UsageError(Problem(where=str(path), what="cannot be read without pyarrow", fix=fix)) from None
    try:
        return arrow.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are values' errors
        raise UsageError(Problem(where=str(path), what="cannot be read as parquet", why=str(error))) from None


def cells(score: Score) -> tuple[str, ...]:
    """A score under HEADER; errors in percent."""
    op = score.op if score.op.partition("@")[0] == score.family else f"{score.family} {score.op}"
    errors = (score.mape, score.median, score.p90, score.bias)
    numbers = [_percent(value, 1) for value in errors]
    last = (_percent(score.coverage95, 0), _percent(score.roofline_mape, 1))
    return (op, score.device, score.dtype, score.grade, str(score.n), _percent(score.answered, 0), *numbers, *last)


def _percent(value: float | None, digits: int) -> str:
    return "" if value is None else f"{100.0 * value:.{digits}f}"


def markdown_table(scores: Sequence[Score]) -> str:
    """The answered scores as a Markdown table; errors in percent."""
    rule = "".join("---:|" if name.startswith(">") else "---|" for name in HEADER)
    lines = ["| " + " | ".join(name.removeprefix(">") for name in HEADER) + " |", "|" + rule]
    lines += ["| " + " | ".join(cells(score)) + " |" for score in scores if score.answered]
    return "\n".join(lines)


def silent(scores: Sequence[Score]) -> list[str]:
    """What got no answer: device, reason, and its rows by family."""
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for score in scores:
        if not score.answered:
            families = rows.setdefault((score.grade, score.device or "device not named"), {})
            families[score.family] = families.get(score.family, 0) + score.n
    return [
        f"{device}: {reason} ({', '.join(f'{family} {n:,}' for family, n in families.items())} rows)"
        for (reason, device), families in sorted(rows.items())
    ]
