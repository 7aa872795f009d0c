"""Hybrid families: which layers are recurrences, what a recurrence weighs, and configs that are refused."""

import pytest

from gambrel.errors import FrontendError
from gambrel.frontends.architecture import (
    Architecture,
    GatedDeltaNet,
    Layer,
    Mamba2,
    Mlp,
    MoE,
    Norm,
    Placement,
    SelfAttention,
)
from gambrel.frontends.folding import unfold
from gambrel.frontends.hf import architecture_from_config
from gambrel.frontends.hf.source import JsonValue
from gambrel.frontends.lower import lower
from gambrel.frontends.parameters import (
    attention_parameters,
    count_parameters,
    expert_parameters,
    ffn_parameters,
    layer_parameters,
)
from gambrel.ir.kv import StateOp
from gambrel.ir.scan import Conv1dOp, ScanOp
from gambrel.ir.structure import PhaseOp
from gambrel.ir.verify import verify_module

Config = dict[str, JsonValue]

QWEN: Config = {
    "model_type": "qwen3_next",
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 24,
    "linear_conv_kernel_dim": 4,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 48,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 1000,
}
NEMOTRON: Config = {
    "model_type": "nemotron_h",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "hybrid_override_pattern": "ME*-",
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "ssm_state_size": 32,
    "n_groups": 4,
    "conv_kernel": 4,
    "chunk_size": 128,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "moe_latent_size": 24,
    "moe_shared_expert_intermediate_size": 48,
    "mlp_hidden_act": "relu2",
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 1000,
}
MAMBA: Config = {
    "model_type": "mamba2",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_heads": 8,
    "head_dim": 16,
    "state_size": 32,
    "n_groups": 4,
    "conv_kernel": 4,
    "chunk_size": 128,
    "vocab_size": 1000,
}


def read(config: Config, **changes: JsonValue) -> Architecture:
    return architecture_from_config({**config, **changes}, name="config.json")


def problems(config: Config, **changes: JsonValue) -> str:
    with pytest.raises(FrontendError) as caught:
        read(config, **changes)
    return str(caught.value)


def layers(model: Architecture) -> tuple[Layer, ...]:
    return unfold(model.segments)


def test_gated_delta_rule_weighs_its_projections_convolution_and_decay() -> None:
    mixer = GatedDeltaNet(key_heads=4, value_heads=8, key_dim=16, value_dim=24, conv_kernel=3)
    projections = 64 * (4 * 16 + 4 * 16 + 8 * 24 + 8 * 24 + 8 + 8) + 8 * 24 * 64
    assert attention_parameters(64, mixer) == projections + 3 * (4 * 16 + 4 * 16 + 8 * 24) + 8 + 8 + 24


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("conv_bias", [False, True])
def test_mamba2_weighs_its_projections_convolution_and_scalars(bias: bool, conv_bias: bool) -> None:
    mixer = Mamba2(heads=8, head_dim=16, state=32, groups=4, conv_kernel=3, chunk=64, bias=bias, conv_bias=conv_bias)
    convolved = 8 * 16 + 2 * 4 * 32
    projected = 8 * 16 + convolved + 8
    expected = 64 * projected + 3 * convolved + 8 + 8 + 8 + 8 * 16 + 8 * 16 * 64
    assert attention_parameters(64, mixer) == expected + bias * (projected + 64) + conv_bias * convolved


def test_an_output_gate_is_one_more_projection() -> None:
    plain = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=32)
    gated = SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=32, output_gate=True)
    assert attention_parameters(64, gated) - attention_parameters(64, plain) == 64 * 8 * 32


def test_experts_in_a_latent_space() -> None:
    moe = MoE(experts=16, top_k=2, width=48, gated=False, activation="relu2", shared_width=96, latent=24)
    assert expert_parameters(64, moe) == 2 * 24 * 48
    assert ffn_parameters(64, moe) == 64 * 16 + 16 * 2 * 24 * 48 + 2 * 64 * 96 + 2 * 64 * 24


@pytest.mark.parametrize(("placement", "norms"), [("pre", 1), ("post", 1), ("sandwich", 2), ("post_residual", 1)])
def test_a_layer_of_one_block_has_the_norms_of_one_block(placement: Placement, norms: int) -> None:
    ffn = Mlp(width=256, gated=True, activation="silu")
    alone = Layer(attention=None, ffn=ffn, norm=Norm(kind="rms"), placement=placement)
    assert layer_parameters(64, alone) == ffn_parameters(64, ffn) + norms * 64


def test_one_layer_in_four_has_softmax_attention_with_a_gate_and_a_quarter_rotated() -> None:
    found = [layer.attention for layer in layers(read(QWEN))]
    linear = GatedDeltaNet(key_heads=4, value_heads=8, key_dim=16, value_dim=24, conv_kernel=4)
    assert found[:3] == found[4:7] == [linear] * 3
    full = found[3]
    assert isinstance(full, SelfAttention)
    assert full == found[7]
    assert (full.output_gate, full.rotary_dim, full.window) == (True, 16 // 4, None)


def test_a_list_of_layer_types_wins_over_the_interval() -> None:
    kinds: list[JsonValue] = ["full_attention", *["linear_attention"] * 6, "full_attention"]
    found = [isinstance(layer.attention, GatedDeltaNet) for layer in layers(read(QWEN, layer_types=kinds))]
    assert found == [False, *[True] * 6, False]
    assert "sliding_attention" in problems(QWEN, layer_types=["sliding_attention"] * 8)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "fp32"), ("bfloat16", "bf16")])
def test_the_config_says_how_the_state_is_stored(dtype: str, expected: str) -> None:
    mixer = layers(read(QWEN, mamba_ssm_dtype=dtype))[0].attention
    assert isinstance(mixer, GatedDeltaNet)
    assert mixer.state_dtype == expected


def test_layers_of_one_block_follow_the_pattern() -> None:
    kinds = [(type(layer.attention), type(layer.ffn)) for layer in layers(read(NEMOTRON))]
    none = type(None)
    assert kinds == [(Mamba2, none), (none, MoE), (SelfAttention, none), (none, Mlp)]
    attention = layers(read(NEMOTRON))[2].attention
    assert isinstance(attention, SelfAttention)
    assert attention.rotary_dim == 0


def test_a_list_of_blocks_stands_for_the_pattern_and_the_number_of_layers() -> None:
    config = {
        key: value for key, value in NEMOTRON.items() if key not in ("hybrid_override_pattern", "num_hidden_layers")
    }
    assert read(config, layers_block_type=["mamba", "moe", "attention", "mlp"]) == read(NEMOTRON)


def test_a_model_of_recurrences_only() -> None:
    model = read(MAMBA)
    assert [(type(layer.attention), layer.ffn) for layer in layers(model)] == [(Mamba2, None)] * 4
    assert model.notes.ignored_keys == ()


@pytest.mark.parametrize(
    ("config", "changes", "expected"),
    [
        (QWEN, {"linear_num_value_heads": 6}, "each of the 4 key heads serves the same number of value heads"),
        (QWEN, {"mamba_ssm_dtype": "bfloat61"}, "Did you mean 'bfloat16'"),
        (QWEN, {"linear_key_head_dim": None}, "linear_key_head_dim is missing"),
        (NEMOTRON, {"hybrid_override_pattern": "ME*"}, "hybrid_override_pattern has 3 letters"),
        (NEMOTRON, {"hybrid_override_pattern": "ME*X"}, "hybrid_override_pattern has 'X'"),
        (NEMOTRON, {"hybrid_override_pattern": None}, "layers_block_type is missing"),
        (MAMBA, {"n_groups": 3}, "each of the 3 groups (n_groups) serves the same number of heads"),
    ],
)
def test_a_bad_hybrid_is_refused(config: Config, changes: Config, expected: str) -> None:
    assert expected in problems({**config, **changes})


@pytest.mark.parametrize("config", [QWEN, NEMOTRON, MAMBA])
def test_the_weights_of_the_ir_add_up_to_the_parameters(config: Config) -> None:
    from gambrel.cost.flops import parameters

    model = read(config)
    module = lower(model)
    verify_module(module)
    assert parameters(module).constant == count_parameters(model)


def test_both_phases_share_one_state_a_layer() -> None:
    module = lower(read(MAMBA))
    phases = [op for op in module.ops if isinstance(op, PhaseOp)]
    states = [sorted(op.label.data for op in phase.walk() if isinstance(op, StateOp)) for phase in phases]
    assert states[0] == states[1] == ["mamba.b_conv_state", "mamba.c_conv_state", "mamba.state", "mamba.x_conv_state"]
    assert [sum(isinstance(op, ScanOp) for op in phase.walk()) for phase in phases] == [1, 1]
    assert [sum(isinstance(op, Conv1dOp) for op in phase.walk()) for phase in phases] == [3, 3]
