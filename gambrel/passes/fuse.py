"""`fuse`: group ops that serving kernels run as one."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.ir.attention import AttentionOp
from gambrel.ir.kv import AppendOp, CacheOp, StateOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.model import InputOp, WeightOp
from gambrel.ir.pointwise import CastOp, ConcatOp, MapOp, MomentsOp, NormalizeOp, NormOp, RopeOp, SliceOp
from gambrel.ir.scan import Conv1dOp
from gambrel.ir.structure import GroupKind, GroupOp, PhaseOp, RepeatOp, StageOp, YieldOp
from gambrel.ir.types import tensor
from gambrel.passes.rewrite import insert_before

_POINTWISE = (MapOp, NormOp, MomentsOp, NormalizeOp, RopeOp, CastOp, SliceOp, ConcatOp, AppendOp, Conv1dOp)
_PRODUCTS = (EinsumOp, GroupedEinsumOp)

WRITERS = ("norm", "activation", "attention")
"""What writes the activations of a product: norms, attention, and all else, which are activations of feed-forwards."""


@dataclass(frozen=True)
class FusePass(ModulePass):
    """Group ops into kernels.

    - Products of one value with the weights of one block (q, k, v; gate and up) become one product over joined columns,
      with the biases that follow as its epilogue.
    - Neighbouring elementwise ops, norms, rotary embedding, casts and cache writes become one kernel; so do the short
      convolutions of one layer's heads.
    - The norm that starts a layer joins the kernel that ends the layer before it.
    - Casts of what the ops of `apart` write join the dense product that reads them: a kernel of the product's library
      quantises these activations, and its price is the product's.

    Grouping never adds traffic: what only flows inside a group is neither written nor read.

    Source: vLLM and TensorRT-LLM kernels of 2024 to 2026 (merged QKV and gate-up projections, fused add and RMS norm,
    fused rotary embedding and cache write; `scaled_fp8_quant` of vLLM's linear layers).

    Options:
        apart: Which ops write wide what dense products read narrow: some of WRITERS.
    """

    name = "fuse"
    apart: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Group the ops of every block.

        Raises:
            PlanError: A name in `apart` is unknown.
        """
        for name in self.apart:
            if name not in WRITERS:
                fix = did_you_mean(name, WRITERS)
                raise PlanError(Problem(where="pass 'fuse', apart", what=f"unknown kind of op '{name}'", fix=fix))
        for inner in list(op.walk()):
            if isinstance(inner, PhaseOp | RepeatOp | StageOp):
                _fuse_block(inner.body.block, self.apart)
        for inner in list(op.walk()):
            if isinstance(inner, RepeatOp):
                _join_repetitions(inner.body.block)


def _fuse_block(block: Block, apart: Sequence[str]) -> None:
    _hoist_declarations(block)
    for products in _sibling_products(block):
        _group_products(products, apart)
    for run in _pointwise_runs(block):
        _wrap(run, "pointwise")


def _hoist_declarations(block: Block) -> None:
    first = block.first_op
    for op in list(block.ops):
        if isinstance(op, WeightOp | CacheOp | StateOp | InputOp) and first is not None and op is not first:
            op.detach()
            insert_before(first, op)


def _sibling_products(block: Block) -> list[list[EinsumOp | GroupedEinsumOp]]:
    """All products of the block, those that one kernel computes together."""
    families: dict[tuple[object, ...], list[EinsumOp | GroupedEinsumOp]] = {}
    for op in block.ops:
        if isinstance(op, _PRODUCTS):
            weight = op.operands[1].owner
            shape = op.shape
            key: tuple[object, ...] = (op,)
            if isinstance(weight, WeightOp) and op.label:
                family = op.label.rpartition(".")[0]
                formats = (weight.role.data, weight.type.format)
                key = (type(op), op.operands[0], family, formats, shape.batch, shape.m, shape.k)
            families.setdefault(key, []).append(op)
    return list(families.values())


def _group_products(products: list[EinsumOp | GroupedEinsumOp], apart: Sequence[str]) -> None:
    first, *rest = products
    anchor: Operation = first
    for op in rest:
        op.detach()
        following = anchor.next_op
        assert following is not None
        insert_before(following, op)
        anchor = op
    ops: list[Operation] = list(products)
    cast = _cast_of(products)
    if cast is not None and _writer(cast) in apart:
        cast.detach()
        insert_before(first, cast)
        ops.insert(0, cast)
    for product in products:
        epilogue = _bias_of(product.results[0])
        if epilogue is not None:
            epilogue.detach()
            following = anchor.next_op
            assert following is not None
            insert_before(following, epilogue)
            anchor = epilogue
            ops.append(epilogue)
    if len(ops) > 1:
        _wrap(ops, "product")


def _cast_of(products: Sequence[EinsumOp | GroupedEinsumOp]) -> CastOp | None:
    """The cast of what dense products of one kernel read, where nothing else reads it."""
    cast = products[0].operands[0].owner
    if not isinstance(cast, CastOp) or isinstance(products[0], GroupedEinsumOp):
        return None
    return cast if all(use.operation in products for use in cast.res.uses) else None


def _writer(cast: CastOp) -> str:
    """Which of WRITERS made what is cast, views left aside."""
    maker = cast.x.owner
    while isinstance(maker, SliceOp):
        maker = maker.x.owner
    if isinstance(maker, NormOp | NormalizeOp):
        return "norm"
    return "attention" if isinstance(maker, AttentionOp) else "activation"


def _bias_of(value: SSAValue) -> MapOp | None:
    """The bias addition that alone uses a product."""
    uses = list(value.uses)
    if len(uses) != 1:
        return None
    user = uses[0].operation
    return user if isinstance(user, MapOp) and user.fn.data == "bias" and uses[0].index == 0 else None


def _pointwise_runs(block: Block) -> list[list[Operation]]:
    """Runs of neighbouring pointwise ops with at least two kernels to save; views alone are no kernel."""
    runs: list[list[Operation]] = [[]]
    for op in block.ops:
        if isinstance(op, _POINTWISE):
            runs[-1].append(op)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if sum(not isinstance(op, SliceOp) for op in run) > 1]


def _wrap(ops: Sequence[Operation], kind: GroupKind) -> GroupOp:
    inside = set(ops)
    escaping = [
        result for op in ops for result in op.results if any(use.operation not in inside for use in result.uses)
    ]
    body = Block()
    group = GroupOp(kind, Region(body), [tensor(value) for value in escaping])
    insert_before(ops[0], group)
    for op in ops:
        op.detach()
        body.add_op(op)
    for old, new in zip(escaping, group.results, strict=True):
        old.replace_uses_with_if(new, lambda use: use.operation not in inside)
    body.add_op(YieldOp(*escaping))
    return group


def _join_repetitions(block: Block) -> None:
    """Mark the pointwise kernel that starts a layer as the tail of the one that ends the layer before it."""
    kernels = [op for op in block.ops if not isinstance(op, WeightOp | CacheOp | StateOp | InputOp | YieldOp)]
    if len(kernels) < 2 or not _is_pointwise(kernels[0]) or not _is_pointwise(kernels[-1]):
        return
    last = block.last_op
    assert last is not None
    if not any(value in kernels[-1].results for value in last.operands):
        return
    head = kernels[0] if isinstance(kernels[0], GroupOp) else _wrap([kernels[0]], "pointwise")
    head.properties["joins_previous"] = UnitAttr()


def _is_pointwise(op: Operation) -> bool:
    return isinstance(op, _POINTWISE) or (isinstance(op, GroupOp) and op.kind.data == "pointwise")
