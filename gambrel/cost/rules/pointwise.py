"""Elementwise ops, norms, short convolutions, rotary embedding, casts and cache writes, alone or in one kernel."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xdsl.ir import Operation, SSAValue

from gambrel.cost.kernel import Elementwise, MemoryBound
from gambrel.cost.rows import Family, KernelSpec
from gambrel.cost.rules.registry import Draft, rule, weights_among
from gambrel.cost.rules.scan import convolution_draft
from gambrel.ir.expr import ZERO, Expr, product, total
from gambrel.ir.kv import AppendOp
from gambrel.ir.op import PlacedOp
from gambrel.ir.pointwise import (
    MAPS,
    CastOp,
    ConcatOp,
    MapOp,
    MomentsOp,
    NormalizeOp,
    NormOp,
    RopeOp,
    SliceOp,
)
from gambrel.ir.scan import Conv1dOp
from gambrel.ir.types import TensorType, tensor

FORMULA = (
    "launch + max(bytes / achieved bandwidth + ramp, rows in waves); docs/explanation/cost-model.md, 'Memory-bound'"
)

_NORM_FLOPS = {"rms": 4, "layer": 7}
_MOMENT_FLOPS = {"rms": 2, "layer": 3}
_ROPE_FLOPS = 3
_ACTIVATION_FLOPS = 3
"""FLOPs of an element from which a function evaluates an exponential or the like."""
_CAST_FLOPS = 2
_SILU_FLOPS = MAPS["silu"].flops
_ORDER: tuple[Elementwise, ...] = ("norm", "append", "quantize", "activation", "elementwise", "copy")


class Traffic(NamedTuple):
    """What one op computes and moves when nothing is fused, and which kernel class it is."""

    kind: Elementwise
    flops: Expr
    reads: Mapping[SSAValue, Expr]
    writes: Mapping[SSAValue, Expr]


Pointwise = MapOp | NormOp | MomentsOp | NormalizeOp | RopeOp | CastOp | ConcatOp | AppendOp


@rule(MapOp, NormOp, MomentsOp, NormalizeOp, RopeOp, CastOp, ConcatOp, AppendOp)
def pointwise(op: Pointwise) -> Draft:
    """A memory-bound kernel: reads its operands, writes its result (a cache write: the new tokens only)."""
    return pointwise_group([op], escaping=[op.results[0]])


@rule(Conv1dOp)
def convolution(op: Conv1dOp) -> Draft:
    """A short convolution: reads tokens, filter and state, writes its result and the new state, once."""
    return pointwise_group([op], escaping=[op.res])


@rule(SliceOp)
def view(op: SliceOp) -> None:
    """A view: no kernel, its consumer reads with a stride."""


def pointwise_group(ops: Sequence[Operation], escaping: Sequence[SSAValue]) -> Draft:
    """One kernel for several ops: reads what comes from outside, writes what is used outside.

    Convolutions by themselves are a kernel of their own kind, see `gambrel.cost.rules.scan.convolution_draft`.
    """
    made = {result for op in ops for result in op.results if not isinstance(op, SliceOp)}
    reads: dict[SSAValue, Expr] = {}
    writes: dict[SSAValue, Expr] = {}
    flops = ZERO
    kinds: list[Elementwise] = []
    for op in ops:
        if isinstance(op, SliceOp):
            continue
        traffic = traffic_of(op)
        kinds.append(traffic.kind)
        flops = flops + traffic.flops
        reads.update({value: size for value, size in traffic.reads.items() if _source(value, ops) not in made})
        # What is kept for later steps (a cache, a state) is written even where no op of this step reads it.
        kept = isinstance(op, AppendOp)
        writes.update({v: s for v, s in traffic.writes.items() if kept or v in escaping or v not in op.results})
    computed = [op for op in ops if not isinstance(op, SliceOp)]
    convolutions = [op for op in computed if isinstance(op, Conv1dOp)]
    if len(convolutions) == len(computed):
        return convolution_draft(convolutions, flops, reads, writes)
    kind = min(kinds, key=_ORDER.index)
    lead = next(op for op in computed if traffic_of(op).kind == kind)
    return memory_draft(Traffic(kind, flops, reads, writes), _lead_type(lead), trailing=_trailing(lead))


def memory_draft(traffic: Traffic, lead: TensorType, *, trailing: int = 1, family: Family = "pointwise") -> Draft:
    """The draft of a memory-bound kernel whose rows are the leading dims of one tensor."""
    cut = len(lead.dims) - trailing
    sizes = {
        "rows": product(dim.local for dim in lead.dims[:cut]),
        "cols": product(dim.local for dim in lead.dims[cut:]),
        "bytes_read": total(traffic.reads.values()),
        "bytes_written": total(traffic.writes.values()),
        "flops": traffic.flops,
    }
    if traffic.kind == "norm":
        sizes["reduced_bytes"] = lead.local_bytes
    shared = weights_among(traffic.reads)
    if shared is not ZERO:
        sizes["shared_bytes"] = shared
    spec = KernelSpec(kind=MemoryBound, sizes=sizes, constants={"op": traffic.kind})
    return Draft(
        family=family, kernel=spec, flops=traffic.flops, reads=traffic.reads, writes=traffic.writes, formula=FORMULA
    )


def traffic_of(op: Operation) -> Traffic:
    """What one pointwise op moves alone."""
    if isinstance(op, AppendOp):
        new = tensor(op.new)
        stored = new.with_format(op.type.format)
        return Traffic("append", ZERO, {op.new: new.local_bytes}, {op.res: stored.local_bytes})
    if isinstance(op, RopeOp):
        moved = _rotated(op)
        return Traffic("elementwise", moved.local_elements * _ROPE_FLOPS, {op.x: moved.local_bytes}, _one(op, moved))
    assert isinstance(op, MapOp | NormOp | MomentsOp | NormalizeOp | CastOp | ConcatOp | Conv1dOp)
    reads = {operand: tensor(operand).local_bytes for operand in op.operands}
    elements = op.type.local_elements
    if isinstance(op, NormOp):
        return Traffic("norm", elements * _NORM_FLOPS[op.kind.data], reads, _one(op, op.type))
    if isinstance(op, MomentsOp):
        flops = tensor(op.x).local_elements * _MOMENT_FLOPS[op.kind.data]
        return Traffic("norm", flops, reads, _one(op, op.type))
    if isinstance(op, NormalizeOp):
        flops = elements * (_NORM_FLOPS[op.kind.data] - _MOMENT_FLOPS[op.kind.data])
        return Traffic("elementwise", flops, reads, _one(op, op.type))
    if isinstance(op, CastOp):
        return Traffic("quantize", elements * _CAST_FLOPS, reads, _one(op, op.type))
    if isinstance(op, Conv1dOp):
        flops = op.flops + elements * (_SILU_FLOPS if op.activation is not None else 0)
        return Traffic("elementwise", flops, reads, {**_one(op, op.type), op.state: tensor(op.state).local_bytes})
    if isinstance(op, ConcatOp):
        return Traffic("copy", ZERO, reads, _one(op, op.type))
    kind = "activation" if op.function.flops >= _ACTIVATION_FLOPS else "elementwise"
    return Traffic(kind, elements * op.function.flops, reads, _one(op, op.type))


def _one(op: PlacedOp, kind: TensorType) -> dict[SSAValue, Expr]:
    return {op.results[0]: kind.local_bytes}


def _rotated(op: RopeOp) -> TensorType:
    x = tensor(op.x)
    return x.with_dims([*x.dims[:-1], op.width.value.data])


def _source(value: SSAValue, ops: Sequence[Operation]) -> SSAValue:
    """The value behind the views of this group."""
    owner = value.owner
    while isinstance(owner, SliceOp) and owner in ops:
        value = owner.x
        owner = value.owner
    return value


def _lead_type(op: Operation) -> TensorType:
    if isinstance(op, AppendOp):
        return tensor(op.new)
    if isinstance(op, MomentsOp):
        return tensor(op.x)
    assert isinstance(op, PlacedOp)
    return op.type


def _trailing(op: Operation) -> int:
    return op.num_dims if isinstance(op, NormOp | MomentsOp) else 1
