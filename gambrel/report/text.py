"""One estimate as a report for the terminal."""

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from gambrel.estimation.many import FORMAT_OPTIONS
from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import DEGREES, Plan, Workload
from gambrel.estimation.result import Estimate, MemoryEstimate, PhaseEstimate, Violation
from gambrel.report.blocks import bar, count, grid, heading, percent, seconds, size
from gambrel.runtimes import IDEAL
from gambrel.units import format_quantity

_NOT_SHOWN_BELOW = 0.0005
"""Shares of a phase that would print as 0.0 % in all phases are left out."""


def estimate_report(estimate: Estimate) -> list[RenderableType]:
    """What an estimate says, the answer first and what it rests on last."""
    return [
        *_title(estimate),
        *_answer(estimate),
        *_memory(estimate.memory),
        *(part for violation in estimate.violations for part in _violation(violation)),
        *_phases(estimate),
        *_time(estimate, "Time by op family", "seconds_by_family"),
        *_time(estimate, "Time by bound", "seconds_by_bound"),
        *_assumptions(estimate.assumptions),
        *_basis(estimate),
    ]


def workload_text(workload: Workload) -> str:
    """`batch 32, 4096 prompt + 512 output tokens each`."""
    cached = f"{workload.prefix} cached + " if workload.prefix else ""
    return f"batch {workload.batch}, {cached}{workload.isl} prompt + {workload.osl} output tokens each"


def plan_text(plan: Plan) -> str:
    """`megatron, tp 8, pp 2, weights fp8`: the strategy, degrees above one, and what else is not the plain one."""
    degrees = [f"{name.replace('_', ' ')} {value}" for name in DEGREES if (value := getattr(plan, name) or 1) > 1]
    formats = [f"{name} {value}" for name in FORMAT_OPTIONS if (value := getattr(plan, name))]
    layout = [f"chunks of {plan.prefill_chunk}"] if plan.prefill_chunk else []
    layout += [f"ranks {plan.placement}"] if plan.placement not in (None, PLACEMENTS[0]) else []
    engine = [] if plan.engine == IDEAL.name else [f"engine {plan.engine}"]
    return ", ".join([plan.strategy or "", *(degrees or ["one device"]), *layout, *formats, *engine])


def title_text(estimate: Estimate) -> str:
    """`llama-3.1-70b on 8 x NVIDIA H100 SXM5 80GB`."""
    several = f"{estimate.devices} x " if estimate.devices > 1 else ""
    return f"{estimate.model} on {several}{estimate.device}"


def pipeline_text(pipeline: str) -> str:
    """The passes with a blank after each, so that the text wraps between them."""
    return re.sub(r",(?![^{]*})", ", ", pipeline)


def _title(estimate: Estimate) -> Iterator[RenderableType]:
    yield Text(title_text(estimate), style="bold")
    yield Text(workload_text(estimate.workload))
    yield Text(plan_text(estimate.plan))


def _answer(estimate: Estimate) -> Iterator[RenderableType]:
    steps = estimate.workload.osl - 1
    rows = [("TTFT", seconds(estimate.ttft_s), "one prefill of the whole batch")]
    if estimate.tpot_s is not None:
        rows.append(("TPOT", seconds(estimate.tpot_s), f"mean of {steps} decode step{'s' if steps > 1 else ''}"))
    rows.append(("request latency", seconds(estimate.latency_s), ""))
    rows.append(
        ("output tokens/s", count(estimate.tokens_per_s), f"{count(estimate.tokens_per_s_per_device)} per device")
    )
    if estimate.energy_per_token_j is not None and estimate.energy_j is not None:
        whole = format_quantity(estimate.energy_j, "J")
        rows.append(
            ("energy", format_quantity(estimate.energy_per_token_j, "J"), f"per output token; {whole} for the batch")
        )
    if estimate.usd_per_million_tokens is not None:
        rows.append(("price", f"{count(estimate.usd_per_million_tokens)} USD", "per million output tokens"))
    if estimate.provenance.lower_bound:
        rows.append(("LOWER BOUND", "", "some ops have no price: see the assumptions"))
    yield heading("Answer")
    yield grid([(name, Text(value, style="bold"), note) for name, value, note in rows], right=(1,))


def _memory(memory: MemoryEstimate) -> Iterator[RenderableType]:
    used, capacity = memory.total_bytes, memory.capacity_bytes
    fits = "fits" if memory.fits else "DOES NOT FIT"
    yield heading(f"Memory of the fullest device: {size(used)} of {size(capacity)}, {percent(used / capacity)}: {fits}")
    style = "cyan" if memory.fits else "red"
    yield grid(
        [
            (name, size(value), percent(value / capacity), bar(value / capacity, style=style))
            for name, value in memory.bytes_by_kind.items()
        ],
        right=(1, 2),
    )


def _violation(violation: Violation) -> Iterator[RenderableType]:
    yield heading(
        f"Does not fit: {violation.what} {size(violation.demand_bytes)} > {size(violation.limit_bytes)}, "
        f"{size(violation.gap_bytes)} too much",
        style="bold red",
    )
    if not violation.levers:
        yield Text("No single change that was tried would make it fit.")
        return
    yield Text("Each of these alone would make it fit:")
    yield grid([(lever.change, size(lever.demand_bytes)) for lever in violation.levers], right=(1,))


def _phases(estimate: Estimate) -> Iterator[RenderableType]:
    yield heading("Phases")
    rows = [
        (
            name,
            seconds(phase.seconds),
            seconds(phase.floor_seconds),
            percent(phase.bubble_seconds / phase.seconds),
            percent(phase.host_seconds / phase.seconds),
            percent(phase.mfu),
            percent(phase.mbu),
            phase.bound,
        )
        for name, phase in _named_phases(estimate)
    ]
    head = ("", "time", "roofline", "bubble", "host", "MFU", "MBU", "bound")
    yield grid(rows, right=range(1, 7), head=head)


def _time(estimate: Estimate, title: str, field: str) -> Iterator[RenderableType]:
    phases = _named_phases(estimate)
    shares = [_shares(phase, getattr(phase, field)) for _, phase in phases]
    names = dict.fromkeys(name for share in shares for name in share)
    largest = sorted(names, key=lambda name: -max(share.get(name, 0.0) for share in shares))
    rows = [
        (name, *(cell for share in shares for cell in (percent(share.get(name, 0.0)), bar(share.get(name, 0.0)))))
        for name in largest
        if max(share.get(name, 0.0) for share in shares) >= _NOT_SHOWN_BELOW
    ]
    yield heading(title)
    yield grid(rows, right=(1, 3), head=("", *(cell for name, _ in phases for cell in ("", name))))


def _shares(phase: PhaseEstimate, parts: Mapping[str, float]) -> dict[str, float]:
    """Parts of a phase's time; waiting for other pipeline stages and for the host are two of them."""
    waiting = {"bubble": phase.bubble_seconds, "host": phase.host_seconds}
    every = {**parts, **{name: value for name, value in waiting.items() if value > 0}}
    whole = sum(every.values())
    return {name: value / whole for name, value in every.items()}


def _named_phases(estimate: Estimate) -> list[tuple[str, PhaseEstimate]]:
    phases = [("prefill", estimate.prefill)]
    return phases if estimate.decode is None else [*phases, ("decode step", estimate.decode)]


def _assumptions(assumptions: Sequence[str]) -> Iterator[RenderableType]:
    yield heading("Assumptions")
    yield grid([("-", text) for text in assumptions])


def _basis(estimate: Estimate) -> Iterator[RenderableType]:
    provenance, coverage = estimate.provenance, estimate.coverage
    profile = f"{provenance.profile}, hash {provenance.profile_hash}"
    rows = [
        (
            "priced",
            f"{percent(coverage.ops)} of ops, {percent(coverage.flops)} of FLOPs, {percent(coverage.bytes)} of bytes",
        ),
        ("parameters", "; ".join(_grades(provenance.grades))),
        ("profile", "; ".join((profile, *provenance.overrides))),
        ("pipeline", pipeline_text(provenance.pipeline)),
        ("gambrel", provenance.version),
    ]
    yield heading("What it rests on")
    yield grid(rows)


def _grades(grades: Mapping[str, str]) -> Iterator[str]:
    """`calibrated: gemm, attention`, a part for each grade."""
    for grade in dict.fromkeys(grades.values()):
        yield f"{grade}: {', '.join(family for family, its in grades.items() if its == grade)}"
