"""Small rewrites that several passes share."""

from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from gambrel.ir.op import PlacedOp
from gambrel.ir.structure import GroupOp, PhaseOp, RepeatOp, StageOp, YieldOp


def set_type(value: SSAValue, kind: Attribute) -> SSAValue:
    """Give a value another type; returns the value that stands for it now."""
    return value if value.type == kind else Rewriter.replace_value_with_new_type(value, kind)


def insert_before(op: Operation, new: Operation) -> None:
    """Put a new op right before another one."""
    Rewriter.insert_op(new, InsertPoint.before(op))


def retype_block(block: Block) -> None:
    """Infer all results of a block again, in order, after some operand types changed."""
    for op in list(block.ops):
        if isinstance(op, PlacedOp):
            op.retype()
        elif isinstance(op, PhaseOp | RepeatOp | StageOp | GroupOp):
            _retype_region(op)


def _retype_region(op: PhaseOp | RepeatOp | StageOp | GroupOp) -> None:
    block = op.body.block
    if isinstance(op, RepeatOp):
        for arg, init in zip(list(block.args), op.init, strict=True):
            set_type(arg, init.type)
    retype_block(block)
    last = block.last_op
    assert isinstance(last, YieldOp)
    for result, value in zip(list(op.results), last.operands, strict=True):
        set_type(result, value.type)
