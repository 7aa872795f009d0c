"""`gambrel report`: one HTML file of pictures that needs no network."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gambrel.cli.output import write_file
from gambrel.cli.progress import working
from gambrel.cli.question import Counts, PlanOptions, Question, Repeated, WorkloadOptions, read_question
from gambrel.cli.ranges import parse_count
from gambrel.errors import Problem, UsageError
from gambrel.report.asked import Asked
from gambrel.report.make import make_report, plan_of
from gambrel.report.page import Report, report_html
from gambrel.report.points import TableSource, plan_points
from gambrel.report.pools import pools_html
from gambrel.report.searched import unfit_html
from gambrel.search.disaggregated import DisaggregatedResult


def report(
    target: str,
    /,
    *,
    on: str | None = None,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    row: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    output: Annotated[Path, Parameter(name=("-o", "--output"))] = Path("report.html"),
) -> None:
    """Write a report: where the time and the memory go, the roofline, what would change it, and all plans.

    Without a machine it is about a folder of results, such as `gambrel sweep` writes. Lists and ranges of options make
    a table, as for `gambrel estimate`. A report of many plans details one of them: that with the largest product of
    tokens/s for a user and tokens/s per device.

    Args:
        target: A model (a name of the library, a config.json, or its folder), or a folder of results.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch.
        plan: How the model is split and stored.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass; the estimates are then lower bounds.
        row: Number of the plan to detail.
        output: The file to write.
    """
    question = read_question(workload, plan, devices)
    chosen = None if row is None else parse_count("--row", row, least=0)
    if on is None:
        if question.columns or question.devices or set or allow_unpriced:
            why = "a folder of results says itself what was asked"
            raise UsageError(Problem(where="--on", what="is missing", why=why, fix="Name a machine: --on h100-sxm"))
        with working("working out the report"):
            text = _of_folder(Path(target), chosen)
    else:
        with working("working out the report"):
            text = report_html(_of_question(target, on, question, set, allow_unpriced, chosen))
    write_file(output, text)
    print(f"{output}: {len(text.encode()) / 1e6:.1f} MB")


def _of_folder(folder: Path, row: int | None) -> str:
    """The page of a sweep, or of a search."""
    from gambrel.search.saved import read_saved

    saved = read_saved(folder)
    if saved is None:
        return report_html(_of_run(folder, row))
    result = saved.result
    if isinstance(result, DisaggregatedResult):
        return pools_html(result)
    if result.infeasible is None:
        made = _of_run(folder, saved.best_row if row is None else row, "search")
        return report_html(replace(made, searched=result))
    nearest = result.infeasible.nearest
    if nearest is None:
        return unfit_html(result)
    asked = Asked(
        model=result.named,
        on=nearest.machine,
        workload=nearest.workload,
        plan=nearest.plan,
        overrides=tuple(result.overrides),
    )
    return report_html(replace(make_report(asked), searched=result))


def _of_run(folder: Path, row: int | None, kind: str = "run") -> Report:
    from gambrel.report.run_source import RunSource

    source = RunSource(folder)
    points = plan_points(source, row)
    return make_report(source.asked(points.detailed), points, f"the {kind} {folder.name}")


def _of_question(
    model: str, on: str, question: Question, overrides: tuple[str, ...], allow_unpriced: bool, row: int | None
) -> Report:
    if question.points == 1:
        asked, planned = question.one()
        return make_report(
            Asked(
                model=model,
                on=on,
                workload=asked,
                plan=planned,
                devices=question.devices,
                overrides=overrides,
                allow_unpriced=allow_unpriced,
            )
        )
    from gambrel.estimation.table import estimate_table

    table = estimate_table(
        model,
        on,
        columns=question.columns,
        devices=question.devices,
        overrides=overrides,
        allow_unpriced=allow_unpriced,
    )
    source = TableSource(table, on)
    points = plan_points(source, row)
    workload, plan = plan_of(source.records([points.detailed])[0])
    asked = Asked(model=model, on=on, workload=workload, plan=plan, overrides=overrides, allow_unpriced=allow_unpriced)
    varied = ", ".join(name.replace("_", " ") for name in question.varied)
    return make_report(asked, points, f"a table of all combinations of {varied}")
