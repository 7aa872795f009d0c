"""`gambrel sensitivity`: what an estimate depends on, and how much."""

from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.cli.output import print_json, print_report
from gambrel.cli.progress import working
from gambrel.cli.question import Counts, PlanOptions, Repeated, WorkloadOptions, read_one
from gambrel.search.metrics import MetricName
from gambrel.search.sensitivity import sensitivity as ask_sensitivity


def sensitivity(
    model: str,
    /,
    *,
    on: str,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    metric: MetricName = "tpot",
    format: Literal["text", "json"] = "text",
) -> None:
    """Say what an estimate depends on.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch.
        plan: How the model is split and stored.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass; the answer is then that of a lower bound.
        metric: Which answer of the estimate.
        format: Text for people, or JSON.
    """
    question = read_one(workload, plan, devices, "sensitivity")
    asked, planned = question.one()
    with working("working out the slopes"):
        found = ask_sensitivity(
            model,
            on,
            metric,
            plan=planned,
            workload=asked,
            devices=question.devices,
            overrides=set,
            allow_unpriced=allow_unpriced,
        )
    if format == "json":
        print_json(found.to_dict())
        return
    from gambrel.report.sensitivity import sensitivity_report

    print_report(sensitivity_report(found))
