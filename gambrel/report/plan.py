"""A plan search for the terminal: the best plans, the front, what was left out, or what cannot be met."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import Plan
from gambrel.report.blocks import GAP, count, energy, grid, heading, seconds, size
from gambrel.search.disaggregated import Disaggregated, DisaggregatedResult, Pool
from gambrel.search.fleet import Fleet
from gambrel.search.result import Infeasible, Miss, PlanChoice, PlanResult
from gambrel.search.targets import METRICS
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
    cached = f"{work.prefix} cached + " if work.prefix else ""
    limits = [_limit_text(name, value) for name, value in result.limits.items()]
    asked = f"{cached}{work.isl} prompt + {work.osl} output tokens, {result.batching} batch"
    yield Text(", ".join([asked, *limits]))
    metric = METRICS[result.objective]
    yield Text(f"{'most' if metric.higher_is_better else 'least'} {metric.title} ({metric.unit})")
    if not result.complete:
        missing = f"Incomplete: {result.counts.unsearched:,} points were not searched, and may hold better plans."
        yield Text(missing, style="bold red")


def _answer(result: PlanResult, width: int) -> Iterator[RenderableType]:
    several = len(result.machines) > 1
    if result.infeasible is not None:
        yield from _infeasible(result.infeasible, width, several=several, complete=result.complete)
        return
    yield heading("Best plans, the best batch of each")
    yield _table(result.best, width, machines=several)
    front = result.front
    step = max(-(-len(front) // MOST_OF_FRONT), 1)
    shown = [*front[::step], *([front[-1]] if (len(front) - 1) % step else [])]
    names = " and ".join(METRICS[name].title for name in result.front_metrics)
    some = f", {len(shown)} of {len(front)} points" if len(shown) < len(front) else ""
    yield heading(f"Pareto front of {names}{some}")
    yield _table(shown, width, machines=several)
    yield heading("Reproduce the first")
    yield Text(command(result, result.best[0]))


def _infeasible(infeasible: Infeasible, width: int, *, several: bool, complete: bool) -> Iterator[RenderableType]:
    yield heading("Infeasible" if complete else "Nothing found so far", style="bold red")
    miss = infeasible.tightest
    alone = "nothing fits" if infeasible.nearest is None else "no plan reaches it"
    reason = alone if miss in infeasible.alone else "no plan meets it together with the others"
    yield Text(f"Tightest: {_miss_text(miss)}: {reason}.")
    others = [each for each in (*infeasible.alone, *infeasible.together) if each.metric != miss.metric]
    for each in {other.metric: other for other in others}.values():
        yield Text(f"Also: {_miss_text(each)}.")
    if infeasible.nearest is not None:
        yield heading("The plan that comes nearest")
        yield _table([infeasible.nearest], width, machines=several)


def _table(choices: Sequence[PlanChoice], width: int, *, machines: bool) -> RenderableType:
    left = [("machine", [choice.machine for choice in choices])] if machines else []
    left += [
        ("devices", [str(choice.devices) for choice in choices]),
        ("batch", [str(choice.workload.batch) for choice in choices]),
        ("plan", [choice_text(choice) for choice in choices]),
    ]
    answers = [
        (head, [show(choice.metrics.get(name)) for choice in choices])
        for name, head, show in _SHOWN
        if any(name in choice.metrics for choice in choices)
    ]
    room = width - sum(max(map(len, (head, *cells))) + GAP for head, cells in left)
    kept: list[tuple[str, list[str]]] = []
    for head, cells in answers:
        room -= max(map(len, (head, *cells))) + GAP
        if room >= 0 or len(kept) < 3:
            kept.append((head, cells))
    heads, columns = zip(*left[:-1], *kept, left[-1], strict=True)
    return grid(zip(*columns, strict=True), right=range(len(heads) - 1), head=heads)


def disaggregated_report(result: DisaggregatedResult) -> list[RenderableType]:
    """The best pairs of pools, or that none meets the limits."""
    work = result.workload
    limits = [_limit_text(name, value) for name, value in result.limits.items()]
    asked = f"{work.isl} prompt + {work.osl} output tokens, prefill and decode on devices of their own"
    parts: list[RenderableType] = [
        Text(f"{result.model} on {result.devices} devices", style="bold"),
        Text(", ".join([asked, *limits])),
    ]
    if not result.best:
        text = f"None of {result.pairs:,} pairs of plans meets the limits."
        return [*parts, heading("Infeasible", style="bold red"), Text(text)]
    head = ("TTFT", "TPOT", "tokens/s", "/device", "bound", "pools")
    rows = [
        (
            seconds(each.metrics["ttft_s"]),
            seconds(each.metrics["tpot_s"]),
            count(each.metrics["tokens_per_s"]),
            count(each.metrics["tokens_per_s_per_device"]),
            each.bound,
            f"{_pool_text(each.prefill)}\n{_pool_text(each.decode)}",
        )
        for each in result.best
    ]
    parts += [heading("Best pairs: prefill above decode"), grid(rows, right=range(4), head=head)]
    return [*parts, heading("Caches"), Text(_cache_text(result.best[0]))]


def _pool_text(pool: Pool) -> str:
    name = f"{pool.instances} x {pool.devices} {pool.machine}"
    return f"{name}, batch {pool.batch}: {plan_choices(pool.plan)}"


def _cache_text(best: Disaggregated) -> str:
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
    """The command that estimates a plan."""
    plan, work = choice.plan, choice.workload
    words = ["gambrel estimate", result.model, "--on", choice.machine, "--batch", str(work.batch)]
    words += ["--isl", str(work.isl), "--osl", str(work.osl)]
    words += ["--prefix", str(work.prefix)] if work.prefix else []
    for name in ("strategy", "tp", "pp", "dp", "cp", "ep", "prefill_microbatches", "microbatches", "sub_batches"):
        words += [f"--plan.{name.replace('_', '-')}", str(getattr(plan, name))]
    for name in ("prefill_chunk", "placement", "weights", "experts", "activations", "kv"):
        value = getattr(plan, name)
        words += [f"--plan.{name.replace('_', '-')}", str(value)] if value and value != PLACEMENTS[0] else []
    words += ["--plan.engine", plan.engine] if plan.engine != "ideal" else []
    return " ".join(words)


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


def _basis(result: PlanResult) -> Iterator[RenderableType]:
    yield heading("What it rests on")
    rows = [("assumed", text) for text in result.assumptions]
    for note in result.machines:
        grades = {grade: [f for f, its in note.grades.items() if its == grade] for grade in note.grades.values()}
        text = "; ".join(f"{grade}: {', '.join(families)}" for grade, families in grades.items())
        rows.append((note.machine, f"hash {note.profile_hash}; {text}"))
    yield grid([*rows, ("gambrel", result.version)])


def _limit_text(name: str, value: float) -> str:
    metric = METRICS[name]
    return f"{metric.title} {'≥' if metric.higher_is_better else '≤'} {_value_text(name, value)}"


def _miss_text(miss: Miss) -> str:
    title = METRICS[miss.metric].title
    if miss.metric == "memory_bytes":
        return f"memory of a device {size(miss.limit)}, {size(miss.reached)} is the least that is needed"
    reached, gap = _value_text(miss.metric, miss.reached), _value_text(miss.metric, miss.gap)
    return f"{title} {_value_text(miss.metric, miss.limit)} is asked, {reached} is the best, off by {gap}"


def _value_text(name: str, value: float) -> str:
    unit = METRICS[name].unit
    return format_quantity(value, unit) if unit in ("s", "B", "J", "W") else f"{count(value)} {unit}"
