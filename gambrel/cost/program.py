"""The compiled cost table: evaluates all rows over arrays of design points.

Symbols: b sequences, s new tokens of each, c cached tokens of each, and the sizes of the mesh axes. The mean over a
decode is taken by Gauss-Legendre quadrature over c, only for the rows that depend on it.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.compress import compress, has_arrays
from gambrel.cost.energy import OperatingPoint, operate
from gambrel.cost.extract import CostTable
from gambrel.cost.frames import WORTH_POINTS, Frame, Pick, atoms_of, find_frames
from gambrel.cost.kernel import BOUNDS, Gemm, GroupedGemm
from gambrel.cost.known import operate_known
from gambrel.cost.roofline import roofline
from gambrel.cost.rows import KernelSpec, Row
from gambrel.cost.vectorise import Array, Binding, Interpreted, Vectorised
from gambrel.cost.whatif import map_numbers
from gambrel.hardware.device import Device
from gambrel.ir.expr import Expr
from gambrel.ir.structure import PhaseName

NODES = 3
"""Quadrature nodes over the length of the cache: exact for polynomials up to degree 5, times are close to linear."""

CACHED = "c"

SEVERAL_POINTS = 64
"""From so many points on it is worth to put the kernels together that an engine prices in one call."""

FEW_POINTS = 2**14
"""A call to an engine takes as long for one point as for some thousands: up to so many, kernels are priced together."""

UNPRICED = -1
"""The number of the kernel of rows that have none."""

Rates = Callable[[str], str]
"""Which number format's rate a device uses for a product of some format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPrice:
    """What one row costs at every design point (arrays broadcast to the shape that the row depends on).

    Counts and the roofline are worked out when they are asked for: a search of millions of points never does.

    Attributes:
        row: The row.
        point: One execution, on the frame.
        frame: Where the prices of distinct kernels are among the design points; None where `point` is of all of them.
        count: Executions in one repetition of its segment, or in one pass.
        spec: The kernel, its number format that of a rate; None for a row that the user let pass unpriced.
        values: Of expressions.
        device: The machine that it was priced on.
        nodes: Weights of the cached lengths on the last axis of the values; None where they have no such axis.
    """

    row: Row
    point: OperatingPoint
    frame: Frame | None = None
    count: Array
    spec: KernelSpec | None
    values: Callable[[Expr], Array]
    device: Device
    nodes: Array | None = None

    @property
    def seconds(self) -> Array:
        """One execution."""
        return self.point.seconds if self.frame is None else self.frame.spread(self.point.seconds)

    @property
    def bound(self) -> NDArray[np.int8]:
        """Index into BOUNDS; at the middle of the decode where the row depends on the cached length."""
        return self.point.bound if self.frame is None else self.frame.spread(self.point.bound)

    @property
    def joules(self) -> Array:
        """One execution on one device, what the device takes without work included."""
        return self.point.joules if self.frame is None else self.frame.spread(self.point.joules)

    @property
    def floor_seconds(self) -> Array:
        """One execution at the plain roofline."""
        if self.spec is None:
            return np.zeros(())
        kernel = self.spec.bind({name: self.values(size) for name, size in self.spec.sizes.items()})
        return self._mean(roofline(kernel, self.device).seconds)

    @property
    def flops(self) -> Array:
        """FLOPs of one execution on one device."""
        return self._mean(self.values(self.row.flops))

    @property
    def bytes_read(self) -> Array:
        """Bytes that one execution reads from memory on one device."""
        return self._mean(self.values(self.row.bytes_read))

    @property
    def bytes_written(self) -> Array:
        """Bytes that one execution writes to memory on one device."""
        return self._mean(self.values(self.row.bytes_written))

    @property
    def network_bytes(self) -> Array:
        """Size of the buffer that one execution hands to a collective on one device."""
        return self._mean(self.values(self.row.network_bytes))

    def _mean(self, value: Array) -> Array:
        return value if self.nodes is None else _mean(value, self.nodes)


Amount = Callable[[OperatingPoint], Array]


def summed(prices: Sequence[RowPrice], amount: Amount, weights: Sequence[Array], pick: Pick | None = None) -> Array:
    """The sum over rows of what one execution takes, times a weight each, at all points or at those that are picked.

    Rows of one frame are added up on it, and the sum is spread over the points.
    """
    on_frames: dict[Frame, list[Array]] = {}
    at_points: list[Array] = []
    for p, weight in zip(prices, weights, strict=True):
        value = amount(p.point)
        if p.frame is not None and not weight.ndim:
            on_frames.setdefault(p.frame, []).append(value * weight)
            continue
        if p.frame is not None:
            value = p.frame.spread(value)
        at_points.append(value * weight if pick is None else pick(value * weight))
    at_points += [frame.spread(add(values), pick) for frame, values in on_frames.items()]
    return add(at_points)


def add(values: Iterable[Array]) -> Array:
    """The sum, of small arrays first: what varies along few axes is added up along them."""
    return sum(sorted(values, key=_size), np.zeros(()))


def _size(value: Array) -> int:
    return value.size


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
        self.expressions = Vectorised(e for row in rows for e in row.expressions)
        known: dict[object, int] = {}
        self.numbers = [known.setdefault(row.kernel.key, len(known)) if row.kernel else UNPRICED for row in rows]
        self.kernels = {number: row.kernel for number, row in zip(self.numbers, rows, strict=True) if row.kernel}
        self.atoms = {number: atoms_of(kernel.sizes.values()) for number, kernel in self.kernels.items()}

    def evaluate(self, device: Device, rates: Rates, binding: Binding, *, nodes: bool = False) -> dict[int, RowPrice]:
        """Prices of all rows; with `nodes` the last axis of all values is that of a quadrature."""
        if not self.rows:
            return {}
        kernels = {number: _at_rate(kernel, rates) for number, kernel in self.kernels.items()}
        frames: dict[int, Frame] = {}
        points: dict[int, OperatingPoint] = {UNPRICED: _unpriced()}
        count = _points(binding, self.expressions.symbols)
        if count < SEVERAL_POINTS or has_arrays(device):
            values = self.expressions(binding).__getitem__
        else:
            values = Interpreted(binding.items())
            if count >= WORTH_POINTS:
                factors = {atom: values.atom(atom) for atoms in self.atoms.values() for atom in atoms}
                found = find_frames(factors, self.atoms.values(), nodes=nodes)
                frames = {number: found[atoms] for number, atoms in self.atoms.items() if atoms in found}
            points |= _price_together(kernels, frames, values, device)
        for number, kernel in kernels.items():
            if number not in points:
                points[number] = _price(kernel, device, values)
        out: dict[int, RowPrice] = {}
        for row, number in zip(self.rows, self.numbers, strict=True):
            out[id(row)] = RowPrice(
                row=row,
                point=points[number],
                frame=frames.get(number),
                count=values(row.count),
                spec=kernels.get(number),
                values=values,
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
        prices = self.evaluate(_widen(device), rates, {**wide, CACHED: nodes}, nodes=True)
        return {key: _average(item, weights / 2.0) for key, item in prices.items()}


def _points(binding: Binding, symbols: Iterable[str]) -> int:
    return math.prod(np.broadcast_shapes(*(binding[name].shape for name in symbols)))


def _at_rate(kernel: KernelSpec, rates: Rates) -> KernelSpec:
    """The kernel with the number format whose rate its device uses."""
    rate = kernel.constants.get("rate")
    return replace(kernel, constants={**kernel.constants, "rate": rates(rate)}) if isinstance(rate, str) else kernel


def _unpriced() -> OperatingPoint:
    zero = np.zeros(())
    return OperatingPoint(zero, np.full((), BOUNDS.index("latency"), dtype=np.int8), zero)


def _price(kernel: KernelSpec, device: Device, values: Callable[[Expr], Array]) -> OperatingPoint:
    """The operating point of a kernel at all points; where they share the device, only distinct products are priced."""
    sizes = {name: values(size) for name, size in kernel.sizes.items()}
    compressed = compress(sizes) if not has_arrays(device) and kernel.kind in (Gemm, GroupedGemm) else None
    if compressed is None:
        return operate(kernel.bind(sizes), device)
    point = operate(kernel.bind(compressed.sizes), device)
    spread = compressed.spread
    return OperatingPoint(spread(point.seconds), spread(point.bound), spread(point.joules))


class _Small(NamedTuple):
    """A kernel to price at few points, and its sizes there."""

    number: int
    kernel: KernelSpec
    sizes: Mapping[str, Array]
    shape: tuple[int, ...]


def _price_together(
    kernels: Mapping[int, KernelSpec],
    frames: Mapping[int, Frame],
    values: Callable[[Expr], Array],
    device: Device,
) -> Iterator[tuple[int, OperatingPoint]]:
    """Operating points of kernels on their frames, or at all points if these are few: those of a kind in one call."""
    alike: dict[Hashable, list[_Small]] = {}
    on_frames = {frame: Interpreted(frame.values.items()) for frame in frames.values()}
    for number, kernel in kernels.items():
        value = on_frames[frames[number]] if number in frames else values
        sizes = {name: value(size) for name, size in kernel.sizes.items()}
        shape = np.broadcast_shapes(*(size.shape for size in sizes.values()))
        # An engine asks whether a call computes several products: those of one and of several are kept apart.
        kind = (kernel.kind, tuple(kernel.constants.items()), tuple(sizes), kernel.sizes.get("batch"))
        if number in frames or math.prod(shape) <= FEW_POINTS:
            alike.setdefault(kind, []).append(_Small(number, kernel, sizes, shape))
    for kind, members in alike.items():
        yield from _price_small(kind, members, device)


def _price_small(kind: Hashable, members: Sequence[_Small], device: Device) -> Iterator[tuple[int, OperatingPoint]]:
    sizes = {
        name: np.concatenate([np.broadcast_to(each.sizes[name], each.shape).ravel() for each in members])
        for name in members[0].sizes
    }
    kernel = members[0].kernel
    several = sizes["batch"] > 1.0 if kernel.kind is Gemm else None
    # Tilings take longer to try than shapes to look up. Where one product and several mix, the call decides the price.
    if several is not None and several.all() == several.any():
        point = operate_known((kind, bool(several.any())), kernel.bind, sizes, device)
    else:
        point = operate(kernel.bind(sizes), device)
    start = 0
    for each in members:
        part = slice(start, start := start + math.prod(each.shape))
        seconds, bound, joules = point.seconds[part], point.bound[part], point.joules[part]
        yield (
            each.number,
            OperatingPoint(seconds.reshape(each.shape), bound.reshape(each.shape), joules.reshape(each.shape)),
        )


def _average(item: RowPrice, weights: Array) -> RowPrice:
    seconds, bound, joules = item.point
    point = OperatingPoint(
        _mean(seconds, weights), bound[..., bound.shape[-1] // 2] if bound.ndim else bound, _mean(joules, weights)
    )
    return replace(item, point=point, count=_mean(item.count, weights), nodes=weights)


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
