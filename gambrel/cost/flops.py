"""Model FLOPs and parameters of a module, counted exactly from the IR under a stated convention."""

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from gambrel.cost.memory import memory_table
from gambrel.ir.attention import AttentionOp, Convention
from gambrel.ir.expr import ONE, Expr, total
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.structure import PhaseName, PhaseOp, RepeatOp


def model_flops(module: ModuleOp, phase: PhaseName, convention: Convention = "served") -> Expr:
    """FLOPs of the matrix products and attention of one pass of a phase on one device, 2 for each multiply-accumulate.

    On a module that is not placed this is the whole model's count. Elementwise work is left out by both conventions.

    Args:
        module: Placed or not; latent attention must be lowered expanded for `hf-dense`.
        phase: Which pass; the result has the symbols b, s (prefill) and c.
        convention: How attention is counted.
    """
    counts: list[Expr] = []
    for op in module.walk():
        if isinstance(op, EinsumOp | GroupedEinsumOp) and _phase_of(op) == phase:
            counts.append(op.shape.flops * _repetitions(op))
        elif isinstance(op, AttentionOp) and _phase_of(op) == phase:
            counts.append(op.flops(convention) * _repetitions(op))
    return total(counts)


def parameters(module: ModuleOp) -> Expr:
    """Parameters of the whole model; shared and tied tables once."""
    repeats = {
        op.label.data: op.count.data for op in module.walk() if isinstance(op, RepeatOp) and op.label is not None
    }
    return total(
        item.elements * repeats.get(item.segment, ONE)
        for item in memory_table(module).residents
        if item.kind == "weights"
    )


def _phase_of(op: Operation) -> str:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, PhaseOp):
        parent = parent.parent_op()
    return parent.phase.data if parent is not None else ""


def _repetitions(op: Operation) -> Expr:
    count = ONE
    parent = op.parent_op()
    while parent is not None:
        if isinstance(parent, RepeatOp):
            count = count * parent.count.data
        parent = parent.parent_op()
    return count
