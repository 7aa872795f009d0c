"""`gambrel explain`: why an estimate is what it is."""

from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.cli.output import print_json, print_report
from gambrel.cli.question import Counts, PlanOptions, Repeated, WorkloadOptions, read_one
from gambrel.cli.ranges import parse_count
from gambrel.estimation.api import estimate
from gambrel.estimation.result import PhaseEstimate

Phase = Literal["prefill", "decode"]


def explain(
    model: str,
    /,
    *,
    on: str,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    top: Annotated[str, Parameter(allow_leading_hyphen=True)] = "10",
    phase: Phase | None = None,
    format: Literal["text", "json"] = "text",
) -> None:
    """Say where the time goes.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch.
        plan: How the model is split and stored.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass; the estimate is then a lower bound.
        top: How many rows of each phase.
        phase: Only this phase [default: both].
        format: Text for people, or the rows as JSON.
    """
    question = read_one(workload, plan, devices, "explain")
    most = parse_count("--top", top)
    asked, planned = question.one()
    result = estimate(
        model,
        on,
        plan=planned,
        workload=asked,
        devices=question.devices,
        overrides=set,
        allow_unpriced=allow_unpriced,
    )
    phases: tuple[Phase, ...] = ("prefill", "decode") if phase is None else (phase,)
    if format == "json":
        found: dict[Phase, PhaseEstimate | None] = {"prefill": result.prefill, "decode": result.decode}
        print_json({name: its.rows[:most] for name in phases if (its := found[name]) is not None})
        return
    from gambrel.report.explain import explain_report

    print_report(explain_report(result, top=most, phases=phases))
