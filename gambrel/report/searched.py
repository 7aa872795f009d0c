"""What a search asked and found, as a section of a page: the goal, the best plans, what was left out or is missed."""

from collections.abc import Callable, Sequence
from html import escape

from gambrel.report.blocks import count, energy, seconds
from gambrel.report.html import Section, document, table_html
from gambrel.report.plan import (
    choice_text,
    command,
    goal_text,
    incomplete_text,
    infeasible_lines,
    lengths_text,
    limit_text,
    pool_text,
)
from gambrel.search.disaggregated import DisaggregatedResult
from gambrel.search.pools import Disaggregated
from gambrel.search.result import PlanChoice, PlanResult

_ANSWERS: Sequence[tuple[str, str, Callable[[float | None], str]]] = (
    ("ttft_s", "TTFT", seconds),
    ("tpot_s", "TPOT", seconds),
    ("tokens_per_s", "tokens/s", count),
    ("tokens_per_s_per_device", "tokens/s/device", count),
    ("energy_per_token_j", "J/token", energy),
    ("usd_per_million_tokens", "USD/M tokens", count),
)


def search_section(result: PlanResult) -> Section:
    """The question and the answer of a search of plans."""
    body = question_html(result, f"{lengths_text(result.workload)}, {result.batching} batch")
    if result.infeasible is None:
        body += f"<h3>The best plans, the best batch of each</h3>{_choices(result.best)}"
        body += f"<h3>Reproduce the first</h3><p><code>{escape(command(result, result.best[0]))}</code></p>"
    elif result.infeasible.nearest is not None:
        body += "<h3>The plan that comes nearest, which the sections below detail</h3>"
        body += _choices([result.infeasible.nearest])
    return Section(key="search", title="What was searched", body=body + _counts(result))


def unfit_html(result: PlanResult | DisaggregatedResult) -> str:
    """The page of a search in which nothing fits: there is no plan to detail.

    Raises:
        UsageError: plotly is not installed.
    """
    if isinstance(result, PlanResult):
        section = search_section(result)
    else:
        body = question_html(result, lengths_text(result.workload))
        section = Section(key="search", title="What was searched", body=body)
    machines = " or ".join(note.title for note in result.machines)
    title = f"{result.model} on {machines}"
    return document(title=title, lead="", sections=[section], figures=[])


def question_html(result: PlanResult | DisaggregatedResult, asked: str) -> str:
    """Goal and limits, and what cannot be met."""
    limits = [limit_text(name, value) for name, value in result.limits.items()]
    what_ifs = [f"what if: {', '.join(result.overrides)}"] if result.overrides else []
    lines = [asked, f"wanted: {goal_text(result.objective)}", *([f"limits: {', '.join(limits)}"] if limits else [])]
    body = f"<p>{'<br>'.join(map(escape, [*lines, *what_ifs]))}</p>"
    if isinstance(result, PlanResult) and not result.complete:
        body += f'<p class="bad">{escape(incomplete_text(result))}</p>'
    if result.infeasible is None:
        return body
    missed = "<br>".join(map(escape, infeasible_lines(result.infeasible)))
    return f'{body}<p class="bad">Infeasible.</p><p>{missed}</p>'


def pairs_table(pairs: Sequence[Disaggregated]) -> str:
    """Pairs of pools with their answers."""
    shown = [each for each in _ANSWERS if any(each[0] in pair.metrics for pair in pairs)]
    head = (*(f">{title}" for _, title, _ in shown), "bound", "prefill", "decode")
    rows = [
        (
            *(show(pair.metrics.get(name)) for name, _, show in shown),
            pair.bound,
            pool_text(pair.prefill),
            pool_text(pair.decode),
        )
        for pair in pairs
    ]
    return table_html(head, rows)


def _choices(choices: Sequence[PlanChoice]) -> str:
    shown = [each for each in _ANSWERS if any(each[0] in choice.metrics for choice in choices)]
    head = ("machine", ">devices", ">batch", *(f">{title}" for _, title, _ in shown), "plan")
    rows = [
        (
            choice.machine,
            str(choice.devices),
            str(choice.workload.batch),
            *(show(choice.metrics.get(name)) for name, _, show in shown),
            choice_text(choice),
        )
        for choice in choices
    ]
    return table_html(head, rows)


def _counts(result: PlanResult) -> str:
    counts = result.counts
    rows = [
        (f"{counts.priced:,}", "points priced"),
        (f"{counts.fit:,}", "of them fit in memory"),
        (f"{counts.met:,}", "of them meet the limits"),
        *((f"{number:,}", f"left out: {reason}") for reason, number in counts.pruned.items() if number),
    ]
    return f"<details><summary>The space, and what was left out</summary>{table_html(('>', ''), rows)}</details>"
