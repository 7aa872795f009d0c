"""An estimate as a small piece of HTML, for notebooks: tables and inline CSS, nothing from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gambrel.estimation.result import Estimate, MemoryEstimate, PhaseEstimate, Violation
from gambrel.units import format_quantity

_ROWS = 10

# All rules begin with the class, so that the page around it keeps its looks.
_STYLE = """
.gambrel{font:13px/1.45 system-ui,sans-serif;max-width:60em}
.gambrel table{border-collapse:collapse;margin:.3em 0 1em}
.gambrel td,.gambrel th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top;border:0}
.gambrel th{font-weight:600;border-bottom:1px solid #8886}
.gambrel td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.gambrel i.bar{display:inline-block;height:.7em;background:#2a78b8;vertical-align:baseline}
.gambrel .bad{color:#b3261e;font-weight:600}
.gambrel h4{margin:.8em 0 .2em}
"""


def estimate_html(estimate: Estimate) -> str:
    """The answer, the memory, where the time goes, and what it rests on."""
    work, plan = estimate.workload, estimate.plan
    asked = f"batch {work.batch}, {work.prefix} cached + {work.isl} prompt + {work.osl} output tokens each"
    names = (
        "tp",
        "pp",
        "dp",
        "cp",
        "ep",
        "prefill_microbatches",
        "microbatches",
        "weights",
        "experts",
        "activations",
        "kv",
    )
    chosen = [f"{name} {value}" for name in names if (value := getattr(plan, name)) not in (None, 1)]
    return "".join(
        (
            f'<div class="gambrel"><style>{_STYLE}</style>',
            f"<b>{escape(estimate.model)} on {estimate.devices} x {escape(estimate.device)}</b><br>",
            escape(f"{asked}; {', '.join([plan.strategy or '', *chosen])}"),
            _table((), _answer(estimate)),
            _memory(estimate.memory),
            *map(_violation, estimate.violations),
            _phase("Prefill of the batch", estimate.prefill),
            "" if estimate.decode is None else _phase("Mean decode step", estimate.decode),
            _basis(estimate),
            "</div>",
        )
    )


def _answer(estimate: Estimate) -> Iterable[Sequence[str]]:
    values = (
        ("TTFT", estimate.ttft_s, "s"),
        ("TPOT", estimate.tpot_s, "s"),
        ("request latency", estimate.latency_s, "s"),
        ("output tokens/s", estimate.tokens_per_s, "count"),
        ("output tokens/s per device", estimate.tokens_per_s_per_device, "count"),
        ("energy per output token", estimate.energy_per_token_j, "J"),
        ("per million output tokens", estimate.usd_per_million_tokens, "USD"),
    )
    return [(escape(name), _number(format_quantity(value, unit))) for name, value, unit in values if value is not None]


def _memory(memory: MemoryEstimate) -> str:
    verdict = "fits" if memory.fits else '<span class="bad">does not fit</span>'
    used, capacity = format_quantity(memory.total_bytes, "B"), format_quantity(memory.capacity_bytes, "B")
    head = f"<h4>Memory of the fullest device: {used} of {capacity}, {verdict}</h4>"
    return head + _shares(memory.bytes_by_kind, memory.capacity_bytes, "B")


def _violation(violation: Violation) -> str:
    demand, limit = format_quantity(violation.demand_bytes, "B"), format_quantity(violation.limit_bytes, "B")
    head = f'<p class="bad">{escape(violation.what)}: {demand} &gt; {limit}</p>'
    levers = [(escape(lever.change), _number(format_quantity(lever.demand_bytes, "B"))) for lever in violation.levers]
    return head + (_table(("each alone would make it fit", "memory"), levers) if levers else "")


def _phase(title: str, phase: PhaseEstimate) -> str:
    head = (
        f"<h4>{escape(title)}: {format_quantity(phase.seconds, 's')}, {phase.bound} bound, "
        f"MFU {_percent(phase.mfu)}, MBU {_percent(phase.mbu)}</h4>"
    )
    parts = {**phase.seconds_by_family, **({"waiting": phase.bubble_seconds} if phase.bubble_seconds else {})}
    rows = [
        (
            escape(row.name),
            _number(_percent(row.share)),
            _number(format_quantity(row.total_seconds, "s")),
            escape(row.bound),
            f"<code>{escape(row.kernel)}</code>",
        )
        for row in phase.rows[:_ROWS]
    ]
    longest = f"<details><summary>the {len(rows)} longest of {len(phase.rows)} rows</summary>"
    table = _table(("kernel or transfer", "share", "time", "bound", "priced as"), rows)
    return f"{head}{_shares(parts, sum(parts.values()), 's')}{longest}{table}</details>"


def _basis(estimate: Estimate) -> str:
    provenance, coverage = estimate.provenance, estimate.coverage
    bound = '<p class="bad">A lower bound: some ops have no price.</p>' if provenance.lower_bound else ""
    priced = (
        f"{_percent(coverage.ops)} of ops, {_percent(coverage.flops)} of FLOPs, {_percent(coverage.bytes)} of bytes"
    )
    grades = ", ".join(f"{family} {grade}" for family, grade in provenance.grades.items())
    profile = f"{provenance.profile}, hash {provenance.profile_hash}"
    rows = [
        ("priced", priced),
        ("parameters", escape(grades)),
        ("profile", escape("; ".join((profile, *provenance.overrides)))),
        ("pipeline", f"<code>{escape(provenance.pipeline)}</code>"),
        ("gambrel", escape(provenance.version)),
    ]
    notes = "".join(f"<li>{escape(text)}</li>" for text in estimate.assumptions)
    return f"{bound}<details><summary>assumptions and provenance</summary><ul>{notes}</ul>{_table((), rows)}</details>"


def _shares(parts: Mapping[str, float], whole: float, unit: str) -> str:
    rows = [
        (
            escape(name),
            _number(format_quantity(value, unit)),
            _number(_percent(value / whole)),
            f'<i class="bar" style="width:{min(value / whole, 1.0) * 12:.2f}em"></i>',
        )
        for name, value in sorted(parts.items(), key=lambda part: -part[1])
    ]
    return _table((), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; a number brings its own `td`."""
    top = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>" if head else ""
    body = "".join(
        f"<tr>{''.join(cell if cell.startswith('<td') else f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table>{top}{body}</table>"


def _number(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
