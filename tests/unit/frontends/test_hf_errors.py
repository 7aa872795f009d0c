"""Bad configs: every problem is named with its place, value, rule and fix, and all of a file at once."""

import json
from pathlib import Path

import pytest

from gambrel.errors import FrontendError
from gambrel.frontends.hf import architecture_from_config, read_config
from gambrel.frontends.hf.source import JsonValue

Config = dict[str, JsonValue]

GOOD: Config = {
    "model_type": "qwen3_moe",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 256,
    "moe_intermediate_size": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 1000,
}


def problems(config: Config) -> str:
    with pytest.raises(FrontendError) as caught:
        architecture_from_config(config, name="config.json")
    return str(caught.value)


def without(*keys: str) -> Config:
    return {key: value for key, value in GOOD.items() if key not in keys}


def test_the_good_config_is_good() -> None:
    assert architecture_from_config(GOOD, name="good").num_layers == 4


def test_every_missing_fact_is_listed_at_once() -> None:
    missing = ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "num_experts"]
    with pytest.raises(FrontendError) as caught:
        architecture_from_config(without(*missing), name="config.json")
    assert [problem.what for problem in caught.value.problems] == [
        f"{key} is missing"
        for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_experts", "vocab_size")
    ]


def test_a_missing_fact_names_its_other_spellings_and_the_unread_keys() -> None:
    text = problems({**without("num_hidden_layers"), "layer_count": 4})
    assert "n_layer" in text
    assert "not understood: layer_count" in text


@pytest.mark.parametrize(
    "value",
    [-1, 0, 64.5, float("nan"), float("inf"), "64", True, [64], 10**12, pytest.param(10**5000, id="5001 digits")],
)
def test_an_absurd_size_is_refused(value: JsonValue) -> None:
    text = problems({**GOOD, "hidden_size": value})
    assert "hidden_size is" in text
    assert text.count("\n") == 0


def test_a_whole_float_is_told_how_to_be_written() -> None:
    assert "Write 64." in problems({**GOOD, "hidden_size": 64.0})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_key_value_heads": 16}, "num_key_value_heads is 16"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3"),
        ({"num_experts_per_tok": 9}, "at most all 8 experts"),
        ({"tie_word_embeddings": "yes"}, "Write true or false"),
        ({"hidden_act": "sliu"}, "Did you mean 'silu'"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types has 3 entries"),
        ({"layer_types": ["full_attention"] * 3 + ["linear_attention"]}, "layer_types has 'linear_attention'"),
        ({"layer_types": "full_attention"}, "must be a list"),
        ({"mlp_layer_types": ["dense"] * 3 + ["wide"]}, "mlp_layer_types has 'wide'"),
        ({"rotary_dim": 32}, "a head has 16"),
        ({"rope_parameters": {"partial_rotary_factor": float("nan")}}, "a share of a head"),
        ({"partial_rotary_factor": 1.5}, "a share of a head"),
        ({"quantization_config": "fp8"}, "it must be an object"),
        ({"n_routed_experts": 16}, "both spell the same fact"),
        ({"index_topk": 2048}, "a sparse-attention indexer"),
        ({"is_encoder_decoder": True}, "an encoder beside the decoder"),
        ({"num_hidden_layers": 5000}, "between 1 and 1,000"),
    ],
)
def test_a_broken_rule_is_named(changes: Config, expected: str) -> None:
    assert expected in problems({**GOOD, **changes})


def test_heads_that_do_not_divide() -> None:
    config: Config = {**without("head_dim"), "model_type": "llama", "num_attention_heads": 7, "num_key_value_heads": 7}
    assert "it must divide hidden_size (64)" in problems(config)


def test_a_wrong_size_causes_no_second_complaint() -> None:
    assert problems({**GOOD, "num_attention_heads": -8}).count("\n") == 0


def test_an_unknown_type_names_the_nearest_and_the_strange_keys() -> None:
    text = problems({**GOOD, "model_type": "qwen3_mo", "mystery_gate": 4})
    assert "'qwen3_moe'" in text
    assert "keys not understood: mystery_gate" in text


@pytest.mark.parametrize(
    ("model_type", "meaning"),
    [("bert", "an encoder"), ("mamba", "recurrent"), ("kimi_linear", "linear attention"), ("t5", "encoder-decoder")],
)
def test_a_known_type_that_is_not_modelled_says_what_it_is(model_type: str, meaning: str) -> None:
    assert meaning in problems({**GOOD, "model_type": model_type})


def test_an_unknown_text_part_is_refused() -> None:
    text = problems({"model_type": "new_vl", "text_config": {**GOOD, "model_type": "new_vl_text"}})
    assert "'new_vl_text' is not supported" in text


@pytest.mark.parametrize("model_type", [None, "", 7])
def test_no_model_type(model_type: JsonValue) -> None:
    assert "model_type is" in problems({**GOOD, "model_type": model_type, "architectures": ["Qwen3MoeForCausalLM"]})


def test_a_problem_points_into_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**GOOD, "vocab_size": -1}, indent=2))
    with pytest.raises(FrontendError, match=r"config\.json:12:3: vocab_size is -1"):
        read_config(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"model_type": "llama",\n "hidden_size": 64', "config.json:2:19: not valid JSON"),
        ("", "config.json:1:1: not valid JSON"),
        ('{"model_type": "llama",\n "model_type": "gpt2"}', "config.json:2:2: the key 'model_type' is written twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' is written twice"),
        ("[1, 2]", "holds a list"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "not a usable JSON file"),
        ("[" * 100_000, "not a usable JSON file"),
    ],
)
def test_a_file_that_is_not_one_json_object(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(FrontendError) as caught:
        read_config(file)
    assert expected in str(caught.value)


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(GOOD)[:-20])
    with pytest.raises(FrontendError, match="ends too early"):
        read_config(file)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"\x80\x02}q\x00")
    with pytest.raises(FrontendError, match="is not text"):
        read_config(file)


def test_a_missing_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FrontendError, match="there is no such file"):
        read_config(tmp_path / "absent.json")
    with pytest.raises(FrontendError, match=r"config\.json: there is no such file"):
        read_config(tmp_path)
