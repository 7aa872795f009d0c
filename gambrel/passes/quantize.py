"""`quantize`: number formats of weights, activations and caches."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue
from xdsl.passes import ModulePass

from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.ir.formats import FORMATS, NUMERIC_FORMATS
from gambrel.ir.kv import CacheOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.model import WeightOp
from gambrel.ir.pointwise import CastOp
from gambrel.ir.structure import PhaseOp, RepeatOp
from gambrel.passes.rewrite import insert_before, retype_block, set_type

_LOW_BITS = 8


@dataclass(frozen=True)
class QuantizePass(ModulePass):
    """Store and multiply in narrower formats.

    Projections and experts are quantised; embeddings, the output head, routers, norms and biases keep their format,
    as serving checkpoints do. Where both a weight and its activations are at most 8 bits wide, a cast is put before
    the product, once for each activation.

    Options:
        weights: Format of projections and experts.
        experts: Format of routed experts, where it differs from `weights`.
        activations: Format in which activations enter quantised products.
        kv: Format of the caches.
    """

    name = "quantize"
    weights: str | None = None
    experts: str | None = None
    activations: str | None = None
    kv: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Change the types and cast activations.

        Raises:
            PlanError: A format is unknown.
        """
        for option in ("weights", "experts", "activations", "kv"):
            check_format(option, getattr(self, option))
        for inner in list(op.walk()):
            if isinstance(inner, WeightOp):
                self._weight(inner)
            elif isinstance(inner, CacheOp) and self.kv is not None:
                set_type(inner.res, inner.type.with_format(self.kv))
        self._cast_block(op.body.block)
        retype_block(op.body.block)

    def _weight(self, weight: WeightOp) -> None:
        role = weight.role.data
        wanted = self.experts or self.weights if role == "expert" else self.weights if role == "matmul" else None
        if wanted is not None:
            set_type(weight.res, weight.type.with_format(wanted))

    def _cast_block(self, block: Block) -> None:
        if self.activations is None:
            return
        casts: dict[SSAValue, SSAValue] = {}
        for op in list(block.ops):
            if isinstance(op, PhaseOp | RepeatOp):
                self._cast_block(op.body.block)
            elif isinstance(op, EinsumOp | GroupedEinsumOp) and _narrow(op.operands[1]):
                value = op.operands[0]
                if value not in casts:
                    cast = CastOp(value, self.activations, label=f"{op.label}.quantize" if op.label else "")
                    insert_before(op, cast)
                    casts[value] = cast.res
                op.operands[0] = casts[value]


def check_format(option: str, name: str | None) -> None:
    """Check the name of a number format.

    Raises:
        PlanError: It is unknown.
    """
    if name is not None and name not in NUMERIC_FORMATS:
        hint = did_you_mean(name, NUMERIC_FORMATS)
        raise PlanError(Problem(where=f"{option} format", what=f"unknown number format '{name}'", fix=hint))


def _narrow(value: SSAValue) -> bool:
    weight = value.owner
    return (
        isinstance(weight, WeightOp)
        and weight.role.data in ("matmul", "expert")
        and FORMATS[weight.type.format].bits <= _LOW_BITS
    )
