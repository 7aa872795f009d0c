"""`gambrel live`: a page on which the numbers of an estimate can be moved."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gambrel.cli.output import write_file
from gambrel.cli.progress import working
from gambrel.cli.question import Counts, PlanOptions, Repeated, WorkloadOptions, read_one
from gambrel.report.asked import Asked
from gambrel.report.live import live_html


def live(
    model: str,
    /,
    *,
    on: str,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    output: Annotated[Path, Parameter(name=("-o", "--output"))] = Path("live.html"),
) -> None:
    """Write a page with sliders for the batch, the degrees and the machine.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        devices: How many to start with [default: what the degrees of the plan take].
        workload: The batch to start with.
        plan: The plan to start with; its strategy, formats and engine stay.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass; the estimates are then lower bounds.
        output: The file to write.
    """
    question = read_one(workload, plan, devices, "live")
    asked, planned = question.one()
    with working("working out the page"):
        text = live_html(
            Asked(
                model=model,
                on=on,
                workload=asked,
                plan=planned,
                devices=question.devices,
                overrides=set,
                allow_unpriced=allow_unpriced,
            )
        )
    write_file(output, text)
    print(f"{output}: {len(text.encode()) / 1e6:.1f} MB")
