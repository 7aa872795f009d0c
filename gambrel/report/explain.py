"""Why an estimate is what it is: the kernels and transfers that take longest, each with its reasons."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from gambrel.estimation.result import Estimate, PhaseEstimate, RowEstimate
from gambrel.report.blocks import grid, heading, percent, seconds, size
from gambrel.report.text import plan_text, title_text, workload_text
from gambrel.units import format_quantity


def explain_report(estimate: Estimate, *, top: int, phases: tuple[str, ...]) -> list[RenderableType]:
    """The longest rows of each phase.

    Args:
        estimate: What to explain.
        top: How many rows of each phase.
        phases: `prefill`, `decode`, or both.
    """
    parts: list[RenderableType] = [
        Text(title_text(estimate), style="bold"),
        Text(f"{workload_text(estimate.workload)}; {plan_text(estimate.plan)}"),
    ]
    for name, title in (("prefill", "Prefill of the batch"), ("decode", "Mean decode step")):
        phase: PhaseEstimate | None = getattr(estimate, name)
        if name in phases:
            none = heading(f"{title}: there is none, the only output token comes from the prefill")
            parts += [none] if phase is None else _phase(title, phase, top)
    return parts


def _phase(title: str, phase: PhaseEstimate, top: int) -> Iterator[RenderableType]:
    waits = (("bubble", phase.bubble_seconds), ("host", phase.host_seconds))
    waiting = "".join(f", {name} {seconds(value)}" for name, value in waits if value > 0)
    yield heading(
        f"{title}: {seconds(phase.seconds)}{waiting}; MFU {percent(phase.mfu)}, MBU {percent(phase.mbu)}, "
        f"{phase.bound} bound"
    )
    shown = phase.rows[:top]
    for number, row in enumerate(shown, 1):
        yield from _row(number, row)
    rest = phase.rows[top:]
    if rest:
        share = sum(row.share for row in rest)
        yield Text(f"\n{len(rest)} more rows take {percent(share)} of the busy time.")


def _row(number: int, row: RowEstimate) -> Iterator[RenderableType]:
    yield Text(f"\n{number}. {row.name}", style="bold").append(
        f"  {percent(row.share)}, {row.bound} bound", style="not bold cyan"
    )
    whole = f"{seconds(row.total_seconds)} = {row.count:.6g} x {seconds(row.seconds)}"
    floor = f"{seconds(row.floor_seconds)}, {percent(row.floor_seconds / row.seconds)}" if row.seconds else "-"
    rows = [("time", whole), ("roofline", f"{floor} of the time of one"), ("each", ", ".join(_amounts(row)))]
    rows += [("kernel", row.kernel), ("ops", f"{row.op} ({row.family})"), ("formula", row.formula or "none")]
    yield Padding(grid(rows), (0, 0, 0, 3))


def _amounts(row: RowEstimate) -> Iterator[str]:
    """What one execution computes and moves, with the rates that this means."""
    moved = row.bytes_read + row.bytes_written
    if row.flops:
        yield f"{format_quantity(row.flops, 'FLOP')} ({_rate(row.flops, row, 'FLOP/s')})"
    if moved:
        yield f"{size(row.bytes_read)} read and {size(row.bytes_written)} written ({_rate(moved, row, 'B/s')})"
    if row.network_bytes:
        yield f"{size(row.network_bytes)} sent by each device ({_rate(row.network_bytes, row, 'B/s')})"
    if not row.flops and not moved and not row.network_bytes:
        yield "nothing that is counted"


def _rate(amount: float, row: RowEstimate, unit: str) -> str:
    return format_quantity(amount / row.seconds, unit) if row.seconds else "-"
