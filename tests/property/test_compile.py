"""Any small architecture through any pipeline: it verifies, its text is exact, and no work is lost or invented."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from gambrel.frontends.architecture import (
    Architecture,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mlp,
    MoE,
    Norm,
    QkNorm,
    Segment,
    SelfAttention,
)
from gambrel.frontends.lower import Lowering, lower
from gambrel.ir.attention import AttentionOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.structure import PhaseOp
from gambrel.ir.text import parse_module, print_module
from gambrel.ir.types import tensor
from gambrel.ir.verify import verify_module
from gambrel.passes.quantize import QuantizePass
from gambrel.passes.registry import parse_pipeline, run_pipeline
from gambrel.passes.shard import ShardPass
from gambrel.passes.strategies import STRATEGIES

NORMS = st.builds(Norm, kind=st.sampled_from(["rms", "layer"]), weight=st.booleans(), bias=st.booleans())
ACTIVATIONS = st.sampled_from(["silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"])
PLACEMENTS = st.sampled_from(["pre", "post", "sandwich", "post_residual", "parallel", "parallel_two"])

SELF_ATTENTION = st.builds(
    SelfAttention,
    heads=st.just(8),
    kv_heads=st.sampled_from([1, 4, 8]),
    head_dim=st.just(16),
    v_head_dim=st.sampled_from([16, 24]),
    qkv_bias=st.booleans(),
    out_bias=st.booleans(),
    qk_norm=st.none() | st.builds(QkNorm, norm=NORMS, scope=st.sampled_from(["head", "layer"])),
    rotary_dim=st.sampled_from([0, 8, 16]),
    window=st.sampled_from([None, 16, 32]),
    sinks=st.booleans(),
)
LATENT_ATTENTION = st.builds(
    LatentAttention,
    heads=st.just(8),
    q_lora_rank=st.sampled_from([None, 48]),
    kv_lora_rank=st.just(32),
    qk_nope_head_dim=st.just(16),
    qk_rope_head_dim=st.just(8),
    v_head_dim=st.just(24),
    bias=st.booleans(),
)
RECURRENCES = st.just(GatedDeltaNet(key_heads=4, value_heads=8, key_dim=16, value_dim=24, conv_kernel=4)) | st.builds(
    Mamba2,
    heads=st.just(8),
    head_dim=st.just(16),
    state=st.just(32),
    groups=st.just(4),
    conv_kernel=st.just(4),
    chunk=st.just(16),
    bias=st.booleans(),
    conv_bias=st.booleans(),
    norm_groups=st.sampled_from([1, 4]),
)
MLPS = st.builds(Mlp, width=st.just(96), gated=st.booleans(), activation=ACTIVATIONS, bias=st.booleans())
MOES = st.builds(
    MoE,
    experts=st.just(8),
    top_k=st.sampled_from([1, 2, 8]),
    width=st.just(32),
    gated=st.booleans(),
    activation=ACTIVATIONS,
    expert_bias=st.booleans(),
    router_bias=st.booleans(),
    shared_width=st.sampled_from([0, 64]),
    shared_gate=st.booleans(),
    latent=st.sampled_from([None, 24]),
)
LAYERS = st.builds(
    Layer,
    attention=SELF_ATTENTION | LATENT_ATTENTION | RECURRENCES,
    ffn=MLPS | MOES,
    norm=NORMS,
    placement=PLACEMENTS,
)
SEGMENTS = st.builds(Segment, count=st.integers(1, 90), layers=st.lists(LAYERS, min_size=1, max_size=2).map(tuple))
ARCHITECTURES = st.builds(
    Architecture,
    name=st.just("drawn"),
    model_type=st.just("drawn"),
    hidden=st.just(64),
    vocab=st.just(512),
    segments=st.lists(SEGMENTS, min_size=1, max_size=2).map(tuple),
    tied_embeddings=st.booleans(),
    embedding_width=st.sampled_from([64, 32]),
    learned_positions=st.sampled_from([0, 1024]),
    embedding_norm=st.none() | NORMS,
    final_norm=st.none() | NORMS,
    head_bias=st.booleans(),
    logit_softcap=st.sampled_from([None, 30.0]),
)

FORMATS = st.sampled_from([None, "fp8", "fp8_block", "int4", "mxfp4"])
QUANTIZE = st.builds(QuantizePass, weights=FORMATS, experts=FORMATS, activations=st.sampled_from([None, "fp8"]))
SHARD = st.sampled_from(list(STRATEGIES.values())).flatmap(
    lambda strategy: st.builds(
        ShardPass,
        strategy=st.just(strategy.name),
        axes=st.lists(st.sampled_from(strategy.axes), unique=True).map(tuple),
    )
)
LOWERINGS = st.builds(Lowering, latent_form=st.sampled_from(["absorbed", "expanded"]))


def work(module: ModuleOp) -> Iterator[tuple[str, EinsumOp | GroupedEinsumOp | AttentionOp]]:
    """All ops with matrix products, with the name of their phase."""
    for phase in module.ops:
        if isinstance(phase, PhaseOp):
            for op in phase.walk():
                if isinstance(op, EinsumOp | GroupedEinsumOp | AttentionOp):
                    yield phase.phase.data, op


@settings(max_examples=25)
@given(ARCHITECTURES, LOWERINGS, QUANTIZE, SHARD)
def test_every_pass_leaves_a_module_that_verifies(architecture, lowering, quantize, shard):
    module = lower(architecture, lowering)
    run_pipeline(module, [quantize, shard, *parse_pipeline("insert-collectives,stages,fuse")])
    assert len(list(work(module))) == len(list(work(lower(architecture, lowering))))


@settings(max_examples=12)
@given(ARCHITECTURES, QUANTIZE, SHARD, st.sampled_from(["", "insert-collectives", "insert-collectives,stages,fuse"]))
def test_text_is_exact_in_both_forms(architecture, quantize, shard, after):
    module = lower(architecture, Lowering(phases=("prefill",)))
    run_pipeline(module, [quantize, shard, *parse_pipeline(after)], verify=False)
    text = print_module(module)
    for generic in (False, True):
        again = parse_module(print_module(module, generic=generic))
        assert print_module(again) == text
    verify_module(again)


@dataclass(frozen=True)
class Degrees:
    """Sizes of the mesh axes; `ep x edp` covers all devices and `tp_ep x tp_etp` the tensor-parallel group."""

    dp: int
    cp: int
    tp: int
    ep: int
    tp_ep: int

    @property
    def devices(self) -> int:
        return self.dp * self.cp * self.tp

    def binding(self) -> dict[str, int]:
        axes = {"dp": self.dp, "cp": self.cp, "tp": self.tp, "tp_ep": self.tp_ep, "tp_etp": self.tp // self.tp_ep}
        return {**axes, "ep": self.ep, "edp": self.devices // self.ep}


@st.composite
def degrees(draw):
    """Degrees that divide all sizes of the architectures above."""
    dp, cp, tp = (draw(st.sampled_from(sizes)) for sizes in ((1, 2, 4), (1, 2), (1, 2, 4)))
    powers = (1, 2, 4, 8)
    return Degrees(
        dp=dp,
        cp=cp,
        tp=tp,
        ep=draw(st.sampled_from([ep for ep in powers if ep <= dp * cp * tp])),
        tp_ep=draw(st.sampled_from([ep for ep in powers if ep <= tp])),
    )


WHOLE = tuple(f".{name}" for name in ("moe.router", "moe.shared_gate", "moe.latent.into", "moe.latent.back"))
WHOLE += tuple(f".{name}" for name in ("attn.kv_a", "attn.q_a", "embed_in", "embed_out"))
"""Products with weights that every device of a tensor-parallel group keeps whole."""


def copies(phase: str, op: EinsumOp | GroupedEinsumOp | AttentionOp, strategy: str, mesh: Degrees) -> int:
    """How many devices do the same work, by design.

    - Weights that are not worth splitting are whole on every device of the tensor-parallel group: those of WHOLE and
      the keys and values of a single head. Where the sequence is split over that group, so is the work.
    - Decode has one token a sequence, so cp splits only what runs over the cache, and the rows of experts that are
      spread over all devices. In prefill the head reads one token a sequence too.
    - Queries that a norm over all heads has gathered stay whole where there is a single key head to follow.
    """
    if isinstance(op, AttentionOp):
        gathered = not tensor(op.q).dims[2].axes and tensor(op.k).dims[2].size.constant == 1
        return mesh.tp if gathered else 1
    if isinstance(op, GroupedEinsumOp):
        spread = strategy == "attention-dp-moe-ep" and mesh.ep > 1
        return 1 if phase == "prefill" or spread else mesh.cp
    label, out = f".{op.label}", 1
    tokens = tensor(op.lhs).dims[1].size
    one_head = label.endswith((".attn.k", ".attn.v")) and tensor(op.rhs).dims[1].size.constant == 1
    if tokens.constant == 1:
        out *= mesh.cp
    if label.endswith(WHOLE) or one_head:
        split_sequence = strategy == "sequence-parallel" and str(tokens) == "s"
        out *= 1 if split_sequence else mesh.tp
    return out


def flops(op: EinsumOp | GroupedEinsumOp | AttentionOp, binding: dict[str, int]) -> int | Fraction:
    expr = op.flops("served") if isinstance(op, AttentionOp) else op.shape.flops
    return expr.evaluate(binding)


@settings(max_examples=60)
@given(ARCHITECTURES, LOWERINGS, st.sampled_from(sorted(STRATEGIES)), degrees())
def test_sharding_conserves_flops(architecture, lowering, strategy, mesh):
    sizes = mesh.binding()
    sharded, whole = lower(architecture, lowering), lower(architecture, lowering)
    run_pipeline(sharded, [ShardPass(strategy, tuple(axis for axis, size in sizes.items() if size > 1))])
    for (phase, op), (_, alone) in zip(work(sharded), work(whole), strict=True):
        # cached and new tokens together divide by cp in both phases
        binding = {**sizes, "b": 64, "s": 16, "c": 64 if phase == "prefill" else 63}
        together = flops(op, binding) * mesh.devices
        assert together == flops(alone, binding) * copies(phase, op, strategy, mesh), f"{phase} {op.label}: {op.type}"
