"""What is read from a config: every spelling and switch that changes the work."""

import json
from pathlib import Path

import pytest

from gambrel.frontends.architecture import Architecture, LatentAttention, MoE, Norm, SelfAttention
from gambrel.frontends.folding import unfold
from gambrel.frontends.hf import architecture_from_config, read_config
from gambrel.frontends.hf.source import JsonValue
from gambrel.frontends.parameters import count_parameters

Config = dict[str, JsonValue]

LLAMA: Config = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 256,
    "vocab_size": 1000,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
}


def read(config: Config, **changes: JsonValue) -> Architecture:
    return architecture_from_config({**config, **changes}, name="model")


def attentions(model: Architecture) -> list[SelfAttention]:
    found = [layer.attention for layer in unfold(model.segments)]
    return [attention for attention in found if isinstance(attention, SelfAttention)]


def windows(model: Architecture) -> list[int | None]:
    return [attention.window for attention in attentions(model)]


def test_a_plain_decoder() -> None:
    model = read(LLAMA, max_position_embeddings=4096, torch_dtype="bfloat16")
    attention = attentions(model)[0]
    assert (attention.heads, attention.kv_heads, attention.head_dim, attention.rotary_dim) == (8, 2, 8, 8)
    assert (model.hidden, model.vocab, model.num_layers, model.max_positions) == (64, 1000, 8, 4096)
    assert model.dtype == "bf16"
    assert model.final_norm == Norm(kind="rms")
    assert model.notes.defaulted == ()


def test_a_folder_and_its_file_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    assert read_config(folder) == read_config(folder / "config.json")
    assert read_config(folder).name == "my-model"


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(LLAMA).encode())
    assert read_config(file).hidden == 64


@pytest.mark.parametrize("head_dim", [None, 8])
def test_head_dim_null_means_hidden_over_heads(head_dim: int | None) -> None:
    assert attentions(read(LLAMA, head_dim=head_dim))[0].head_dim == 64 // 8


def test_head_dim_need_not_be_hidden_over_heads() -> None:
    assert attentions(read(LLAMA, head_dim=128))[0].head_dim == 128


def test_assumed_values_are_named() -> None:
    config = {key: value for key, value in LLAMA.items() if key not in ("num_key_value_heads", "tie_word_embeddings")}
    assert read(config).notes.defaulted == ("num_key_value_heads = 8", "tie_word_embeddings = false")


def test_keys_without_effect_are_silent_and_others_are_listed() -> None:
    model = read(LLAMA, bos_token_id=1, attention_dropout=0.1, initializer_range=0.02, auto_map={"a": "b"}, surprise=3)
    assert model.notes.ignored_keys == ("surprise",)


def test_not_finite_numbers_without_effect_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**LLAMA, "initializer_range": float("inf")}))
    assert read_config(file).notes.ignored_keys == ()


def test_old_spellings() -> None:
    config: Config = {
        "model_type": "gpt2",
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 32,
        "vocab_size": 10,
    }
    same: Config = {
        "model_type": "gpt2",
        "hidden_dim": 64,
        "num_layers": 2,
        "num_heads": 4,
        "max_seq_len": 32,
        "vocab_size": 10,
    }
    assert read(config) == read(same)
    assert "intermediate_size = 256" in read(config).notes.defaulted


def test_a_fact_may_be_spelled_twice_alike() -> None:
    assert read(LLAMA, n_head=8) == read(LLAMA)


QWEN: Config = {**LLAMA, "model_type": "qwen2", "sliding_window": 512, "max_window_layers": 3}


def test_a_window_that_is_switched_off_is_none() -> None:
    assert windows(read(QWEN, use_sliding_window=False)) == [None] * 8


def test_a_window_from_some_layer_on() -> None:
    assert windows(read(QWEN, use_sliding_window=True)) == [None] * 3 + [512] * 5


def test_listed_layer_types_win() -> None:
    types: list[JsonValue] = ["full_attention", "sliding_attention"] * 4
    assert windows(read(QWEN, layer_types=types)) == [None, 512] * 4


def test_a_null_window_is_none() -> None:
    assert windows(read(LLAMA, model_type="mistral", sliding_window=None)) == [None] * 8


def test_a_missing_window_is_assumed_and_named() -> None:
    model = read(LLAMA, model_type="mistral")
    assert windows(model) == [4096] * 8
    assert "sliding_window = 4096" in model.notes.defaulted


@pytest.mark.parametrize("pattern", [4, "LLLG"])
def test_a_window_pattern_is_a_period_or_letters(pattern: int | str) -> None:
    model = read(LLAMA, model_type="exaone4", sliding_window=128, sliding_window_pattern=pattern)
    assert windows(model) == [128, 128, 128, None] * 2


def test_global_layers_without_rotary_embedding() -> None:
    model = read(LLAMA, model_type="cohere2", sliding_window=128, sliding_window_pattern=4)
    assert [attention.rotary_dim for attention in attentions(model)] == [8, 8, 8, 0] * 2


def test_chunked_attention_where_there_is_rotary_embedding() -> None:
    model = read(
        LLAMA,
        model_type="llama4_text",
        attention_chunk_size=64,
        num_local_experts=4,
        num_experts_per_tok=1,
        intermediate_size_mlp=512,
        interleave_moe_layer_step=2,
    )
    assert [attention.chunk for attention in attentions(model)] == [64, 64, 64, None] * 2
    assert [isinstance(layer.ffn, MoE) for layer in unfold(model.segments)] == [False, True] * 4


@pytest.mark.parametrize(
    ("changes", "rotary_dim"),
    [
        ({"partial_rotary_factor": 0.5}, 4),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}}, 2),
        ({"rotary_dim": 6}, 6),
        ({}, 8),
    ],
)
def test_the_rotated_part_of_a_head(changes: Config, rotary_dim: int) -> None:
    assert attentions(read(LLAMA, **changes))[0].rotary_dim == rotary_dim


DEEPSEEK: Config = {
    "model_type": "deepseek_v3",
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "intermediate_size": 256,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "vocab_size": 1000,
}


def test_latent_attention_and_first_dense_layers() -> None:
    model = read(DEEPSEEK, num_nextn_predict_layers=1)
    layers = unfold(model.segments)
    assert [isinstance(layer.ffn, MoE) for layer in layers] == [False] + [True] * 5
    attention, moe = layers[-1].attention, layers[-1].ffn
    assert isinstance(attention, LatentAttention)
    assert isinstance(moe, MoE)
    assert attention.q_lora_rank is None
    assert (moe.shared_width, moe.score_correction) == (2 * 32, True)
    assert any("multi-token prediction" in remark for remark in model.notes.remarks)


def test_experts_every_second_layer() -> None:
    model = read(DEEPSEEK, moe_layer_freq=2)
    assert [isinstance(layer.ffn, MoE) for layer in unfold(model.segments)] == [False, False, True, False, True, False]


def test_listed_expert_layers() -> None:
    kinds: list[JsonValue] = ["dense", "sparse"] * 3
    model = read(DEEPSEEK, mlp_layer_types=kinds)
    assert [isinstance(layer.ffn, MoE) for layer in unfold(model.segments)] == [False, True] * 3


FALCON: Config = {
    "model_type": "falcon",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_kv_heads": 4,
    "vocab_size": 1000,
    "bias": False,
    "alibi": False,
    "activation": "gelu",
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("changes", "kv_heads", "placement"),
    [
        ({"multi_query": True, "parallel_attn": True}, 1, "parallel"),
        ({"multi_query": False, "parallel_attn": False}, 8, "pre"),
        ({"new_decoder_architecture": True}, 4, "parallel_two"),
        ({"new_decoder_architecture": True, "num_ln_in_parallel_attn": 1}, 4, "parallel"),
    ],
)
def test_the_generations_of_falcon(changes: Config, kv_heads: int, placement: str) -> None:
    model = read(FALCON, **changes)
    layer = model.segments[0].layers[0]
    assert attentions(model)[0].kv_heads == kv_heads
    assert layer.placement == placement


def test_an_opt_with_narrow_embeddings_and_norms_after_the_sum() -> None:
    config: Config = {
        "model_type": "opt",
        "hidden_size": 1024,
        "word_embed_proj_dim": 512,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "ffn_dim": 4096,
        "vocab_size": 50272,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": False,
    }
    model = read(config)
    assert model.final_norm is None
    assert model.learned_positions == 2048 + 2
    assert model.segments[0].layers[0].placement == "post_residual"
    # published with the weights of OPT-350M
    assert count_parameters(model) == 331_196_416


def test_caps_on_scores_and_logits() -> None:
    gemma = read(LLAMA, model_type="gemma2", attn_logit_softcapping=30.0, final_logit_softcapping=None)
    assert attentions(gemma)[0].softcap == 30.0
    assert gemma.logit_softcap is None


def test_the_text_part_of_a_multimodal_config() -> None:
    text = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    outer: Config = {
        "model_type": "llava",
        "text_config": text,
        "vision_config": {"hidden_size": 7},
        "tie_word_embeddings": True,
    }
    model = read(outer)
    assert model.model_type == "llama"
    assert model.tied_embeddings
    assert model.notes.remarks == ("the vision part is not counted",)


@pytest.mark.parametrize(
    ("config", "weight_dtype", "block"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", (128, 128)),
        ({"quant_method": "mxfp4"}, "mxfp4", (1, 32)),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4", (1, 128)),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "int4", (1, 64)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", (1, 16)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
            None,
        ),
    ],
)
def test_published_quantization(config: Config, weight_dtype: str, block: tuple[int, int] | None) -> None:
    quantization = read(LLAMA, quantization_config=config).quantization
    assert quantization is not None
    assert (quantization.weight_dtype, quantization.block) == (weight_dtype, block)


def test_an_unknown_quantization_is_remarked() -> None:
    model = read(LLAMA, quantization_config={"quant_method": "magic"})
    assert model.quantization is not None
    assert model.quantization.weight_dtype is None
    assert any("'magic'" in remark for remark in model.notes.remarks)


def test_modules_that_stay_plain() -> None:
    config: Config = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head", "model.layers.*.self_attn"]}
    quantization = read(LLAMA, quantization_config=config).quantization
    assert quantization is not None
    assert quantization.excluded == ("lm_head", "model.layers.*.self_attn")
