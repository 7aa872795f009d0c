"""The page of a disaggregated plan: the pools, what bounds them, and an instance of each in detail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from gambrel.estimation.api import estimate, machine
from gambrel.estimation.points import Workload
from gambrel.estimation.result import Estimate
from gambrel.hardware.device import Device
from gambrel.report.figures.figure import Figure
from gambrel.report.figures.memory import memory
from gambrel.report.figures.pareto import pairs_front
from gambrel.report.figures.rates import rates
from gambrel.report.figures.roofline import roofline
from gambrel.report.figures.time import named_phases, time_by_bound, time_by_family
from gambrel.report.html import Section, basis_html, document, figure_html, pair_html, table_html, tiles_html
from gambrel.report.plan import cache_text, lengths_text, plan_choices, pool_text
from gambrel.report.searched import pairs_table, question_html, unfit_html
from gambrel.report.text import pipeline_text
from gambrel.search.disaggregated import DisaggregatedResult, decode_work, prefill_work
from gambrel.search.pools import Disaggregated, Pool
from gambrel.units import Dimension, format_quantity

TILES: Mapping[str, tuple[str, Dimension]] = {
    "ttft_s": ("time to first token", "s"),
    "tpot_s": ("time per output token, with the wait for the cache", "s"),
    "latency_s": ("request latency", "s"),
    "requests_per_s": ("requests/s", "count"),
    "tokens_per_s": ("output tokens/s", "count"),
    "tokens_per_s_per_device": ("output tokens/s per device", "count"),
    "usd_per_million_tokens": ("USD per million output tokens", "count"),
}


def pools_html(result: DisaggregatedResult) -> str:
    """The whole page, about the best pair, or about the one that comes nearest to the limits.

    Raises:
        UsageError: plotly is not installed.
        GambrelError: The model or a machine is not there any more.
    """
    shown = result.best[0] if result.infeasible is None else result.infeasible.nearest
    if shown is None:
        return unfit_html(result)
    every = result.best or [shown]
    sides = [_Side(name, pool, result) for name, pool in (("prefill", shown.prefill), ("decode", shown.decode))]
    bounds = rates(requests_per_s(shown, result.workload))
    front = [pairs_front(result.front, shown)] if result.front else []
    sections = [
        Section(key="search", title="What was searched", body=question_html(result, lengths_text(result.workload))),
        Section(key="answer", title="Answer", body=_answer(shown)),
        Section(key="pools", title="The two pools", body=figure_html(bounds) + _pools(shown)),
        *(Section(key="front", title="Speed against throughput", body=figure_html(each)) for each in front),
        Section(key="pairs", title="The best pairs" if result.best else "The nearest pair", body=pairs_table(every)),
        *(part for side in sides for part in side.sections()),
        Section(key="basis", title="What it rests on", body=_basis(result, sides)),
    ]
    lead = f"<p>{escape(lengths_text(result.workload))}; prefill and decode on devices of their own</p>"
    return document(
        title=f"{result.model} on {_machines(shown)}",
        lead=lead,
        sections=sections,
        figures=[bounds, *front, *(figure for side in sides for figure in side.figures)],
    )


def requests_per_s(pair: Disaggregated, work: Workload) -> dict[str, float]:
    """What each part could take, as `gambrel.search.pools` has it."""
    first, second = pair.prefill, pair.decode
    found = {
        "prefill": first.instances * first.batch / first.seconds,
        "decode": second.instances * second.batch / ((work.osl - 1) * second.seconds),
    }
    return {**found, **({"link": pair.link_requests_per_s} if pair.link_requests_per_s < float("inf") else {})}


class _Side:
    """One pool in detail: an estimate of one of its instances."""

    def __init__(self, phase: str, pool: Pool, result: DisaggregatedResult) -> None:
        """Estimate an instance as the search did."""
        lengths = prefill_work if phase == "prefill" else decode_work
        work = replace(lengths(result.workload), batch=pool.batch)
        self.phase, self.pool = phase, pool
        self.device: Device = machine(pool.machine, result.overrides)
        self.estimate: Estimate = estimate(result.named, self.device, plan=pool.plan, workload=work)
        # A decode instance starts with the last token of a prompt; what it does is the steps.
        name = "prefill" if phase == "prefill" else "decode step"
        phases = {name: named_phases(self.estimate)[name]}
        times = [time_by_family(phases), time_by_bound(phases)]
        drawn = [*times, memory(self.estimate), roofline(phases, self.device)]
        self.figures: Sequence[Figure] = [replace(each, key=f"{phase}-{each.key}") for each in drawn]

    def sections(self) -> list[Section]:
        """Time, memory and roofline of an instance."""
        *times, held, roofs = self.figures
        body = f"<p>{escape(pool_text(self.pool))}</p>{pair_html(times)}{figure_html(held)}{figure_html(roofs)}"
        return [Section(key=self.phase, title=f"An instance of the {self.phase} pool", body=body)]


def _answer(pair: Disaggregated) -> str:
    known = ((name, *its) for name, its in TILES.items() if name in pair.metrics)
    return tiles_html((title, format_quantity(pair.metrics[name], unit)) for name, title, unit in known)


def _pools(pair: Disaggregated) -> str:
    rows = [
        (
            name,
            f"{pool.instances} x {pool.devices} {pool.machine}",
            plan_choices(pool.plan),
            str(pool.batch),
            format_quantity(pool.seconds, "s"),
        )
        for name, pool in (("prefill", pair.prefill), ("decode", pair.decode))
    ]
    head = ("pool", "instances", "plan of each", ">batch of each", ">one prefill, or one decode step")
    return f"{table_html(head, rows)}<p>{escape(cache_text(pair))}</p>"


def _basis(result: DisaggregatedResult, sides: Sequence[_Side]) -> str:
    used = {side.pool.machine for side in sides}
    rows: list[tuple[str, str]] = []
    for note in result.machines:
        if note.machine in used:
            grades = "; ".join(f"{name}: {grade}" for name, grade in note.grades.items())
            rows.append((note.machine, f"hash {note.profile_hash}; {grades}"))
    rows += [(side.phase, pipeline_text(side.estimate.provenance.pipeline)) for side in sides]
    rows += [("pairs matched", f"{result.pairs:,}"), ("gambrel", result.version)]
    return basis_html(result.assumptions, rows)


def _machines(pair: Disaggregated) -> str:
    """`24 x mi300x`, or both kinds."""
    used: dict[str, int] = {}
    for pool in (pair.prefill, pair.decode):
        used[pool.machine] = used.get(pool.machine, 0) + pool.instances * pool.devices
    return " and ".join(f"{devices} x {name}" for name, devices in used.items())
