"""`gambrel estimate`: how fast, how much memory, energy and money, and what bounds it."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.cli.output import print_json, print_report, terminal_width, writing_to
from gambrel.cli.question import (
    Counts,
    PlanOptions,
    Question,
    Repeated,
    WorkloadOptions,
    read_one,
    read_question,
)
from gambrel.errors import Problem, UsageError
from gambrel.estimation.api import estimate as estimate_one
from gambrel.estimation.api import machine
from gambrel.estimation.result import Estimate

Emit = Literal["trace", "roofline"]


def estimate(
    model: str,
    /,
    *,
    on: str,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    format: Literal["text", "table", "json"] = "text",
    emit: Emit | None = None,
    output: Annotated[Path | None, Parameter(name=("-o", "--output"))] = None,
) -> None:
    """Estimate how a model runs: time, memory, energy, money, and what bounds it.

    The options of the batch and of the plan also take lists (`1,2,4`) and ranges (`1-256*2`: 1, 2, 4, ..., 256;
    `1-9+2`: 1, 3, ..., 9; `1-4`), which makes a table of all combinations.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch.
        plan: How the model is split and stored.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass; the estimate is then a lower bound.
        format: A report, a table of one line a point, or JSON.
        emit: Instead of the estimate, a picture of it: `trace` is a timeline of a prefill and a decode step, JSON that
            ui.perfetto.dev opens; `roofline` is a page with every op under the roofs of the device.
        output: A file for the picture [default: the standard output].
    """
    if output is not None and emit is None:
        raise UsageError(Problem(where="-o", what="no picture is asked for", fix="Name one: --emit trace"))
    question = read_question(workload, plan, devices) if emit is None else read_one(workload, plan, devices, "--emit")
    if emit is None and (question.points > 1 or format == "table"):
        _table(question, model, on, set, allow_unpriced, format)
        return
    asked, planned = question.one()
    result = estimate_one(
        model,
        on,
        plan=planned,
        workload=asked,
        devices=question.devices,
        overrides=set,
        allow_unpriced=allow_unpriced,
    )
    if emit is not None:
        with writing_to(output):
            print(_picture(emit, result, question, (model, on, set, allow_unpriced)))
        return
    if format == "json":
        print_json(result.to_dict())
        return
    from gambrel.report.text import estimate_report

    print_report(estimate_report(result))


def _picture(emit: Emit, result: Estimate, question: Question, asked: tuple[str, str, tuple[str, ...], bool]) -> str:
    model, on, overrides, allow_unpriced = asked
    if emit == "roofline":
        from gambrel.report.page import roofline_html

        return roofline_html(result, machine(on, overrides))
    from gambrel.estimation.details import timeline
    from gambrel.report.trace import trace_json

    workload, plan = question.one()
    times = timeline(
        model,
        on,
        plan=plan,
        workload=workload,
        devices=question.devices,
        overrides=overrides,
        allow_unpriced=allow_unpriced,
    )
    return trace_json(result, times)


def _table(
    question: Question, model: str, on: str, overrides: tuple[str, ...], allow_unpriced: bool, format: str
) -> None:
    from gambrel.estimation.table import estimate_table
    from gambrel.report.table import table_report

    table = estimate_table(
        model,
        on,
        columns=question.columns,
        devices=question.devices,
        overrides=overrides,
        allow_unpriced=allow_unpriced,
    )
    if format == "json":
        print_json(list(table.rows()))
        return
    print_report(table_report(table, question.varied, terminal_width()))
