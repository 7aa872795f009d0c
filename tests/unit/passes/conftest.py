"""A small model and the pipeline on it."""

from collections.abc import Callable

import pytest
from xdsl.dialects.builtin import ModuleOp

from gambrel.frontends.architecture import Architecture, Layer, Mlp, MoE, Norm, Segment, SelfAttention
from gambrel.frontends.lower import Lowering, lower
from gambrel.ir.structure import PhaseName
from gambrel.passes.registry import parse_pipeline, run_pipeline

ATTENTION = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16, rotary_dim=16)
DENSE = Mlp(width=256, gated=True, activation="silu")
SPARSE = MoE(experts=8, top_k=2, width=64, gated=True, activation="silu", shared_width=64)


def small_model(ffn: Mlp | MoE) -> Architecture:
    layer = Layer(attention=ATTENTION, ffn=ffn, norm=Norm(kind="rms"), placement="pre")
    return Architecture(
        name="small",
        model_type="small",
        hidden=64,
        vocab=512,
        segments=(Segment(count=4, layers=(layer,)),),
        tied_embeddings=False,
        embedding_width=64,
        final_norm=Norm(kind="rms"),
    )


@pytest.fixture
def compiled() -> Callable[..., ModuleOp]:
    """`compiled("shard,insert-collectives", sparse=True)` is the small model after these passes."""

    def build(pipeline: str, *, sparse: bool = False, phase: PhaseName = "prefill") -> ModuleOp:
        module = lower(small_model(SPARSE if sparse else DENSE), Lowering(phases=(phase,)))
        run_pipeline(module, parse_pipeline(pipeline))
        return module

    return build
