"""A compiled variant: the model under one strategy and one choice of number formats, ready to be evaluated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from gambrel.cost.extract import extract
from gambrel.cost.memory import MemoryTable, memory_table
from gambrel.cost.program import CostProgram
from gambrel.frontends.architecture import Architecture
from gambrel.frontends.lower import Lowering, lower
from gambrel.ir.types import Axes
from gambrel.ir.verify import verify_module
from gambrel.passes.fuse import FusePass
from gambrel.passes.insert_collectives import InsertCollectivesPass
from gambrel.passes.quantize import QuantizePass
from gambrel.passes.registry import pipeline_text, run_pipeline
from gambrel.passes.shard import ShardPass
from gambrel.passes.stages import StagesPass


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What decides the shape of the cost expressions; everything else is a number.

    Attributes:
        strategy: Sharding strategy.
        axes: Mesh axes larger than one, `pp` among them where there are stages.
        format: Number format of everything that is not quantised.
        weights, experts, activations, kv: Narrower formats.
        quantize_apart: What writes activations wide, so that kernels of their own narrow them for dense products.
    """

    strategy: str = "megatron"
    axes: Axes = ()
    format: str = "bf16"
    weights: str | None = None
    experts: str | None = None
    activations: str | None = None
    kv: str | None = None
    quantize_apart: tuple[str, ...] = ()

    def pipeline(self) -> list[ModulePass]:
        """The passes of this variant."""
        passes: list[ModulePass] = []
        if any((self.weights, self.experts, self.activations, self.kv)):
            passes.append(
                QuantizePass(weights=self.weights, experts=self.experts, activations=self.activations, kv=self.kv)
            )
        passes += [ShardPass(strategy=self.strategy, axes=self.axes), InsertCollectivesPass()]
        if "pp" in self.axes:
            passes.append(StagesPass())
        return [*passes, FusePass(apart=self.quantize_apart)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model, placed and fused, with its compiled costs.

    Attributes:
        architecture: The model.
        structure: The choices that made it.
        module: The IR after all passes.
        program: Time, FLOPs and bytes of all rows.
        memory: What has to be resident.
        pipeline: The passes as text.
    """

    architecture: Architecture
    structure: Structure
    module: ModuleOp
    program: CostProgram
    memory: MemoryTable
    pipeline: str


After = Callable[[ModulePass, ModuleOp], None]


def build_module(architecture: Architecture, structure: Structure, after: After | None = None) -> ModuleOp:
    """Lower a model and run the passes of a structure.

    Args:
        architecture: The model.
        structure: The choices.
        after: Called with each pass and the module right after it ran.
    """
    module = lower(architecture, Lowering(format=structure.format))
    run_pipeline(module, structure.pipeline(), verify=False, after=after)
    return module


@lru_cache(maxsize=256)
def compile_variant(
    architecture: Architecture, structure: Structure, *, allow_unpriced: bool = False, verify: bool = True
) -> Variant:
    """Compile a model under a structure; repeated questions are answered from a cache.

    Args:
        architecture: The model.
        structure: The choices.
        allow_unpriced: Let ops without a cost rule pass.
        verify: Check the IR. A search that compiles many variants checks only those that it shows, by `verify_module`.

    Raises:
        PlanError: The strategy or a number format is unknown.
        IRError: A pass made a bad module (our own bug).
        UnpricedOpError: An op has no cost rule and that is not allowed.
    """
    passes = structure.pipeline()
    module = _quantised(architecture, structure).clone()
    run_pipeline(module, [item for item in passes if not isinstance(item, QuantizePass)], verify=False)
    if verify:
        verify_module(module)
    table = extract(module, allow_unpriced=allow_unpriced)
    return Variant(
        architecture=architecture,
        structure=structure,
        module=module,
        program=CostProgram(table),
        memory=memory_table(module),
        pipeline=pipeline_text(passes),
    )


def _quantised(architecture: Architecture, structure: Structure) -> ModuleOp:
    """The module before it is sharded, which variants of the same number formats share."""
    return _lowered(architecture, replace(structure, strategy="", axes=(), quantize_apart=()))


@lru_cache(maxsize=16)
def _lowered(architecture: Architecture, formats: Structure) -> ModuleOp:
    module = lower(architecture, Lowering(format=formats.format))
    run_pipeline(module, [item for item in formats.pipeline() if isinstance(item, QuantizePass)], verify=False)
    return module
