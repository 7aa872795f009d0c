"""From arrays to an answer: one design point of an evaluation as an Estimate."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from gambrel.cost.engines import parameter_grade
from gambrel.cost.kernel import BOUNDS
from gambrel.cost.program import Rates, RowPrice
from gambrel.cost.rows import Row
from gambrel.cost.vectorise import Array
from gambrel.estimation.evaluate import Evaluation, PhaseTotals
from gambrel.estimation.result import Bound, Coverage, MemoryEstimate, PhaseEstimate, RowEstimate
from gambrel.estimation.variant import Variant
from gambrel.hardware.device import Device

PARAMETER_FAMILIES = {
    "gemm": "gemm",
    "experts": "grouped_gemm",
    "attention": "attention_decode",
    "recurrence": "scan",
    "pointwise": "memory_bound",
    "collective": "collective",
}
"""Which engine parameters price each family of rows."""


ROOFLINE_FORMULA = (
    "max(FLOPs / achievable rate, bytes / achievable bandwidth); docs/explanation/cost-model.md, 'Roofline engine'"
)
"""What prices every kernel of a device without an engine of its own."""


def phase_estimate(totals: PhaseTotals, engine: str) -> PhaseEstimate:
    """One phase of a scalar evaluation, priced by an engine."""
    busy = {bound: _scalar(value) for bound, value in totals.by_bound.items()}
    total = sum(busy.values()) or 1.0
    rows = [_row(p, _scalar(w), total, engine, totals.rates) for p, w in zip(totals.rows, totals.weights, strict=True)]
    return PhaseEstimate(
        seconds=_scalar(totals.seconds),
        bubble_seconds=max(_scalar(totals.bubble_seconds), 0.0),
        host_seconds=max(_scalar(totals.host_seconds), 0.0),
        overlapped_seconds=_scalar(totals.overlapped_seconds),
        floor_seconds=_scalar(totals.floor_seconds),
        mfu=_scalar(totals.mfu),
        mbu=_scalar(totals.mbu),
        flops=_scalar(totals.flops),
        bytes=_scalar(totals.bytes),
        network_bytes=_scalar(totals.network_bytes),
        bound=cast(Bound, max(busy, key=lambda name: busy[name])),
        seconds_by_family={name: _scalar(value) for name, value in totals.by_family.items()},
        seconds_by_bound=busy,
        rows=sorted(rows, key=lambda row: -row.total_seconds),
    )


def memory_estimate(evaluation: Evaluation) -> MemoryEstimate:
    """Memory of a scalar evaluation."""
    return MemoryEstimate(
        bytes_by_kind={kind: _scalar(value) for kind, value in evaluation.memory_bytes.items()},
        total_bytes=_scalar(evaluation.memory_total_bytes),
        capacity_bytes=_scalar(evaluation.capacity_bytes),
    )


def coverage(variant: Variant, evaluation: Evaluation) -> Coverage:
    """Shares of ops, FLOPs and bytes that were priced."""
    rows = variant.program.table.rows
    priced = sum(row.kernel is not None for row in rows)
    return Coverage(
        ops=priced / len(rows),
        flops=_priced_share(evaluation, lambda p: p.flops),
        bytes=_priced_share(evaluation, lambda p: p.bytes_read + p.bytes_written),
    )


def grades(device: Device, variant: Variant) -> Mapping[str, str]:
    """Where the parameters of each family that occurs come from."""
    families = dict.fromkeys(row.family for row in variant.program.table.rows)
    return {
        family: parameter_grade(device, PARAMETER_FAMILIES[family])
        for family in families
        if family in PARAMETER_FAMILIES
    }


def _priced_share(evaluation: Evaluation, amount: Callable[[RowPrice], Array]) -> float:
    priced = everything = 0.0
    for phase in (evaluation.prefill, evaluation.decode):
        for p, w in zip(phase.rows, phase.weights, strict=True):
            value = _scalar(amount(p) * w)
            everything += value
            priced += value if p.row.kernel is not None else 0.0
    return priced / everything if everything else 1.0


def _row(price: RowPrice, runs: float, busy: float, engine: str, rates: Rates) -> RowEstimate:
    row = price.row
    seconds = _scalar(price.seconds)
    return RowEstimate(
        name=f"{row.segment}: {row.name}" if row.segment else row.name,
        op=row.op,
        family=row.family,
        rate=rates(row.rate) if row.rate else "",
        kernel=kernel_text(row),
        count=runs,
        seconds=seconds,
        total_seconds=seconds * runs,
        share=seconds * runs / busy,
        bound=BOUNDS[int(price.bound)],
        floor_seconds=_scalar(price.floor_seconds),
        flops=_scalar(price.flops),
        bytes_read=_scalar(price.bytes_read),
        bytes_written=_scalar(price.bytes_written),
        network_bytes=_scalar(price.network_bytes),
        formula=formula_text(row, engine),
    )


def formula_text(row: Row, engine: str) -> str:
    """The closed form that prices a row on a device of an engine, and its source."""
    plain = engine == "roofline" and row.kernel is not None and row.family != "collective"
    return ROOFLINE_FORMULA if plain else row.formula


def kernel_text(row: Row) -> str:
    """What a row prices, `Gemm(m=b*s, n=10240, ...)`."""
    if row.kernel is None:
        return "unpriced"
    sizes = [f"{name}={size}" for name, size in row.kernel.sizes.items()]
    return f"{row.kernel.kind.__name__}({', '.join([*sizes, *(f'{k}={v}' for k, v in row.kernel.constants.items())])})"


def _scalar(value: "Array | Sequence[float] | float") -> float:
    return float(np.asarray(value))
