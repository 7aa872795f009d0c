"""`gambrel accuracy`: estimates beside measured tables."""

import sys
from dataclasses import fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.calibration.accuracy import cells, markdown_table, score_folder, silent
from gambrel.calibration.score import Options, Score
from gambrel.cli.output import print_json, print_table
from gambrel.errors import Problem, UsageError
from gambrel.validation.files import score_file
from gambrel.validation.score import RUN_HEADER, run_cells, run_table, silent_runs
from gambrel.validation.score import Score as RunScore

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def accuracy(
    *,
    kernels: Path | None = None,
    e2e: Path | None = None,
    device: str = "",
    op: str = "",
    leave_out_device: Flag = False,
    all_rows: Flag = False,
    by_library: Flag = False,
    format: Literal["text", "json", "markdown"] = "text",
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
) -> None:
    """Score estimates against measured kernels and published runs, with plain roofline beside them.

    Rows of shape sites that shipped parameters were fitted on are left out. Errors are fractions in JSON and percent
    elsewhere. What gets no answer (a device without a profile, an operation without an engine) is named.

    Args:
        kernels: A folder of .parquet files, each named as its operation.
        e2e: A file of end-to-end measurements, JSON lines, compressed or not; runs of one static batch are answered.
        device: Only this device, as the tables name it or as a profile.
        op: Only this operation: `gemm`, or a kind of one, `memory_bound softmax`.
        leave_out_device: Price each device without what was fitted on it, as if it were a new chip.
        all_rows: Score fitted sites too.
        by_library: A line for each measured library.
        format: A table, JSON records, or a Markdown table.
        output: A file to write instead of the standard output.
    """
    if kernels is None and e2e is None:
        fix = "Give a folder: --kernels DIR, or a file: --e2e FILE"
        raise UsageError(Problem(where="accuracy", what="nothing to score", fix=fix))
    options = Options(device=device, op=op, all_rows=all_rows, leave_out_device=leave_out_device, by_library=by_library)
    scores = score_folder(kernels, options, _report) if kernels else []
    runs = score_file(e2e, device=device, report=_report) if e2e else []
    if not scores and not runs:
        where = str(kernels or e2e)
        raise UsageError(Problem(where=where, what="no rows match", why=f"device {device!r}, op {op!r}"))
    if output is None:
        _show(scores, runs, format)
        return
    from contextlib import redirect_stdout

    try:
        with output.open("w", encoding="utf-8") as file, redirect_stdout(file):
            _show(scores, runs, format)
    except OSError as error:
        raise UsageError(Problem(where=str(output), what=f"cannot be written ({error.strerror})")) from None


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _show(scores: list[Score], runs: list[RunScore], format: str) -> None:
    if format == "json":
        print_json([*scores, *(_record(run) for run in runs)])
        return
    if format == "markdown":
        for table in (markdown_table(scores) if scores else "", run_table(runs) if runs else ""):
            print(table, end="\n\n" if table else "")
    else:
        _print_sections(scores)
        rows = [run_cells(run) for run in runs if run.answered]
        for title, group in groupby(rows, key=itemgetter(0)):
            print_table(RUN_HEADER[1:], [row[1:] for row in group], title=title)
            print()
    for line in (*silent(scores), *silent_runs(runs)):
        print(f"- not answered: {line}" if format == "markdown" else f"not answered: {line}")


def _record(run: RunScore) -> dict[str, object]:
    """The keys of a kernel's score, and the metric and the category."""
    keys = (*(field.name for field in fields(Score)), "metric", "category")
    return {key: getattr(run, key) for key in keys}


def _print_sections(scores: list[Score]) -> None:
    """A table for each operation, narrow enough for a terminal; errors in percent."""
    columns = ("device", "dtype", "parameters", ">rows", ">MAPE", ">p90", ">bias", ">in 95 %", ">roofline")
    answered = sorted((score for score in scores if score.answered), key=lambda score: (score.family, score.op))
    for _, group in groupby(answered, key=lambda score: (score.family, score.op)):
        rows = [cells(score) for score in group]
        kept = [(*row[1:5], row[6], *row[8:]) for row in rows]
        print_table(columns, kept, title=rows[0][0])
        print()
