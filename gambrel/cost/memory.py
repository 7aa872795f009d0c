"""What has to be in device memory: weights, caches, activations at their peak, communication buffers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from gambrel.ir.dist import ConversionOp, MeshOp, SliceOp
from gambrel.ir.expr import ZERO, Expr, Monomial, Rational, as_expr, ceildiv, minimum, product, total
from gambrel.ir.kv import AppendOp, CacheOp, StateOp
from gambrel.ir.model import WeightOp
from gambrel.ir.op import PlacedOp
from gambrel.ir.pointwise import RopeOp
from gambrel.ir.pointwise import SliceOp as ViewOp
from gambrel.ir.structure import GroupOp, PhaseName, PhaseOp, RepeatOp, StageOp, YieldOp
from gambrel.ir.types import Dim, TensorType, tensor

Kind = Literal["weights", "kv_cache"]

Holder = Literal["first", "layers", "last", "ends"]
"""Which pipeline stages hold it: the first, those with its layer, the last, or both ends (a table that is also the
output head)."""

CONTEXT = "t"
"""Symbol of the longest context that a cache must hold: prompt and output tokens of one sequence."""

_DECLARATIONS = (WeightOp, CacheOp, StateOp, YieldOp, MeshOp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Bytes that stay in memory on one device.

    Attributes:
        kind: What they are.
        name: Of the weight or cache.
        segment: Label of the repeat, each repetition of which has its own; empty outside the layers.
        place: Which pipeline stages hold it.
        size: Bytes of one, on one device.
        elements: Global elements of one.
    """

    kind: Kind
    name: str
    segment: str
    place: Holder
    size: Expr
    elements: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTable:
    """Memory of a module.

    Attributes:
        residents: Weights and caches; those that several phases share stand once.
        activations: By phase, bytes that are live at some moment; the peak is the largest.
        buffers: By phase, bytes that some collective stages; the largest is kept as a buffer.
    """

    residents: tuple[Resident, ...]
    activations: Mapping[PhaseName, tuple[Expr, ...]]
    buffers: Mapping[PhaseName, tuple[Expr, ...]]


def memory_table(module: ModuleOp) -> MemoryTable:
    """The memory table of a placed module; caches are sized for `t` tokens per sequence."""
    residents: dict[tuple[str, str, str], Resident] = {}
    live: dict[PhaseName, tuple[Expr, ...]] = {}
    buffers: dict[PhaseName, tuple[Expr, ...]] = {}
    for phase in module.ops:
        if isinstance(phase, PhaseOp):
            name: PhaseName = "prefill" if phase.phase.data == "prefill" else "decode"
            for item in _residents(phase.body.block, ""):
                residents.setdefault((item.kind, item.segment, item.name), item)
            live[name] = _undominated(_live(phase.body.block, ZERO))
            buffers[name] = _undominated(_buffers(phase))
    return MemoryTable(residents=tuple(residents.values()), activations=live, buffers=buffers)


def _residents(block: Block, segment: str) -> Iterator[Resident]:
    for op in block.ops:
        if isinstance(op, WeightOp):
            yield _resident("weights", op.label.data, segment, "layers" if segment else _holder(op), op.type)
        elif isinstance(op, CacheOp):
            yield _resident("kv_cache", op.label.data, segment, "layers" if segment else "first", _full(op))
        elif isinstance(op, StateOp):
            yield _resident("kv_cache", op.label.data, segment, "layers" if segment else "first", op.type)
        elif isinstance(op, RepeatOp):
            yield from _residents(op.body.block, op.label.data if op.label is not None else "layers")
        elif isinstance(op, StageOp):
            yield from _residents(op.body.block, segment)


def _holder(op: WeightOp) -> Holder:
    """A weight outside the layers lies where it is used: before them, after them, or both."""
    block = op.parent_block()
    order = {other: number for number, other in enumerate(block.ops)} if block is not None else {}
    layers = [number for other, number in order.items() if isinstance(other, RepeatOp | StageOp)]
    users = [order.get(_top(use.operation, block), 0) for use in op.res.uses]
    if not layers or not users:
        return "first"
    before, after = min(users) < layers[0], max(users) > layers[-1]
    return "ends" if before and after else "last" if after else "first"


def _top(op: Operation, block: Block | None) -> Operation:
    """The op of a block that an op is or lies in."""
    while op.parent_block() is not block:
        parent = op.parent_op()
        if parent is None:
            return op
        op = parent
    return op


def _resident(kind: Kind, name: str, segment: str, place: Holder, of: TensorType) -> Resident:
    return Resident(
        kind=kind, name=name, segment=segment, place=place, size=of.local_bytes, elements=of.global_elements
    )


def _full(op: CacheOp) -> TensorType:
    """The cache at its longest: t tokens, at most the window, in whole pages."""
    batch, length, heads, width = op.type.dims
    tokens = as_expr(CONTEXT)
    if op.window is not None:
        tokens = minimum(tokens, op.window.value.data)
    if op.page is not None:
        tokens = ceildiv(tokens, op.page.value.data) * op.page.value.data
    return op.type.with_dims([batch, Dim(tokens, length.axes), heads, width])


def _live(block: Block, outside: Expr) -> Iterator[Expr]:
    """Bytes that are live while each op of a block runs, plus what is live around the block."""
    ops = [op for op in block.ops if not isinstance(op, _DECLARATIONS)]
    last_use = _last_uses(ops, block)
    alive: dict[SSAValue, Expr] = {arg: tensor(arg).local_bytes for arg in block.args}
    for number, op in enumerate(ops):
        held = total(alive.values()) + outside
        if isinstance(op, RepeatOp | StageOp):
            carried = total(size for value, size in alive.items() if value in op.operands)
            yield from _live(op.body.block, held - carried if isinstance(op, RepeatOp) else held)
        for result in op.results:
            alive[result] = _materialised(op, result)
        if isinstance(op, ConversionOp) and op.axes:
            yield held + alive[op.res] * _several(op)
        else:
            yield total(alive.values()) + outside
        for value in [value for value in alive if last_use.get(value, -1) <= number]:
            del alive[value]


def _last_uses(ops: Sequence[Operation], block: Block) -> dict[SSAValue, int]:
    out: dict[SSAValue, int] = {}
    for number, op in enumerate(ops):
        for inner in op.walk():
            for operand in inner.operands:
                out[operand] = number
    last = block.last_op
    if last is not None:
        out.update(dict.fromkeys(last.operands, len(ops)))
    return out


def _materialised(op: Operation, result: SSAValue) -> Expr:
    """Bytes of a new buffer for a result: none for views, caches and work in place."""
    maker = op
    if isinstance(op, GroupOp):
        inner = next(value.owner for value, out in zip(op.yielded, op.results, strict=True) if out is result)
        maker = inner if isinstance(inner, Operation) else op
    if isinstance(maker, ViewOp | AppendOp | SliceOp | RopeOp):
        return ZERO
    return tensor(result).local_bytes if isinstance(maker, PlacedOp | ConversionOp) else ZERO


def _buffers(phase: PhaseOp) -> Iterator[Expr]:
    for op in phase.walk():
        if isinstance(op, ConversionOp) and op.axes:
            yield op.before.local_bytes * _several(op)


def _several(op: ConversionOp) -> Expr:
    """1 where devices exchange data, 0 for a group of one, whose result is its operand."""
    return minimum(product(op.axes) - 1, 1)


def _undominated(sizes: Iterable[Expr]) -> tuple[Expr, ...]:
    """The sizes of which no other one is at least as large in every term (all symbols are positive)."""
    kept: dict[Expr, Mapping[Monomial, Rational]] = {}
    for size in dict.fromkeys(sizes):
        terms = dict(size.terms)
        if any(_dominates(other, terms) for other in kept.values()):
            continue
        kept = {other: its for other, its in kept.items() if not _dominates(terms, its)}
        kept[size] = terms
    return tuple(kept)


def _dominates(large: Mapping[Monomial, Rational], small: Mapping[Monomial, Rational]) -> bool:
    missing = all(coefficient >= 0 for monomial, coefficient in large.items() if monomial not in small)
    return missing and all(large.get(monomial, 0) >= coefficient for monomial, coefficient in small.items())
