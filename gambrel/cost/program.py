"""The compiled cost table: evaluates all rows over arrays of design points.

Symbols: b sequences, s new tokens of each, c cached tokens of each, and the sizes of the mesh axes. The mean over a
decode is taken by Gauss-Legendre quadrature over c, only for the rows that depend on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.compress import compress, has_arrays
from gambrel.cost.energy import OperatingPoint, operate
from gambrel.cost.extract import CostTable
from gambrel.cost.kernel import BOUNDS, Gemm, GroupedGemm, Kernel
from gambrel.cost.roofline import roofline
from gambrel.cost.rows import KernelSpec, Row
from gambrel.cost.vectorise import Array, Binding, Vectorised
from gambrel.cost.whatif import map_numbers
from gambrel.hardware.device import Device
from gambrel.ir.expr import Expr, as_expr
from gambrel.ir.structure import PhaseName

NODES = 3
"""Quadrature nodes over the length of the cache: exact for polynomials up to degree 5, times are close to linear."""

CACHED = "c"

Rates = Callable[[str], str]
"""Which number format's rate a device uses for a product of some format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPrice:
    """What one row costs at every design point (arrays broadcast to the shape that the row depends on).

    Counts and the roofline are worked out when they are asked for: a search of millions of points never does.

    Attributes:
        row: The row.
        seconds: One execution.
        bound: Index into BOUNDS; at the middle of the decode where the row depends on the cached length.
        joules: One execution on one device, what the device takes without work included.
        count: Executions in one repetition of its segment, or in one pass.
        values: Of all expressions.
        kernel: As priced; None for a row that the user let pass unpriced.
        device: The machine that it was priced on.
        nodes: Weights of the cached lengths on the last axis of the values; None where they have no such axis.
    """

    row: Row
    seconds: Array
    bound: NDArray[np.int8]
    joules: Array
    count: Array
    values: Mapping[Expr, Array]
    kernel: Kernel | None
    device: Device
    nodes: Array | None = None

    @property
    def floor_seconds(self) -> Array:
        """One execution at the plain roofline."""
        if self.kernel is None:
            return np.zeros(())
        return self._mean(roofline(self.kernel, self.device).seconds)

    @property
    def flops(self) -> Array:
        """FLOPs of one execution on one device."""
        return self._mean(self.values[self.row.flops])

    @property
    def bytes_read(self) -> Array:
        """Bytes that one execution reads from memory on one device."""
        return self._mean(self.values[self.row.bytes_read])

    @property
    def bytes_written(self) -> Array:
        """Bytes that one execution writes to memory on one device."""
        return self._mean(self.values[self.row.bytes_written])

    @property
    def network_bytes(self) -> Array:
        """Size of the buffer that one execution hands to a collective on one device."""
        return self._mean(self.values[self.row.network_bytes])

    def _mean(self, value: Array) -> Array:
        return value if self.nodes is None else _mean(value, self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpan:
    """Over which cached lengths a phase is averaged: from `first` to `last`, inclusive, one every `step`."""

    first: Array
    last: Array
    step: Array | float = 1.0


class CostProgram:
    """A cost table whose expressions are compiled once; evaluating it touches no IR."""

    def __init__(self, table: CostTable) -> None:
        """Compile the expressions of all rows."""
        self.table = table
        self._fixed: dict[PhaseName, _PhaseProgram] = {}

    def phase(self, name: PhaseName) -> "_PhaseProgram":
        """The rows of one phase, compiled on first use."""
        if name not in self._fixed:
            self._fixed[name] = _PhaseProgram([row for row in self.table.rows if row.phase == name])
        return self._fixed[name]


class _PhaseProgram:
    """The rows of one phase: those that depend on the cached length, and the others."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.groups = [_RowGroup([r for r in rows if not _cached(r)]), _RowGroup([r for r in rows if _cached(r)])]

    def evaluate(self, device: Device, rates: Rates, binding: Binding, span: CacheSpan) -> list[RowPrice]:
        """Prices of all rows, in order.

        Args:
            device: The machine; its numbers may be what-if arrays.
            rates: Which rate the device uses for a format.
            binding: Values of all symbols but `c`.
            span: Cached lengths to average over.
        """
        plain, cached = self.groups
        prices = plain.evaluate(device, rates, {**binding, CACHED: span.first})
        prices.update(cached.evaluate_mean(device, rates, binding, span))
        return [prices[id(row)] for row in self.rows]


def _cached(row: Row) -> bool:
    return any(CACHED in e.symbols for e in row.expressions)


class _RowGroup:
    """Rows whose expressions are one compiled function; equal kernels are priced once."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.compiled = Vectorised([e for row in rows for e in (*row.expressions, as_expr(1))])

    def evaluate(self, device: Device, rates: Rates, binding: Binding) -> dict[int, RowPrice]:
        if not self.rows:
            return {}
        values, shared = self.compiled(binding), not has_arrays(device)
        made: dict[tuple[object, ...], tuple[OperatingPoint, Kernel | None]] = {}
        out: dict[int, RowPrice] = {}
        for row in self.rows:
            key = row.kernel.key if row.kernel is not None else ()
            if key not in made:
                made[key] = _price(row.kernel, device, rates, values, shared=shared)
            point, kernel = made[key]
            out[id(row)] = RowPrice(
                row=row,
                seconds=point.seconds,
                bound=point.bound,
                joules=point.joules,
                count=values[row.count],
                values=values,
                kernel=kernel,
                device=device,
            )
        return out

    def evaluate_mean(self, device: Device, rates: Rates, binding: Binding, span: CacheSpan) -> dict[int, RowPrice]:
        """The mean over the span: nodes lie on a new last axis, which is averaged away."""
        if not self.rows:
            return {}
        if not np.any(span.last > span.first):
            return self.evaluate(device, rates, {**binding, CACHED: span.first})
        points, weights = np.polynomial.legendre.leggauss(NODES)
        middle, half = (span.first + span.last) / 2.0, (span.last - span.first + span.step) / 2.0
        # The sum over first, first + step, ..., last is close to the integral from half a step before to half behind.
        several = (span.last > span.first)[..., None]
        nodes = np.rint(middle[..., None] + half[..., None] * points)
        nodes = np.where(several, nodes, np.asarray(span.first)[..., None])
        wide = {name: np.asarray(value)[..., None] for name, value in binding.items()}
        prices = self.evaluate(_widen(device), rates, {**wide, CACHED: nodes})
        return {key: _average(item, weights / 2.0) for key, item in prices.items()}


def _price(
    kernel: KernelSpec | None, device: Device, rates: Rates, values: Mapping[Expr, Array], *, shared: bool
) -> tuple[OperatingPoint, Kernel | None]:
    """The operating point of a kernel, and the kernel with its sizes.

    Where all points share the numbers of the device, only distinct products are priced.
    """
    if kernel is None:
        zero = np.zeros(())
        return OperatingPoint(zero, np.full((), BOUNDS.index("latency"), dtype=np.int8), zero), None
    rate = kernel.constants.get("rate")
    if isinstance(rate, str):
        kernel = replace(kernel, constants={**kernel.constants, "rate": rates(rate)})
    sizes = {name: values[size] for name, size in kernel.sizes.items()}
    bound = kernel.bind(sizes)
    compressed = compress(sizes) if shared and kernel.kind in (Gemm, GroupedGemm) else None
    if compressed is not None:
        point = operate(kernel.bind(compressed.sizes), device)
        spread = compressed.spread
        return OperatingPoint(spread(point.seconds), spread(point.bound), spread(point.joules)), bound
    return operate(bound, device), bound


def _average(item: RowPrice, weights: Array) -> RowPrice:
    bound = item.bound[..., item.bound.shape[-1] // 2] if item.bound.ndim else item.bound
    return replace(
        item,
        seconds=_mean(item.seconds, weights),
        bound=bound,
        joules=_mean(item.joules, weights),
        count=_mean(item.count, weights),
        nodes=weights,
    )


def _mean(value: Array, weights: Array) -> Array:
    """The mean over the last axis, which holds one value a node, or one for all."""
    if not value.ndim:
        return value
    if value.shape[-1] != len(weights):
        return value[..., 0]
    return sum((value[..., node] * weight for node, weight in enumerate(weights.tolist())), np.zeros(()))


def _widen(device: Device) -> Device:
    """The device with a new last axis on its what-if arrays, so that they broadcast against the nodes."""
    return map_numbers(device, lambda value: np.asarray(value)[..., None]) if has_arrays(device) else device
