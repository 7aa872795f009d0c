"""From a placed, fused module to the cost table: one row for each kernel and transfer."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation, SSAValue

from gambrel.cost.rows import KernelSpec, Place, Row, SegmentSpec
from gambrel.cost.rules import draft
from gambrel.cost.rules.collectives import transfer
from gambrel.cost.rules.matmul import products, quantised
from gambrel.cost.rules.pointwise import pointwise_group
from gambrel.cost.rules.registry import Draft, has_rule, weights_among
from gambrel.errors import UnpricedOpError
from gambrel.ir.attention import AttentionOp
from gambrel.ir.dist import MeshOp
from gambrel.ir.expr import ONE, ZERO, Expr, as_expr, total
from gambrel.ir.kv import CacheOp, StateOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.model import InputOp, WeightOp
from gambrel.ir.pointwise import CastOp
from gambrel.ir.scan import ScanOp
from gambrel.ir.structure import GroupOp, PhaseName, PhaseOp, RepeatOp, StageOp, YieldOp
from gambrel.ir.types import TensorType, tensor

_NUMBERED = re.compile(r"l\d+").fullmatch
DECLARATIONS = (WeightOp, CacheOp, StateOp, InputOp, YieldOp, MeshOp)
"""Ops that launch nothing: they name what others use."""

CONTAINERS = (PhaseOp, RepeatOp, StageOp, GroupOp)
"""Ops that are priced by what is inside of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """All rows of a module.

    Attributes:
        rows: One for each kernel and transfer.
        segments: The repeats of the layers, in order (the same in all phases).
        unpriced: Names of ops without a rule, where the user let them pass: the estimate is a lower bound.
    """

    rows: tuple[Row, ...]
    segments: tuple[SegmentSpec, ...]
    unpriced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    phase: PhaseName
    segment: str = ""
    place: Place = "first"
    count: Expr = ONE


def extract(module: ModuleOp, *, allow_unpriced: bool = False) -> CostTable:
    """The cost table of a module.

    Args:
        module: Verified; collectives inserted.
        allow_unpriced: Book ops without a rule as rows without a kernel instead of refusing them.

    Raises:
        UnpricedOpError: Ops have no cost rule (all of them are listed), unless they are allowed.
    """
    walker = _Walker(allow_unpriced)
    for op in module.ops:
        if isinstance(op, PhaseOp):
            name: PhaseName = "prefill" if op.phase.data == "prefill" else "decode"
            walker.block(op.body.block, _Where(phase=name))
    if walker.problems and not allow_unpriced:
        raise UnpricedOpError(*(problem for error in walker.problems for problem in error.problems))
    return CostTable(
        rows=tuple(walker.rows),
        segments=tuple(walker.segments.values()),
        unpriced=tuple(dict.fromkeys(walker.unpriced)),
    )


class _Walker:
    def __init__(self, allow_unpriced: bool) -> None:
        self.allow_unpriced = allow_unpriced
        self.rows: list[Row] = []
        self.segments: dict[str, SegmentSpec] = {}
        self.unpriced: list[str] = []
        self.problems: list[UnpricedOpError] = []

    def block(self, block: Block, where: _Where) -> None:
        for op in block.ops:
            if isinstance(op, DECLARATIONS):
                continue
            if isinstance(op, StageOp):
                self.block(op.body.block, where)
                where = _Where(phase=where.phase, place="last")
                self.rows.append(_send(op, where.phase))
            elif isinstance(op, RepeatOp):
                self.repeat(op, where)
                where = _Where(phase=where.phase, place="last")
            else:
                self.kernel(op, where)

    def repeat(self, op: RepeatOp, where: _Where) -> None:
        label = op.label.data if op.label is not None else f"layers{len(self.segments)}"
        count = op.count.data.constant
        repetitions = int(count) if count is not None else 1
        self.segments[label] = SegmentSpec(label=label, repetitions=repetitions, layers_each=_layers(op))
        inside = _Where(phase=where.phase, segment=label, place="layers")
        kernels = [inner for inner in op.body.block.ops if not isinstance(inner, DECLARATIONS)]
        head = kernels[0] if kernels and _joins(kernels[0]) else None
        for inner in kernels:
            if inner is head and len(kernels) > 1:
                continue
            tail = head if inner is kernels[-1] and head is not inner else None
            self.kernel(inner, inside, joined=tail, carried=op.body.block.args)

    def kernel(
        self, op: Operation, where: _Where, joined: Operation | None = None, carried: Sequence[SSAValue] = ()
    ) -> None:
        try:
            made = _draft(op)
            if joined is not None and made is not None:
                made = _join(made, _draft(joined), carried)
        except UnpricedOpError as error:
            self.problems.append(error)
            parts = [part for part in (op, joined) if part is not None]
            self.unpriced += [leaf.name for part in parts for leaf in _leaves(part) if not has_rule(leaf)]
            self.rows += [_unpriced(part, where) for part in parts]
            return
        if made is None:
            return
        parts = [op] if joined is None else [op, joined]
        ops = ", ".join(dict.fromkeys(name for part in parts for name in _op_names(part)))
        self.rows.append(_row(made, " + ".join(map(_name, parts)), ops, where))


def _draft(op: Operation) -> Draft | None:
    if not isinstance(op, GroupOp):
        return draft(op)
    inner = [child for child in op.body.block.ops if not isinstance(child, YieldOp)]
    matmuls = [child for child in inner if isinstance(child, EinsumOp | GroupedEinsumOp)]
    if not matmuls:
        return pointwise_group(inner, escaping=list(op.yielded))
    cast = next((child for child in inner if isinstance(child, CastOp)), None)
    rest = [child for child in inner if child is not cast]
    made = _with_epilogue(products(matmuls), rest, op.yielded)
    return made if cast is None else quantised(made, cast)


def _with_epilogue(made: Draft, ops: Sequence[Operation], yielded: Sequence[SSAValue]) -> Draft:
    """Joined products with their biases: the biases are read, only what leaves the group is written."""
    reads = dict(made.reads)
    flops = made.flops
    for op in ops:
        if not isinstance(op, EinsumOp | GroupedEinsumOp):
            reads[op.operands[1]] = tensor(op.operands[1]).local_bytes
            flops = flops + tensor(op.results[0]).local_elements
    writes = {value: tensor(value).local_bytes for value in yielded}
    return Draft(
        family=made.family,
        kernel=made.kernel,
        flops=flops,
        reads=reads,
        writes=writes,
        rate=made.rate,
        formula=made.formula,
    )


def _join(tail: Draft, head: Draft | None, carried: Sequence[SSAValue]) -> Draft:
    """The kernel that ends a layer with the one that starts the next: the carried value is not read again."""
    if head is None:
        return tail
    reads = {**tail.reads, **{value: size for value, size in head.reads.items() if value not in carried}}
    writes = {**tail.writes, **head.writes}
    flops = tail.flops + head.flops
    lead = head.kernel if head.kernel.constants.get("op") == "norm" else tail.kernel
    sizes = {
        **lead.sizes,
        "bytes_read": total(reads.values()),
        "bytes_written": total(writes.values()),
        "flops": flops,
    }
    shared = weights_among(reads)
    if shared is not ZERO:
        sizes["shared_bytes"] = shared
    spec = KernelSpec(kind=lead.kind, sizes=sizes, constants=lead.constants)
    return Draft(family=tail.family, kernel=spec, flops=flops, reads=reads, writes=writes, formula=tail.formula)


def _row(made: Draft, name: str, op: str, where: _Where) -> Row:
    return Row(
        name=name,
        op=op,
        phase=where.phase,
        family=made.family,
        segment=where.segment,
        place=where.place,
        count=where.count,
        kernel=made.kernel,
        flops=made.flops,
        bytes_read=made.bytes_read,
        bytes_written=made.bytes_written,
        weight_bytes=made.weight_bytes,
        network_bytes=made.network_bytes,
        rate=made.rate,
        formula=made.formula,
    )


def _unpriced(op: Operation, where: _Where) -> Row:
    """A row that takes no time: its bytes are those of its operands and results, so that the coverage falls by them."""
    return Row(
        name=_name(op),
        op=", ".join(dict.fromkeys(_op_names(op))),
        phase=where.phase,
        family="movement",
        segment=where.segment,
        place=where.place,
        count=where.count,
        kernel=None,
        bytes_read=total(value.type.local_bytes for value in op.operands if isinstance(value.type, TensorType)),
        bytes_written=total(value.type.local_bytes for value in op.results if isinstance(value.type, TensorType)),
    )


def _send(op: StageOp, phase: PhaseName) -> Row:
    """What crosses from each pipeline stage to the next, `pp - 1` times in a pass."""
    size = total(tensor(value).local_bytes for value in op.init)
    made = transfer("permute", size, ("pp",))
    where = _Where(phase=phase, place="between", count=as_expr("pp") - 1)
    return _row(made, "stage.send", op.name, where)


def _layers(op: RepeatOp) -> int:
    """Layers that one repetition holds: as many as number their weights (`l0.`, `l1.`), else as mix tokens."""
    labels = [inner.label.data for inner in op.walk() if isinstance(inner, WeightOp)]
    numbered = {prefix for prefix, dot, _ in (label.partition(".") for label in labels) if dot and _NUMBERED(prefix)}
    return len(numbered) or max(sum(isinstance(inner, AttentionOp | ScanOp) for inner in op.walk()), 1)


def _joins(op: Operation) -> bool:
    return isinstance(op, GroupOp) and op.joins_previous is not None


def _leaves(op: Operation) -> Iterator[Operation]:
    if isinstance(op, GroupOp):
        yield from (child for child in op.body.block.ops if not isinstance(child, YieldOp))
    else:
        yield op


def _name(op: Operation) -> str:
    labels = [value.data for leaf in _leaves(op) if isinstance(value := leaf.properties.get("label"), StringAttr)]
    name = " + ".join(dict.fromkeys(labels)) or op.name
    prefix = "" if not op.name.startswith("dist.") else op.name.removeprefix("dist.") + " "
    return prefix + name


def _op_names(op: Operation) -> Iterator[str]:
    return (leaf.name for leaf in _leaves(op))
