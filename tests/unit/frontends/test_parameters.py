"""Parameter counts, each as the formula of its block."""

import pytest

from gambrel.frontends.architecture import (
    Architecture,
    LatentAttention,
    Layer,
    Mlp,
    MoE,
    Norm,
    QkNorm,
    Segment,
    SelfAttention,
)
from gambrel.frontends.parameters import (
    attention_parameters,
    count_active_parameters,
    count_parameters,
    expert_parameters,
    ffn_parameters,
    layer_parameters,
    norm_parameters,
)

RMS = Norm(kind="rms")
LAYER_NORM = Norm(kind="layer", bias=True)


def test_grouped_attention_with_unequal_heads() -> None:
    attention = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=32)
    assert attention_parameters(64, attention) == 64 * (8 * 16 + 2 * 16 + 2 * 32) + 8 * 32 * 64


def test_biases_of_grouped_attention() -> None:
    plain = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16)
    biased = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16, qkv_bias=True, out_bias=True)
    assert attention_parameters(64, biased) - attention_parameters(64, plain) == (8 + 2 + 2) * 16 + 64


@pytest.mark.parametrize(
    ("qk_norm", "extra"),
    [
        (QkNorm(norm=RMS, scope="head"), 2 * 16),
        (QkNorm(norm=RMS, scope="layer"), (8 + 2) * 16),
        (QkNorm(norm=Norm(kind="rms", weight=False), scope="head"), 0),
    ],
)
def test_norms_of_queries_and_keys(qk_norm: QkNorm, extra: int) -> None:
    plain = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16)
    normed = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16, qk_norm=qk_norm)
    assert attention_parameters(64, normed) - attention_parameters(64, plain) == extra


def test_one_sink_a_head() -> None:
    plain = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16)
    sinks = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16, sinks=True)
    assert attention_parameters(64, sinks) - attention_parameters(64, plain) == 8


def latent(*, q_lora_rank: int | None) -> LatentAttention:
    return LatentAttention(
        heads=4, q_lora_rank=q_lora_rank, kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12
    )


def test_latent_attention_with_compressed_queries() -> None:
    queries = 64 * 32 + 32 + 32 * 4 * (16 + 8)
    keys_and_values = 64 * (24 + 8) + 24 + 24 * 4 * (16 + 12)
    assert attention_parameters(64, latent(q_lora_rank=32)) == queries + keys_and_values + 4 * 12 * 64


def test_latent_attention_with_direct_queries() -> None:
    keys_and_values = 64 * (24 + 8) + 24 + 24 * 4 * (16 + 12)
    assert attention_parameters(64, latent(q_lora_rank=None)) == 64 * 4 * (16 + 8) + keys_and_values + 4 * 12 * 64


def test_gated_and_plain_networks() -> None:
    assert ffn_parameters(64, Mlp(width=256, gated=True, activation="silu")) == 3 * 64 * 256
    assert ffn_parameters(64, Mlp(width=256, gated=False, activation="gelu")) == 2 * 64 * 256
    assert ffn_parameters(64, Mlp(width=256, gated=False, activation="gelu", bias=True)) == 2 * 64 * 256 + 256 + 64


def test_experts_with_biases_and_shared_experts() -> None:
    moe = MoE(
        experts=16,
        top_k=2,
        width=48,
        gated=True,
        activation="silu",
        expert_bias=True,
        router_bias=True,
        score_correction=True,
        shared_width=96,
        shared_gate=True,
    )
    assert expert_parameters(64, moe) == 3 * 64 * 48 + 2 * 48 + 64
    assert ffn_parameters(64, moe) == 64 * 16 + 16 + 16 * (3 * 64 * 48 + 2 * 48 + 64) + 3 * 64 * 96 + 64


@pytest.mark.parametrize(("placement", "norms"), [("pre", 2), ("sandwich", 4), ("parallel", 1), ("parallel_two", 2)])
def test_norms_of_a_layer(placement: str, norms: int) -> None:
    attention = SelfAttention(heads=4, kv_heads=4, head_dim=16, v_head_dim=16)
    ffn = Mlp(width=256, gated=True, activation="silu")
    built = Layer(attention=attention, ffn=ffn, norm=LAYER_NORM, placement=placement)  # pyright: ignore[reportArgumentType]
    blocks = attention_parameters(64, attention) + ffn_parameters(64, ffn)
    assert layer_parameters(64, built) == blocks + norms * (64 + 64)


def test_norm_without_weight_has_no_parameters() -> None:
    assert norm_parameters(Norm(kind="rms", weight=False), 64) == 0
    assert norm_parameters(None, 64) == 0


def architecture(*, tied: bool, embedding_width: int = 64) -> Architecture:
    moe = MoE(experts=16, top_k=2, width=48, gated=True, activation="silu")
    attention = SelfAttention(heads=4, kv_heads=4, head_dim=16, v_head_dim=16)
    dense = Mlp(width=256, gated=True, activation="silu")
    segments = (
        Segment(count=1, layers=(Layer(attention=attention, ffn=dense, norm=RMS, placement="pre"),)),
        Segment(count=5, layers=(Layer(attention=attention, ffn=moe, norm=RMS, placement="pre"),)),
    )
    return Architecture(
        name="small",
        model_type="test",
        hidden=64,
        vocab=1000,
        segments=segments,
        tied_embeddings=tied,
        embedding_width=embedding_width,
        learned_positions=128,
        final_norm=RMS,
    )


def test_tied_tables_count_once() -> None:
    assert count_parameters(architecture(tied=False)) - count_parameters(architecture(tied=True)) == 1000 * 64


def test_narrow_embeddings_are_projected_both_ways() -> None:
    wide, narrow = architecture(tied=True), architecture(tied=True, embedding_width=16)
    assert count_parameters(wide) - count_parameters(narrow) == 1000 * (64 - 16) - 2 * 64 * 16


def test_idle_experts_are_not_active() -> None:
    model = architecture(tied=True)
    assert count_parameters(model) - count_active_parameters(model) == 5 * (16 - 2) * 3 * 64 * 48
