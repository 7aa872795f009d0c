"""`stages`: deal the layers to pipeline stages."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region
from xdsl.passes import ModulePass

from gambrel.ir.dist import MeshOp
from gambrel.ir.op import strings
from gambrel.ir.structure import PhaseOp, RepeatOp, StageOp, YieldOp
from gambrel.ir.types import tensor
from gambrel.passes.rewrite import insert_before


@dataclass(frozen=True)
class StagesPass(ModulePass):
    """Wrap all repeats of a phase in one `structure.stage` over the mesh axis pp.

    What comes before the layers runs on the first stage, what comes after them on the last. How many layers a stage
    holds follows from pp when the costs are evaluated: the same module serves every pp.

    Source: Huang et al., GPipe, 2019.
    """

    name = "stages"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Wrap the layers of every phase and add pp to the mesh."""
        for inner in list(op.ops):
            if isinstance(inner, PhaseOp):
                _wrap(inner.body.block)
            elif isinstance(inner, MeshOp) and "pp" not in inner.axis_names:
                inner.properties["axes"] = strings((*inner.axis_names, "pp"))


def _wrap(block: Block) -> None:
    ops = list(block.ops)
    repeats = [number for number, op in enumerate(ops) if isinstance(op, RepeatOp)]
    if not repeats:
        return
    layers = ops[repeats[0] : repeats[-1] + 1]
    first, last = layers[0], layers[-1]
    init, results = list(first.operands), list(last.results)
    body = Block()
    stage = StageOp(init, Region(body), [tensor(value) for value in results])
    insert_before(first, stage)
    _move(layers, body)
    for old, new in zip(results, stage.results, strict=True):
        old.replace_uses_with_if(new, lambda use: use.operation.parent_block() is not body)
    body.add_op(YieldOp(*results))


def _move(ops: list[Operation], block: Block) -> None:
    for op in ops:
        op.detach()
        block.add_op(op)
