"""`gambrel sweep`: estimates of millions of points, into a folder of Parquet files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from gambrel.cli import EXIT_INTERRUPTED
from gambrel.cli.output import print_json
from gambrel.cli.question import Counts, PlanOptions, Repeated, WorkloadOptions, read_lists
from gambrel.cli.ranges import parse_count, parse_machines
from gambrel.errors import Problem, UsageError
from gambrel.units import format_quantity

if TYPE_CHECKING:
    from gambrel.search.runs import Run


def sweep(
    model: str,
    /,
    *,
    on: str,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    workers: Annotated[str, Parameter(allow_leading_hyphen=True)] = "1",
    part_rows: Counts = None,
    format: Literal["text", "json"] = "text",
) -> int:
    """Estimate every combination of lists of machines, what-ifs, plans and lengths.

    A sweep that was stopped, by whatever, goes on where it was when the same command is given again.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: Hardware profiles: shipped names (`gambrel hw list`) or YAML files, with commas between them.
        output: The folder to write: a new or an empty one, or that of the same sweep.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch.
        plan: How the model is split and stored.
        set: Change a number of the profiles: `memory.hbm.bandwidth=1x,1.5x,2x`. May be repeated; each is a column.
        allow_unpriced: Let ops without a cost rule pass; the estimates are then lower bounds.
        workers: Processes that evaluate.
        part_rows: Most rows of a file [default: 262144].
        format: A few words, or the summary of the manifest as JSON.
    """
    columns, counts = read_lists(workload, plan, devices)
    overrides = parse_overrides(set)
    processes = parse_count("--workers", workers)
    most_rows = None if part_rows is None else parse_count("--part-rows", part_rows)
    machines = parse_machines(on)

    from gambrel.cli.progress import ProgressLine
    from gambrel.search.sweep import Listener
    from gambrel.search.sweep import sweep as run_sweep

    line = ProgressLine(sys.stderr)
    try:
        run = run_sweep(
            model,
            machines,
            output=output,
            columns=columns,
            devices=counts,
            overrides=overrides,
            allow_unpriced=allow_unpriced,
            workers=processes,
            part_rows=most_rows,
            listener=Listener(progress=line, remark=_remark),
        )
    except KeyboardInterrupt:
        line.close()
        _remark(_interrupted(output))
        return EXIT_INTERRUPTED
    finally:
        line.close()
    if format == "json":
        print_json(run.summary())
    else:
        _print_summary(run)
    return 0


def _print_summary(run: "Run") -> None:
    parts = run.manifest.parts
    rows, files = _counted(run.manifest.question.axes.rows, "row"), _counted(len(parts), "file")
    print(f"{run.folder}: {rows} in {files}, {format_quantity(float(sum(part.bytes for part in parts)), 'B')}")
    totals = [sum(getattr(part, name) for part in parts) for name in ("ok", "does_not_fit", "cannot_run")]
    print("{:,} ok, {:,} do not fit, {:,} cannot run (`status` says why)".format(*totals))


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def parse_overrides(texts: Sequence[str]) -> dict[str, list[str]]:
    """What-ifs with lists of values: `memory.hbm.bandwidth=1x,1.5x,2x`.

    Raises:
        UsageError: With all that are none, or whose path is given twice.
    """
    problems: list[Problem] = []
    out: dict[str, list[str]] = {}
    for text in texts:
        path, equals, values = (part.strip() for part in text.partition("="))
        listed = [value.strip() for value in values.split(",")]
        if not (path and equals and all(listed)):
            fix = "Write PATH=VALUE,VALUE, for example memory.hbm.bandwidth=1x,1.5x,2x"
            problems.append(Problem(where=f"--set {text}", what="is not a list of what-ifs", fix=fix))
        elif path in out:
            fix = "Give all its values in one list"
            problems.append(Problem(where=f"--set {text}", what=f"{path} is given twice", fix=fix))
        out[path] = listed
    if problems:
        raise UsageError(*problems)
    return out


def _interrupted(folder: Path) -> str:
    from gambrel.search.runs import read_run

    try:
        finished, total = (manifest := read_run(folder).manifest).parts, len(manifest.layout)
    except UsageError:
        return "interrupted before anything was written"
    return f"interrupted: {len(finished):,} of {total:,} files are in {folder}; give the same command again to go on"


def _remark(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
