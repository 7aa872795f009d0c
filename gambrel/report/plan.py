"""A plan search for the terminal: the best plans, the front, what was left out, or what cannot be met."""

from collections.abc import Callable, Iterator, Sequence
from shlex import quote

from rich.console import RenderableType
from rich.text import Text

from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import Plan, Workload
from gambrel.report.blocks import GAP, count, energy, grid, heading, seconds, size
from gambrel.search.disaggregated import DisaggregatedResult
from gambrel.search.fleet import Fleet
from gambrel.search.metrics import METRICS
from gambrel.search.pools import Disaggregated, Pool
from gambrel.search.result import Infeasible, Miss, PlanChoice, PlanResult
from gambrel.units import format_quantity

_SHOWN: Sequence[tuple[str, str, Callable[[float | None], str]]] = (
    ("ttft_s", "TTFT", seconds),
    ("tpot_s", "TPOT", seconds),
    ("tokens_per_s", "tokens/s", count),
    ("tokens_per_s_per_device", "/device", count),
    ("tokens_per_s_per_user", "/user", count),
    ("usd_per_million_tokens", "USD/M", count),
    ("energy_per_token_j", "J/token", energy),
    ("memory_bytes", "memory", size),
)
"""Answers, those that a narrow terminal does without last."""

LEAST_PLAN = 22
"""Columns of a terminal that are kept for what a plan does."""

MOST_OF_FRONT = 12


def plan_report(result: PlanResult, width: int) -> list[RenderableType]:
    """The whole report.

    Args:
        result: Of a search.
        width: Of the terminal; answers are left out until a line fits.
    """
    return [*_title(result), *_answer(result, width), *_counts(result), *_basis(result)]


def _title(result: PlanResult) -> Iterator[RenderableType]:
    machines = " or ".join(note.title for note in result.machines)
    yield Text(f"{result.model} on {machines}", style="bold")
    work = result.workload
    limits = [limit_text(name, value) for name, value in result.limits.items()]
    yield Text(", ".join([f"{lengths_text(work)}, {result.batching} batch", *limits]))
    yield Text(goal_text(result.objective))
    if not result.complete:
        yield Text(incomplete_text(result), style="bold red")


def incomplete_text(result: PlanResult) -> str:
    """What a search that was stopped has left out."""
    return f"Incomplete: {result.counts.unsearched:,} points were not searched, and may hold better plans."


def lengths_text(work: Workload) -> str:
    """`4000 prompt + 500 output tokens`."""
    cached = f"{work.prefix} cached + " if work.prefix else ""
    return f"{cached}{work.isl} prompt + {work.osl} output tokens"


def goal_text(objective: str) -> str:
    """`most output tokens/s`."""
    metric = METRICS[objective]
    return f"{'most' if metric.higher_is_better else 'least'} {metric.title}"


def _answer(result: PlanResult, width: int) -> Iterator[RenderableType]:
    several = len(result.machines) > 1
    if result.infeasible is not None:
        yield from _infeasible(result, result.infeasible, width, several=several)
        return
    yield heading("Best plans, the best batch of each")
    yield _table(result.best, result.objective, width, machines=several)
    front = result.front
    step = max(-(-len(front) // MOST_OF_FRONT), 1)
    shown = [*front[::step], *([front[-1]] if (len(front) - 1) % step else [])]
    names = " and ".join(METRICS[name].title for name in result.front_metrics)
    some = f", {len(shown)} of {len(front)} points" if len(shown) < len(front) else ""
    yield heading(f"Pareto front of {names}{some}")
    yield _table(shown, result.objective, width, machines=several)
    yield heading("Reproduce the first")
    yield Text(command(result, result.best[0]))


def _infeasible(
    result: PlanResult, infeasible: Infeasible[PlanChoice], width: int, *, several: bool
) -> Iterator[RenderableType]:
    yield heading("Infeasible" if result.complete else "Nothing found so far", style="bold red")
    yield from map(Text, infeasible_lines(infeasible))
    if infeasible.nearest is not None:
        yield heading("The plan that comes nearest")
        yield _table([infeasible.nearest], result.objective, width, machines=several)


def infeasible_lines(infeasible: Infeasible[PlanChoice] | Infeasible[Disaggregated]) -> Iterator[str]:
    """The limit that is missed the most, what else is missed, and what would help where nothing fits."""
    tightest = infeasible.tightest
    if infeasible.nearest is None:
        need, there, gap = map(size, (tightest.reached, tightest.limit, tightest.gap))
        yield f"Tightest: memory: {need} of a device is the least that is needed, {there} is there, {gap} too little."
        yield "More devices, larger ones, or smaller formats (--plan.weights fp8 --plan.kv fp8) would make room."
        return
    alone = {miss.metric for miss in infeasible.alone}
    if tightest.metric in alone:
        yield f"Tightest: {_miss_text(tightest, 'the best')}: no plan reaches it."
    else:
        text = _miss_text(tightest, "what the nearest plan has")
        yield f"Tightest: {text}: each limit can be met, but not all together."
    for miss in infeasible.alone:
        if miss.metric != tightest.metric:
            yield f"No plan reaches this either: {_miss_text(miss, 'the best')}."
    for miss in infeasible.together:
        if miss.metric not in {tightest.metric, *alone}:
            yield f"The nearest plan also misses: {_miss_text(miss, 'what it has')}."


def _table(choices: Sequence[PlanChoice], objective: str, width: int, *, machines: bool) -> RenderableType:
    left = [("machine", [choice.machine for choice in choices])] if machines else []
    left += [
        ("devices", [str(choice.devices) for choice in choices]),
        ("batch", [str(choice.workload.batch) for choice in choices]),
        ("plan", [choice_text(choice) for choice in choices]),
    ]
    answers = {
        name: (head, [show(choice.metrics.get(name)) for choice in choices])
        for name, head, show in _SHOWN
        if any(name in choice.metrics for choice in choices)
    }
    longest = max(len(word) for text in left[-1][1] for word in text.split())
    room = width - max(longest, LEAST_PLAN) - sum(_width(column) for column in left[:-1])
    kept: set[str] = set()
    for name in sorted(answers, key=lambda name: name != objective):  # what was asked for is never left out
        room -= _width(answers[name])
        if room >= 0 or len(kept) < 3:
            kept.add(name)
    shown = [column for name, column in answers.items() if name in kept]
    heads, columns = zip(*left[:-1], *shown, left[-1], strict=True)
    return grid(zip(*columns, strict=True), right=range(len(heads) - 1), head=heads)


def _width(column: tuple[str, list[str]]) -> int:
    head, cells = column
    return max(map(len, (head, *cells))) + GAP


def disaggregated_report(result: DisaggregatedResult) -> list[RenderableType]:
    """The best pairs of pools, or why none meets the limits."""
    work = result.workload
    limits = [limit_text(name, value) for name, value in result.limits.items()]
    asked = f"{lengths_text(work)}, prefill and decode on devices of their own"
    machines = " or ".join(note.title for note in result.machines)
    parts: list[RenderableType] = [
        Text(f"{result.model} on {result.devices} devices: {machines}", style="bold"),
        Text(", ".join([asked, *limits])),
        Text(goal_text(result.objective)),
    ]
    if result.infeasible is None:
        parts += [heading("Best pairs: prefill above decode"), _pairs_table(result.best, result.objective)]
        parts += [heading("Caches"), Text(cache_text(result.best[0]))]
    else:
        parts += [heading("Infeasible", style="bold red"), *map(Text, infeasible_lines(result.infeasible))]
        nearest = result.infeasible.nearest
        if nearest is not None:
            parts += [heading("The pair that comes nearest"), _pairs_table([nearest], result.objective)]
    return [*parts, *_basis(result)]


def _pairs_table(pairs: Sequence[Disaggregated], objective: str) -> RenderableType:
    shown = [
        each for each in _SHOWN if each[0] in ("ttft_s", "tpot_s", "tokens_per_s", "tokens_per_s_per_device", objective)
    ]
    rows = [
        (
            *(show(each.metrics.get(name)) for name, _, show in shown),
            each.bound,
            f"{pool_text(each.prefill)}\n{pool_text(each.decode)}",
        )
        for each in pairs
    ]
    head = (*(title for _, title, _ in shown), "bound", "pools")
    return grid(rows, right=range(len(shown)), head=head)


def pool_text(pool: Pool) -> str:
    """`2 x 4 h100-sxm, batch 32: megatron tp4`."""
    name = f"{pool.instances} x {pool.devices} {pool.machine}"
    return f"{name}, batch {pool.batch}: {plan_choices(pool.plan)}"


def cache_text(best: Disaggregated) -> str:
    """What is sent between the pools."""
    moved = format_quantity(best.cache_bytes, "B")
    return f"{moved} of each prompt over {best.link}: {seconds(best.transfer_s)} for the prompts of one prefill"


def fleet_report(result: Fleet) -> list[RenderableType]:
    """What to rent, or which requests nothing serves."""
    parts: list[RenderableType] = [Text(f"Cheapest fleet for {result.model}", style="bold")]
    if not result.feasible:
        why = (
            f"no instance serves {', '.join(result.unserved)} within the limits"
            if result.unserved
            else ("there are too few devices")
        )
        return [*parts, heading("Infeasible", style="bold red"), Text(f"{why[0].upper()}{why[1:]}.")]
    rows = [
        (
            f"{each.count} x {each.devices} {each.machine}",
            f"{each.usd_per_h:.2f}",
            f"{each.busy:.0%}",
            "\n".join(
                f"{name}: {count(rate)}/s, batch {each.plans[name].workload.batch}, {choice_text(each.plans[name])}"
                for name, rate in each.requests_per_s.items()
            ),
        )
        for each in result.instances
    ]
    parts += [heading("Instances"), grid(rows, right=(1, 2), head=("instances", "USD/h", "busy", "serves"))]
    parts += [
        heading(f"Rent {result.usd_per_h:.2f} USD/h"),
        Text(f"No fleet costs less than {result.bound_usd_per_h:.2f}."),
    ]
    alone = [(name, f"{rent:.2f} USD/h", f"{rent / result.usd_per_h - 1:+.0%}") for name, rent in result.single.items()]
    return [*parts, heading("With one machine alone"), grid(alone, right=(1, 2))] if alone else parts


def choice_text(choice: PlanChoice) -> str:
    """What a plan does, as `plan_choices` says it."""
    return plan_choices(choice.plan)


def plan_choices(plan: Plan) -> str:
    """`moe-ep tp8 ep4, chunks of 2048, weights fp8`: what differs from one device and whole prompts."""
    names = ("tp", "pp", "dp", "cp", "ep")
    degrees = [f"{name}{value}" for name in names if (value := getattr(plan, name) or 1) > 1]
    parts = [" ".join([plan.strategy or "", *degrees])]
    if plan.pp > 1:
        parts.append(f"{plan.prefill_microbatches}/{plan.microbatches} micro-batches")
    if plan.sub_batches > 1:
        parts.append("two halves")
    if plan.prefill_chunk:
        parts.append(f"chunks of {plan.prefill_chunk}")
    if plan.placement not in (None, PLACEMENTS[0]):
        parts.append(f"ranks {plan.placement}")
    parts += [
        f"{name} {value}" for name in ("weights", "experts", "activations", "kv") if (value := getattr(plan, name))
    ]
    return ", ".join(parts)


def command(result: PlanResult, choice: PlanChoice) -> str:
    """The command that gives the answers of one plan: of a continuous batch, which `estimate` has not, a search."""
    plan, work = choice.plan, choice.workload
    continuous = result.batching == "continuous"
    words = ["gambrel", "plan" if continuous else "estimate", result.named, "--on", choice.machine]
    words += ["--devices", str(choice.devices), "--batching", "continuous"] if continuous else []
    words += ["--batch", str(work.batch), "--isl", str(work.isl), "--osl", str(work.osl)]
    words += ["--prefix", str(work.prefix)] if work.prefix else []
    for name in ("strategy", "tp", "pp", "dp", "cp", "ep", "prefill_microbatches", "microbatches", "sub_batches"):
        words += [f"--plan.{name.replace('_', '-')}", str(getattr(plan, name))]
    chunk = work.isl if continuous and plan.prefill_chunk is None else plan.prefill_chunk  # open, it would be searched
    words += ["--plan.prefill-chunk", str(chunk)] if chunk else []
    for name in ("placement", "weights", "experts", "activations", "kv"):
        value = getattr(plan, name)
        words += [f"--plan.{name}", str(value)] if value and (continuous or value != PLACEMENTS[0]) else []
    words += ["--plan.engine", plan.engine] if plan.engine != "ideal" else []
    for override in result.overrides:
        words += ["--set", override]
    return " ".join(map(quote, words))


def _counts(result: PlanResult) -> Iterator[RenderableType]:
    counts = result.counts
    yield heading("The space")
    rows = [
        (f"{counts.priced:,}", "points priced"),
        (f"{counts.fit:,}", "of them fit in memory"),
        (f"{counts.met:,}", "of them meet the limits"),
        *((f"{number:,}", f"left out: {reason}") for reason, number in counts.pruned.items() if number),
        *([(f"{counts.unsearched:,}", "points not searched")] if counts.unsearched else []),
    ]
    yield grid(rows, right=(0,))


def _basis(result: PlanResult | DisaggregatedResult) -> Iterator[RenderableType]:
    yield heading("What it rests on")
    rows = [("assumed", text) for text in result.assumptions]
    for note in result.machines:
        grades = {grade: [f for f, its in note.grades.items() if its == grade] for grade in note.grades.values()}
        text = "; ".join(f"{grade}: {', '.join(families)}" for grade, families in grades.items())
        rows.append((note.machine, f"hash {note.profile_hash}; {text}"))
    yield grid([*rows, ("gambrel", result.version)])


def limit_text(name: str, value: float) -> str:
    """`TTFT ≤ 2 s`."""
    metric = METRICS[name]
    return f"{metric.title} {'≥' if metric.higher_is_better else '≤'} {_value_text(name, value)}"


def _miss_text(miss: Miss, reached_is: str) -> str:
    limit, reached, gap = (_value_text(miss.metric, value) for value in (miss.limit, miss.reached, miss.gap))
    return f"{METRICS[miss.metric].title} {limit} is asked, {reached} is {reached_is}, off by {gap}"


def _value_text(name: str, value: float) -> str:
    return format_quantity(value, METRICS[name].unit)
