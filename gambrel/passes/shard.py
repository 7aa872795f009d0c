"""`shard`: split weights, inputs and caches by a strategy and push the placement through the types."""

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.ir.dist import MeshOp, ReshardOp
from gambrel.ir.experts import CombineOp, DispatchOp
from gambrel.ir.expr import ONE, as_expr
from gambrel.ir.kv import CacheOp, StateOp
from gambrel.ir.model import InputOp, WeightOp
from gambrel.ir.op import PlacedOp, strings, without
from gambrel.ir.pointwise import MomentsOp, NormalizeOp, NormOp
from gambrel.ir.structure import PhaseOp, RepeatOp, YieldOp
from gambrel.ir.types import AXES, TP_SUB_AXES, Axes, Dim, TensorType, tensor
from gambrel.passes.rewrite import insert_before, set_type
from gambrel.passes.strategies import STRATEGIES, Strategy

WHOLE_ROLES = ("norm", "router", "scalar")
"""Weights so small that every device keeps all of them."""

_IMPLIED: Mapping[str, Axes] = {
    "tp": TP_SUB_AXES,
    "tp_ep": ("tp", "tp_etp"),
    "tp_etp": ("tp", "tp_ep"),
    "ep": ("edp",),
}
"""Axes that come with another one, so that a sum over tp_ep x 1 is a sum over tp. An axis of size 1 costs nothing."""


@dataclass(frozen=True)
class ShardPass(ModulePass):
    """Place a whole module.

    Weights, inputs and caches take the axes that the strategy gives to their logical dims. Then every op is visited
    once: operands that it cannot take where they are get a `dist.reshard`, and its result type is inferred. Sums that
    are open are closed where they are first needed, into the strategy's placement of the residual stream.

    Options:
        strategy: A name of STRATEGIES.
        axes: Mesh axes that are larger than one; the others are left out of the types. Empty for one device.
    """

    name = "shard"
    strategy: str = "megatron"
    axes: tuple[str, ...] | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Place the module and declare its mesh.

        Raises:
            PlanError: The strategy or an axis is unknown, or the module is placed already.
        """
        strategy = find_strategy(self.strategy)
        axes = strategy.axes if self.axes is None else _used_axes(strategy, self.axes)
        if any(isinstance(inner, MeshOp) for inner in op.ops):
            raise PlanError(Problem(where="shard", what="the module is placed already", fix="Shard the module once"))
        sharding = _Sharding(strategy, axes)
        for inner in list(op.walk()):
            sharding.place_declaration(inner)
        block = op.body.block
        sharding.visit(block)
        mesh = MeshOp(strategy.name, axes)
        first = block.first_op
        if first is None:
            block.add_op(mesh)
        else:
            insert_before(first, mesh)


def _used_axes(strategy: Strategy, wanted: Axes) -> Axes:
    """The axes of a strategy that are larger than one, with those that are as large as they imply.

    Raises:
        PlanError: An axis is unknown.
    """
    named = [axis for axis in wanted if axis]  # a pipeline's text writes no axes as one empty name
    unknown = [axis for axis in named if axis not in AXES]
    if unknown:
        hint = did_you_mean(unknown[0], AXES)
        raise PlanError(Problem(where="shard", what=f"unknown mesh axis '{unknown[0]}'", fix=hint))
    used = {*named, *(other for axis in named for other in _IMPLIED.get(axis, ()))}
    return tuple(axis for axis in strategy.axes if axis in used)


def find_strategy(name: str) -> Strategy:
    """A strategy by its name.

    Raises:
        PlanError: There is none of that name.
    """
    if name not in STRATEGIES:
        hint = did_you_mean(name, STRATEGIES)
        raise PlanError(Problem(where="strategy", what=f"unknown strategy '{name}'", fix=hint))
    return STRATEGIES[name]


def _phase(op: Operation) -> str:
    """The phase that an op belongs to; empty outside of one."""
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, PhaseOp):
        parent = parent.parent_op()
    return parent.phase.data if parent is not None else ""


class _Sharding:
    """One application of a strategy, with the axes that are in use."""

    def __init__(self, strategy: Strategy, axes: Axes) -> None:
        self.rules: Mapping[str, Axes] = {
            dim: tuple(axis for axis in wanted if axis in axes) for dim, wanted in strategy.rules.items()
        }
        self.sequence_axes = tuple(axis for axis in strategy.sequence_axes if axis in axes)
        self.select_axes = tuple(axis for axis in strategy.select_axes if axis in axes)
        self.decode_select_axes = tuple(axis for axis in strategy.decode_select_axes if axis in axes)

    def place_declaration(self, op: Operation) -> None:
        """Split a weight, an input, a cache or a state, and tell dispatch and combine which share they keep."""
        if isinstance(op, WeightOp | InputOp | CacheOp | StateOp):
            if isinstance(op, WeightOp) and op.role.data in WHOLE_ROLES:
                return
            dims = [
                Dim(dim.size, self.rules.get(name, ()) if dim.size is not ONE else ())
                for name, dim in zip(op.dim_names, op.type.dims, strict=True)
            ]
            set_type(op.res, op.type.with_dims(dims))
        elif isinstance(op, DispatchOp | CombineOp):
            select = self.select_axes + (self.decode_select_axes if _phase(op) == "decode" else ())
            if select:
                op.properties["select"] = strings(select)

    def visit(self, block: Block) -> None:
        """Place every op of a block in order."""
        made: dict[tuple[SSAValue, TensorType], SSAValue] = {}
        for op in list(block.ops):
            if isinstance(op, PlacedOp):
                self._place(op, made)
            elif isinstance(op, RepeatOp):
                self._place_repeat(op, made)
            elif isinstance(op, PhaseOp):
                self.visit(op.body.block)

    def _place(self, op: PlacedOp, made: dict[tuple[SSAValue, TensorType], SSAValue]) -> None:
        if isinstance(op, DispatchOp | CombineOp):
            self._gather_tokens(op, made)
        if isinstance(op, NormOp) and op.row_axes:
            op = self._by_moments(op, made)
        wanted = op.accept()
        for number, operand in enumerate(list(op.operands)):
            if operand.type != wanted[number] and tensor(operand).partial:
                op.operands[number] = self._convert(op, operand, self.residual(tensor(operand)), made)
        for number, (operand, kind) in enumerate(zip(list(op.operands), op.accept(), strict=True)):
            if operand.type != kind:
                op.operands[number] = self._convert(op, operand, kind, made)
        op.retype()

    def _by_moments(self, op: NormOp, made: dict[tuple[SSAValue, TensorType], SSAValue]) -> NormalizeOp:
        """A norm whose rows are split as two ops: the devices exchange sums of the rows, not the rows."""
        kind, dims = op.kind.data, op.num_dims
        moments = MomentsOp(kind, op.x, dims=dims, label=op.label)
        insert_before(op, moments)
        complete = self._convert(op, moments.res, moments.type.complete(), made)
        rest = NormalizeOp(kind, op.x, complete, *op.params, dims=dims, label=op.label)
        insert_before(op, rest)
        op.res.replace_all_uses_with(rest.res)
        op.detach()
        op.erase()
        return rest

    def _gather_tokens(self, op: DispatchOp | CombineOp, made: dict[tuple[SSAValue, TensorType], SSAValue]) -> None:
        """Experts see a sequence whole: gathered before its tokens are copied k times, split after they are summed."""
        for number, operand in enumerate(list(op.operands)):
            kind = tensor(operand)
            if len(kind.dims) == 3:
                dims = [Dim(dim.size, without(dim.axes, self.sequence_axes)) for dim in kind.dims]
                op.operands[number] = self._convert(op, operand, kind.with_dims(dims), made)

    def _place_repeat(self, op: RepeatOp, made: dict[tuple[SSAValue, TensorType], SSAValue]) -> None:
        for number, (arg, init) in enumerate(zip(list(op.body.block.args), list(op.init), strict=True)):
            kind = self.residual(tensor(init))
            op.operands[number] = self._convert(op, init, kind, made)
            set_type(arg, kind)
            set_type(op.results[number], kind)
        self.visit(op.body.block)
        last = op.body.block.last_op
        assert isinstance(last, YieldOp)
        inner: dict[tuple[SSAValue, TensorType], SSAValue] = {}
        for number, (value, init) in enumerate(zip(list(last.operands), op.init, strict=True)):
            last.operands[number] = self._convert(last, value, tensor(init), inner)

    def residual(self, kind: TensorType) -> TensorType:
        """Where a value lives once its sums are closed.

        Split over the axes of the batch that were summed over, and along the sequence where the strategy says so.
        """
        done = kind.complete()
        if len(done.dims) != 3:
            return done
        summed = tuple(axis for axis in self.rules.get("batch", ()) if axis in kind.partial)
        done = done.with_dims([Dim(done.dims[0].size, (*done.dims[0].axes, *summed)), *done.dims[1:]])
        if done.dims[1].size is not as_expr("s"):
            return done
        used = [axis for dim in done.dims for axis in dim.axes]
        extra = without(self.sequence_axes, used)
        sequence = Dim(done.dims[1].size, (*done.dims[1].axes, *extra))
        return done.with_dims([done.dims[0], sequence, done.dims[2]])

    @staticmethod
    def _convert(
        op: Operation, value: SSAValue, kind: TensorType, made: dict[tuple[SSAValue, TensorType], SSAValue]
    ) -> SSAValue:
        if value.type == kind:
            return value
        key = (value, kind)
        if key not in made:
            producer = value.owner
            label = producer.label if isinstance(producer, PlacedOp) else ""
            reshard = ReshardOp(value, kind, label=label)
            insert_before(op, reshard)
            made[key] = reshard.res
        return made[key]
