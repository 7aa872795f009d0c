"""`gambrel accuracy`: estimates beside measured tables."""

import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.calibration.accuracy import cells, markdown_table, score_folder, silent
from gambrel.calibration.score import Options, Score
from gambrel.cli.output import print_json, print_table
from gambrel.errors import Problem, UsageError

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def accuracy(
    *,
    kernels: Path | None = None,
    device: str = "",
    op: str = "",
    leave_out_device: Flag = False,
    all_rows: Flag = False,
    by_library: Flag = False,
    format: Literal["text", "json", "markdown"] = "text",
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
) -> None:
    """Score estimates against measured kernels, with plain roofline beside them.

    Rows of shape sites that shipped parameters were fitted on are left out. Errors are fractions in JSON and percent
    elsewhere. What gets no answer (a device without a profile, an operation without an engine) is named.

    Args:
        kernels: A folder of .parquet files, each named as its operation.
        device: Only this device, as the tables name it or as a profile.
        op: Only this operation: `gemm`, or a kind of one, `memory_bound softmax`.
        leave_out_device: Price each device without what was fitted on it, as if it were a new chip.
        all_rows: Score fitted sites too.
        by_library: A line for each measured library.
        format: A table, JSON records, or a Markdown table.
        output: A file to write instead of the standard output.
    """
    if kernels is None:
        fix = "Give a folder: --kernels DIR"
        raise UsageError(Problem(where="accuracy", what="nothing to score", fix=fix))
    options = Options(device=device, op=op, all_rows=all_rows, leave_out_device=leave_out_device, by_library=by_library)
    scores = score_folder(kernels, options, lambda line: print(line, file=sys.stderr))
    if not scores:
        raise UsageError(Problem(where=str(kernels), what="no rows match", why=f"device {device!r}, op {op!r}"))
    if output is None:
        _show(scores, format)
        return
    from contextlib import redirect_stdout

    try:
        with output.open("w", encoding="utf-8") as file, redirect_stdout(file):
            _show(scores, format)
    except OSError as error:
        raise UsageError(Problem(where=str(output), what=f"cannot be written ({error.strerror})")) from None


def _show(scores: list[Score], format: str) -> None:
    if format == "json":
        print_json(scores)
        return
    if format == "markdown":
        print(markdown_table(scores))
    else:
        _print_sections(scores)
    for line in silent(scores):
        print(f"\nNot answered: {line}" if format == "markdown" else f"not answered: {line}")


def _print_sections(scores: list[Score]) -> None:
    """A table for each operation, narrow enough for a terminal; errors in percent."""
    columns = ("device", "dtype", "parameters", ">rows", ">MAPE", ">p90", ">bias", ">in 95 %", ">roofline")
    answered = sorted((score for score in scores if score.answered), key=lambda score: (score.family, score.op))
    for _, group in groupby(answered, key=lambda score: (score.family, score.op)):
        rows = [cells(score) for score in group]
        kept = [(*row[1:5], row[6], *row[8:]) for row in rows]
        print_table(columns, kept, title=rows[0][0])
        print()
