"""The cost table: one row for each kernel or transfer, with symbolic sizes that are bound when it is priced."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gambrel.cost.kernel import Kernel
from gambrel.ir.expr import ONE, ZERO, Expr
from gambrel.ir.structure import PhaseName

Family = Literal["gemm", "experts", "attention", "recurrence", "pointwise", "movement", "collective"]
"""What a row's time is booked under."""

Place = Literal["first", "layers", "last", "between"]
"""Which pipeline stages run a row: the first, all that hold layers, the last, or the links between them."""

Constant = str | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpec:
    """A kernel whose sizes are not known yet.

    Attributes:
        kind: Which kernel it becomes.
        sizes: Symbolic fields by name.
        constants: The other fields by name.
    """

    kind: type[Kernel]
    sizes: Mapping[str, Expr]
    constants: Mapping[str, Constant] = field(default_factory=dict[str, Constant])

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for kernels that cost the same."""
        return (self.kind, tuple(self.sizes.items()), tuple(self.constants.items()))

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols that its price depends on."""
        return frozenset[str]().union(*(size.symbols for size in self.sizes.values()))

    def bind(self, sizes: Mapping[str, object]) -> Kernel:
        """The kernel with a value for each size."""
        return self.kind(**sizes, **self.constants)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kernel or transfer on one device, and how often a pass of its phase runs it.

    Attributes:
        name: For people, `attn.q + attn.k + attn.v`.
        op: The IR ops that it stands for.
        phase: Its phase.
        family: What its time is booked under.
        segment: Label of the repeat that it belongs to; empty outside the layers.
        place: Which pipeline stages run it.
        count: Executions in one repetition of its segment (or in one pass, outside the layers).
        kernel: What is priced; None for a row that the user let pass unpriced.
        flops: FLOPs of one execution on one device, an FMA counting 2.
        bytes_read: Bytes read from device memory.
        bytes_written: Bytes written to device memory.
        weight_bytes: Those of the bytes read that are parameters.
        network_bytes: Size of the transferred buffer on one device.
        rate: Number format whose matrix rate applies; empty outside the matrix units.
        formula: The closed form that prices it, in words, with its source.
    """

    name: str
    op: str
    phase: PhaseName
    family: Family
    segment: str = ""
    place: Place = "layers"
    count: Expr = ONE
    kernel: KernelSpec | None
    flops: Expr = ZERO
    bytes_read: Expr = ZERO
    bytes_written: Expr = ZERO
    weight_bytes: Expr = ZERO
    network_bytes: Expr = ZERO
    rate: str = ""
    formula: str = ""

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """Everything that has to be evaluated for it."""
        sizes = tuple(self.kernel.sizes.values()) if self.kernel is not None else ()
        return (*sizes, self.count, self.flops, self.bytes_read, self.bytes_written, self.network_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSpec:
    """A run of layers: how many repetitions, and how many layers one repetition holds."""

    label: str
    repetitions: int
    layers_each: int
