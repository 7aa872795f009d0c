"""`gambrel plan`: every plan of a space, and the best of them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from gambrel.cli import EXIT_INTERRUPTED
from gambrel.cli.amounts import read_amount
from gambrel.cli.output import print_json, print_report, terminal_width
from gambrel.cli.question import Counts, Names, Question, Repeated, SearchedPlan, SearchedWorkload, read_question
from gambrel.cli.ranges import parse_count, parse_counts, parse_machines
from gambrel.errors import PlanError, Problem
from gambrel.estimation.points import Workload
from gambrel.search.metrics import BY_OPTION
from gambrel.search.space import Space
from gambrel.search.targets import DEFAULT_FRONT, Limits

if TYPE_CHECKING:
    from gambrel.search.disaggregated import DisaggregatedResult

Limit = Annotated[str | None, Parameter(allow_leading_hyphen=True, show_default=False)]
"""A quantity: a negative one is then its own error, not an unknown option."""

Objective = Literal["tokens_per_s_per_device", "tokens_per_s", "latency", "ttft", "tpot", "cost", "energy", "power"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What a plan has to meet.

    Attributes:
        ttft: Longest time to first token, `2s`.
        tpot: Longest time per output token, `30ms`.
        latency: Longest latency of a request, `10s`.
        memory: Most memory of a device, `60GB`, where it has more.
        tokens_per_s: Least output tokens per second of all devices.
        tokens_per_s_per_user: Least output tokens per second of one user.
        power: Highest mean power of all devices, `20kW`.
        energy_per_token: Highest energy of an output token, `2J`.
        usd_per_million_tokens: Highest rent per million output tokens.
        usd_per_h: Highest rent of all devices.
    """

    ttft: Limit = None
    tpot: Limit = None
    latency: Limit = None
    memory: Limit = None
    tokens_per_s: Limit = None
    tokens_per_s_per_user: Limit = None
    power: Limit = None
    energy_per_token: Limit = None
    usd_per_million_tokens: Limit = None
    usd_per_h: Limit = None


_SPACE = {
    "strategy": "strategies",
    **{name: name for name in ("tp", "pp", "dp", "cp", "ep", "prefill_microbatches", "microbatches", "sub_batches")},
    "prefill_chunk": "prefill_chunks",
    "placement": "placements",
    **{name: name for name in ("weights", "experts", "activations", "kv")},
    "batch": "batches",
}
"""Choices of a space by the columns of a question."""


def plan(
    model: str,
    /,
    *,
    on: str,
    devices: Counts = None,
    workload: SearchedWorkload = SearchedWorkload(),  # noqa: B008  (frozen)
    limits: LimitOptions = LimitOptions(),
    objective: Objective = "tokens_per_s_per_device",
    batching: Literal["static", "continuous"] = "static",
    disaggregated: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    plan: SearchedPlan = SearchedPlan(),  # noqa: B008
    front: Names = None,
    top: Annotated[str, Parameter(allow_leading_hyphen=True)] = "10",
    set: Repeated = (),
    output: Annotated[Path | None, Parameter(name=("--output", "-o"), show_default=False)] = None,
    format: Literal["text", "json"] = "text",
) -> int:
    """Find the best plan: every strategy, degree, batch, micro-batch, chunk and layout of ranks is priced.

    Degrees, batches and formats that are not given are searched; `--plan.tp 4,8` searches those. Number formats are
    as published unless they are given. What is left out is left out for a proof: it cannot run, it does not fit, or
    another plan does just the same. An interrupt (Ctrl-C) ends the search: the best of what was searched is printed,
    and how much was not.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: Hardware profiles to choose from, between commas.
        devices: How many, or several numbers to choose from (`8-512*2`) [default: 1].
        workload: Lengths of the requests; batches to choose from.
        limits: What a plan has to meet.
        objective: What is optimised: throughput of one device or of all, latency, ttft, tpot, cost, energy or power.
        batching: static prefills one batch, then decodes it, as `gambrel estimate` does; continuous replaces requests
            as they end.
        disaggregated: Prefill and decode on devices of their own, of any of the machines, with the cache sent between.
        plan: Choices to search; what is not given is open.
        front: Two or three metrics between commas [default: tokens_per_s_per_user,tokens_per_s_per_device].
        top: How many plans to show.
        set: Change a number of the profiles: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        output: A new or an empty folder to keep the answer in, and the best point of each plan and batch, for
            `gambrel report`.
        format: A report, or JSON.
    """
    from gambrel.cli.progress import stoppable
    from gambrel.search.plan import search

    question = read_question(workload, plan, None)
    machines = parse_machines(on)
    counts = parse_counts("--devices", devices) if devices is not None else (1,)
    most = parse_count("--top", top)
    from gambrel.search.saved import check_folder, save

    if output is not None:
        check_folder(output)
    if disaggregated:
        pools = _disaggregated(question, model, machines, counts, read_limits(limits), objective, most, set)
        if output is not None:
            save(pools, output)
        if format == "json":
            print_json(pools.to_dict())
            return 0
        from gambrel.report.plan import disaggregated_report

        print_report(disaggregated_report(pools))
        return 0
    asked, limits_given, space = _lengths(question), read_limits(limits), read_space(question)
    with stoppable() as watch:
        result = search(
            model,
            machines,
            devices=counts,
            workload=asked,
            limits=limits_given,
            objective=objective,
            batching=batching,
            space=space,
            front_metrics=tuple(name.strip() for name in front.split(",")) if front else DEFAULT_FRONT,
            top=most,
            points=output is not None,
            overrides=set,
            watch=watch,
        )
    if output is not None:
        save(result, output)
    if format == "json":
        print_json(result.to_dict())
    else:
        from gambrel.report.plan import plan_report

        print_report(plan_report(result, terminal_width()))
    if result.complete:
        return 0
    missing, whole = result.counts.unsearched, result.counts.searched + result.counts.unsearched
    print(f"interrupted: {missing:,} of {whole:,} points were not searched", file=sys.stderr)
    return EXIT_INTERRUPTED


def _disaggregated(
    question: Question,
    model: str,
    machines: Sequence[str],
    counts: Sequence[int],
    limits: Limits,
    objective: str,
    top: int,
    overrides: tuple[str, ...],
) -> "DisaggregatedResult":
    from gambrel.cli.progress import watching
    from gambrel.search.disaggregated import search_disaggregated

    if len(counts) > 1:
        fix = "Give the devices of both pools together"
        raise PlanError(Problem(where="--devices", what=f"{len(counts)} numbers for two pools", fix=fix))
    with watching() as watch:
        return search_disaggregated(
            model,
            machines,
            devices=counts[0],
            workload=_lengths(question),
            limits=limits,
            objective=objective,
            space=read_space(question),
            top=top,
            overrides=overrides,
            watch=watch,
        )


def read_limits(options: LimitOptions) -> Limits:
    """The limits that options state.

    Raises:
        PlanError: With every quantity that cannot be read.
    """
    values: dict[str, float] = {}
    problems: list[Problem] = []
    for field in fields(options):
        text: str | None = getattr(options, field.name)
        if text is None:
            continue
        metric = BY_OPTION[field.name]
        try:
            values[metric.name] = read_amount(f"--{field.name.replace('_', '-')}", text, metric.unit)
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(*problems)
    return Limits(**values)


def read_space(question: Question) -> Space:
    """The space that a question's lists leave to choose from.

    Raises:
        PlanError: Several engines are asked for.
    """
    engines: Sequence[object] = question.columns.get("engine", ("ideal",))
    if len(engines) > 1:
        fix = "Search once for each"
        raise PlanError(Problem(where="--plan.engine", what=f"{len(engines)} engines", fix=fix))
    choices = {_SPACE[name]: values for name, values in question.columns.items() if name in _SPACE}
    return Space(**choices, engine=str(engines[0]))  # pyright: ignore[reportArgumentType]  (by column, as parsed)


def _lengths(question: Question) -> Workload:
    several = [name for name in ("isl", "osl", "prefix") if len(question.columns.get(name, ())) > 1]
    if several:
        what = "has several values, and a search is for one length"
        raise PlanError(*(Problem(where=f"--{name}", what=what, fix="Search once for each") for name in several))
    lengths = {name: question.columns[name][0] for name in ("isl", "osl", "prefix") if name in question.columns}
    return Workload(**lengths)  # pyright: ignore[reportArgumentType]  (by column, as parsed)
