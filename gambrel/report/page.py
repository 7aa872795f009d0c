"""A report as one HTML file that needs nothing else: figures, the table of plans, and what all of it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from gambrel.estimation.details import FamilyInterval
from gambrel.estimation.result import Estimate, RowEstimate
from gambrel.hardware.device import Device
from gambrel.ir.structure import PhaseName
from gambrel.report.figures.figure import FAMILY_NAMES, json_text, percent
from gambrel.report.figures.memory import memory
from gambrel.report.figures.pareto import pareto
from gambrel.report.figures.roofline import roofline
from gambrel.report.figures.time import named_phases, time_by_bound, time_by_family
from gambrel.report.figures.tornado import tornado
from gambrel.report.html import Section, basis_html, document, figure_html, pair_html, table_html, tiles_html
from gambrel.report.plan_table import plan_data
from gambrel.report.points import PlanPoints
from gambrel.report.searched import search_section
from gambrel.report.text import pipeline_text, plan_text, title_text, workload_text
from gambrel.search.result import PlanResult
from gambrel.search.sensitivity import Sensitivity
from gambrel.units import Dimension, format_quantity

LONGEST_ROWS = 12
"""Kernels of each phase that the table below the roofline lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a page shows.

    Attributes:
        estimate: The plan that is detailed.
        device: The machine that it was estimated on.
        intervals: How far its kernels may lie from measured ones, by phase.
        sensitivities: What its times depend on; empty where that is not known.
        points: All plans; None for a single one.
        source: Where the plans come from, in words; empty for a single one.
        live: A piece of HTML in which numbers can be moved; empty for none.
        searched: The search that the plans come from; None for others.
    """

    estimate: Estimate
    device: Device
    intervals: Mapping[PhaseName, Sequence[FamilyInterval]]
    sensitivities: Sequence[Sensitivity]
    points: PlanPoints | None = None
    source: str = ""
    live: str = ""
    searched: PlanResult | None = None


def report_html(report: Report) -> str:
    """The whole page.

    Raises:
        UsageError: plotly is not installed.
    """
    estimate, points = report.estimate, report.points
    phases = named_phases(estimate)
    times = [time_by_family(phases), time_by_bound(phases)]
    held, roofs, changes = memory(estimate), roofline(phases, report.device), list(map(tornado, report.sensitivities))
    figures = [*times, held, roofs, *changes]
    sections = [search_section(report.searched)] if report.searched is not None else []
    sections.append(Section(key="answer", title=_answer_title(report), body=_answer(estimate)))
    if points is not None:
        figures.append(pareto(points))
        sections.append(Section(key="front", title="Speed against throughput", body=figure_html(figures[-1])))
    sections += [
        Section(key="time", title="Where the time goes", body=pair_html(times)),
        Section(key="memory", title="What fills the memory", body=figure_html(held) + _violations(estimate)),
        Section(key="roofline", title="Against the roofline", body=figure_html(roofs) + _longest(estimate)),
    ]
    if changes:
        body = pair_html(changes) + _counts(report.sensitivities)
        sections.append(Section(key="change", title="What would change it", body=body))
    if report.live:
        sections.append(Section(key="live", title="Try other numbers", body=report.live))
    if points is not None:
        sections.append(Section(key="plans", title="All plans", body=_plans(points)))
    sections.append(Section(key="basis", title="What it rests on", body=_basis(report)))
    return document(
        title=title_text(estimate),
        lead=_lead(report),
        sections=sections,
        figures=figures,
        plans=json_text(plan_data(points)) if points is not None else "",
    )


def roofline_html(estimate: Estimate, device: Device) -> str:
    """A page with the roofline alone.

    Raises:
        UsageError: plotly is not installed.
    """
    figure = roofline(named_phases(estimate), device)
    section = Section(key="roofline", title="Against the roofline", body=figure_html(figure) + _longest(estimate))
    lead = f"<p>{escape(workload_text(estimate.workload))}; {escape(plan_text(estimate.plan))}</p>"
    return document(title=title_text(estimate), lead=lead, sections=[section], figures=[figure])


def _answer_title(report: Report) -> str:
    infeasible = report.searched is not None and not report.searched.feasible
    return "The plan that comes nearest" if infeasible else "Answer"


def _lead(report: Report) -> str:
    estimate, points = report.estimate, report.points
    lines = [workload_text(estimate.workload), plan_text(estimate.plan)]
    if estimate.provenance.overrides:
        lines.append(f"what if: {', '.join(estimate.provenance.overrides)}")
    asked = f"<p>{'<br>'.join(map(escape, lines))}</p>"
    if points is None:
        return asked
    every = f"{points.total + points.elsewhere:,}"
    return f'{asked}<p class="faint">Plan {points.detailed} of the {every} plans of {escape(report.source)}.</p>'


def _answer(estimate: Estimate) -> str:
    decode = estimate.tpot_s
    tiles = [
        ("time to first token", _quantity(estimate.ttft_s, "s")),
        ("time per output token", _quantity(decode, "s")),
        ("request latency", _quantity(estimate.latency_s, "s")),
        ("output tokens/s for a user", _quantity(None if decode is None else 1.0 / decode, "count")),
        ("output tokens/s", _quantity(estimate.tokens_per_s, "count")),
        ("output tokens/s per device", _quantity(estimate.tokens_per_s_per_device, "count")),
        ("energy per output token", _quantity(estimate.energy_per_token_j, "J")),
        ("USD per million output tokens", _quantity(estimate.usd_per_million_tokens, "count")),
    ]
    verdict = '<p class="good">It fits the memory.</p>' if estimate.feasible else '<p class="bad">It does not fit.</p>'
    bound = '<p class="bad">A lower bound: some ops have no price.</p>' if estimate.provenance.lower_bound else ""
    return f"{verdict}{bound}{tiles_html(tiles)}"


def _violations(estimate: Estimate) -> str:
    out = ""
    for item in estimate.violations:
        levers = [(lever.change, format_quantity(lever.demand_bytes, "B")) for lever in item.levers]
        out += table_html(("each of these alone would make it fit", ">memory"), levers) if levers else ""
    return out


def _longest(estimate: Estimate) -> str:
    out = ""
    for name, phase in named_phases(estimate).items():
        shown = phase.rows[:LONGEST_ROWS]
        title = f"The {len(shown)} longest of {len(phase.rows)} kernels and transfers of the {name}"
        head = ("kernel or transfer", ">share", ">time", "bound", ">rate", ">bandwidth", ">roofline", "formula")
        out += f"<details><summary>{title}</summary>{table_html(head, map(_row, shown))}</details>"
    return out


def _row(row: RowEstimate) -> tuple[str, ...]:
    moved = row.bytes_read + row.bytes_written + row.network_bytes
    return (
        row.name,
        percent(row.share),
        f"{row.count:g} x {format_quantity(row.seconds, 's')}",
        row.bound,
        format_quantity(row.flops / row.seconds, "FLOP/s") if row.flops and row.seconds else "-",
        format_quantity(moved / row.seconds, "B/s") if moved and row.seconds else "-",
        percent(row.floor_seconds / row.seconds) if row.seconds else "-",
        row.formula,
    )


def _counts(sensitivities: Sequence[Sensitivity]) -> str:
    """What half and twice the batch and the lengths would do."""
    rows = [
        (
            found.title,
            each.title,
            f"{each.value:,}",
            "-" if each.value == 1 else _factor(each.half),
            _factor(each.twice),
        )
        for found in sensitivities
        for each in found.counts
    ]
    return table_html(("time", "count", ">now", ">with half", ">with twice"), rows)


def _factor(change: float | None) -> str:
    return "cannot run" if change is None else f"{100.0 * (change - 1.0):+.1f} %"


def _plans(points: PlanPoints) -> str:
    return (
        f'<p class="faint">{escape(points.counts_text)} A bar on the left marks the front. Click a head to sort.</p>'
        '<div class="filters" id="filters"></div><p class="faint" id="plan-count" aria-live="polite"></p>'
        '<div class="scroll"><table id="plans-table"><thead><tr></tr></thead><tbody></tbody></table></div>'
        '<p><button type="button" id="more" hidden></button></p>'
    )


def _basis(report: Report) -> str:
    estimate = report.estimate
    provenance, coverage = estimate.provenance, estimate.coverage
    rows = [
        (
            "priced",
            f"{percent(coverage.ops)} of ops, {percent(coverage.flops)} of FLOPs, {percent(coverage.bytes)} of bytes",
        ),
        ("profile", "; ".join((f"{provenance.profile}, hash {provenance.profile_hash}", *provenance.overrides))),
        ("pipeline", pipeline_text(provenance.pipeline)),
        ("gambrel", provenance.version),
    ]
    if report.source:
        rows.append(("plans", report.source))
    sure = f"<h3>{escape(_sure(report.intervals))}</h3>{_accuracy(report)}"
    return sure + basis_html(estimate.assumptions, rows)


def _sure(intervals: Mapping[PhaseName, Sequence[FamilyInterval]]) -> str:
    """The share of the time whose parameters were fitted on this device."""
    every = [item for its in intervals.values() for item in its]
    shares = {
        name: sum(item.seconds for item in its if item.grade == "calibrated") / sum(item.seconds for item in its)
        for name, its in intervals.items()
        if its
    }
    if all(item.grade == "calibrated" for item in every):
        return "All of the time is priced with parameters that were fitted on this device"
    text = " and ".join(
        f"{percent(share)} of the {'decode step' if name == 'decode' else name}" for name, share in shares.items()
    )
    return f"{text} is priced with parameters that were fitted on this device"


def _accuracy(report: Report) -> str:
    """How sure each family is, beside its share of the phases."""
    wholes = {name: sum(item.seconds for item in its) for name, its in report.intervals.items()}
    rows = [
        (
            "decode step" if name == "decode" else name,
            FAMILY_NAMES[item.family],
            percent(item.seconds / wholes[name]),
            item.grade,
            f"{item.lower_s / item.seconds:.2g} to {item.upper_s / item.seconds:.2g} x",
            percent(item.extrapolated_s / item.seconds),
        )
        for name, its in report.intervals.items()
        for item in sorted(its, key=lambda item: -item.seconds)
    ]
    head = ("phase", "kernels", ">share", "parameters", ">95 of 100 measured kernels take", ">outside fitted sizes")
    note = (
        "Calibrated: fitted on measurements of this device. Transferred: taken from its generation. Datasheet: no "
        "measurement at all. The bounds are of single kernels against their estimates; errors of many kernels "
        "partly cancel, and engines, imbalance and the order of kernels are not in them."
    )
    return f'{table_html(head, rows)}<p class="faint">{note}</p>'


def _quantity(value: float | None, unit: Dimension) -> str:
    return "" if value is None else format_quantity(value, unit)
