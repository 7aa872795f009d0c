"""`gambrel require`: what a machine would need to meet targets."""

from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.cli.amounts import read_amount
from gambrel.cli.output import print_json, print_report
from gambrel.cli.plan import Limit
from gambrel.cli.progress import working
from gambrel.cli.question import Counts, PlanOptions, Repeated, WorkloadOptions, read_one
from gambrel.errors import PlanError, Problem, UsageError
from gambrel.search.metrics import ASKED
from gambrel.search.require import TargetName
from gambrel.search.require import require as ask_require


def require(
    model: str,
    /,
    *,
    on: str,
    ttft: Limit = None,
    tpot: Limit = None,
    latency: Limit = None,
    tokens_per_s: Limit = None,
    tokens_per_s_per_device: Limit = None,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    format: Literal["text", "json"] = "text",
) -> None:
    """Say what a machine needs to meet targets.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        ttft: Longest time to first token, such as 500ms.
        tpot: Longest time per output token, such as 20ms.
        latency: Longest time of a request.
        tokens_per_s: Fewest output tokens of all sequences in a second.
        tokens_per_s_per_device: The same over the devices.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch.
        plan: How the model is split and stored.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass; the answer is then that of a lower bound.
        format: Text for people, or JSON.
    """
    targets = _read_targets(
        {
            "ttft": ttft,
            "tpot": tpot,
            "latency": latency,
            "tokens_per_s": tokens_per_s,
            "tokens_per_s_per_device": tokens_per_s_per_device,
        }
    )
    question = read_one(workload, plan, devices, "require")
    asked, planned = question.one()
    with working("looking for what would be enough"):
        found = ask_require(
            model,
            on,
            targets,
            plan=planned,
            workload=asked,
            devices=question.devices,
            overrides=set,
            allow_unpriced=allow_unpriced,
        )
    if format == "json":
        print_json(found.to_dict())
        return
    from gambrel.report.require import require_report

    print_report(require_report(found))


def _read_targets(texts: dict[TargetName, str | None]) -> dict[TargetName, float]:
    """The targets that were given.

    Raises:
        UsageError: There is none.
        PlanError: With all that cannot be read.
    """
    problems: list[Problem] = []
    out: dict[TargetName, float] = {}
    for name, text in texts.items():
        try:
            if text is not None:
                out[name] = read_amount(_option(name), text, ASKED[name].unit)
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(*problems)
    if not out:
        fix = f"Give one of {', '.join(map(_option, texts))}"
        raise UsageError(Problem(where="require", what="no target is given", fix=fix))
    return out


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
