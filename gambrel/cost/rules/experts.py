"""Routing tokens to experts and back."""

from gambrel.cost.rules.pointwise import Traffic, memory_draft
from gambrel.cost.rules.registry import Draft, rule
from gambrel.ir.experts import CombineOp, DispatchOp, RouteOp
from gambrel.ir.expr import ZERO
from gambrel.ir.types import tensor

_ROUTE_FLOPS = 8


@rule(RouteOp)
def route(op: RouteOp) -> Draft:
    """Softmax or sigmoid and top-k over the experts: reads the logits, writes k choices and weights for each token."""
    logits = tensor(op.logits)
    flops = logits.local_elements * _ROUTE_FLOPS
    reads = {operand: tensor(operand).local_bytes for operand in op.operands}
    return memory_draft(Traffic("route", flops, reads, {op.res: op.type.local_bytes * 2}), logits, family="movement")


@rule(DispatchOp)
def dispatch(op: DispatchOp) -> Draft:
    """A gather: reads the tokens (once: repeated reads hit the cache) and the choices, writes the rows."""
    reads = {operand: tensor(operand).local_bytes for operand in op.operands}
    return memory_draft(Traffic("gather", ZERO, reads, {op.res: op.type.local_bytes}), op.type, family="movement")


@rule(CombineOp)
def combine(op: CombineOp) -> Draft:
    """A weighted sum of k rows: reads the rows and the weights, writes the tokens."""
    rows = tensor(op.rows)
    reads = {operand: tensor(operand).local_bytes for operand in op.operands}
    flops = rows.local_elements * 2
    return memory_draft(Traffic("gather", flops, reads, {op.res: op.type.local_bytes}), op.type, family="movement")
