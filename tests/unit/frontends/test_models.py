"""The shipped library gives the published parameter counts."""

import pytest

from gambrel.errors import FrontendError
from gambrel.frontends.parameters import count_active_parameters, count_parameters
from gambrel.models import list_aliases, list_models, load_model, read_card

# Source: sum over `parameters()` of the modules of transformers 5.23, built on tensors without data; the active count
# takes top_k / experts of the stacked expert weights. Text parts of multi-modal models.
REFERENCE = {
    "bloom-7b1": (7_069_016_064, None),
    "command-r": (34_980_831_232, None),
    "deepseek-v2": (235_741_434_880, 21_375_800_320),
    "deepseek-v2-lite": (15_706_484_224, 2_661_150_208),
    "deepseek-v3": (671_026_404_352, 37_552_282_624),
    "devstral-2-123b": (125_025_988_608, None),
    "exaone-4.0-32b": (32_003_216_384, None),
    "falcon-7b": (6_921_720_704, None),
    "gemma-2-27b": (27_227_128_320, None),
    "gemma-2-9b": (9_241_705_984, None),
    "gemma-3-12b": (11_766_034_176, None),
    "gemma-3-27b": (27_009_346_304, None),
    "gemma-3-4b": (3_880_263_168, None),
    "gemma-7b": (8_537_680_896, None),
    "gpt-neox-20b": (20_554_567_680, None),
    "gpt-oss-120b": (116_829_156_672, 5_711_982_912),
    "gpt-oss-20b": (20_914_757_184, 4_187_440_704),
    "gpt2": (124_439_808, None),
    "gpt2-xl": (1_557_611_200, None),
    "kimi-k2": (1_026_408_209_408, 32_861_477_888),
    "llama-2-13b": (13_015_864_320, None),
    "llama-2-70b": (68_976_648_192, None),
    "llama-2-7b": (6_738_415_616, None),
    "llama-3.1-405b": (405_853_388_800, None),
    "llama-3.1-70b": (70_553_706_496, None),
    "llama-3.1-8b": (8_030_261_248, None),
    "llama-3.2-1b": (1_235_814_400, None),
    "llama-4-scout": (107_769_861_120, 17_172_894_720),
    "minimax-m2.5": (228_689_748_992, 11_030_537_216),
    "mistral-7b-v0.3": (7_248_023_552, None),
    "mixtral-8x22b": (140_620_634_112, 39_152_031_744),
    "mixtral-8x7b": (46_702_792_704, 12_879_925_248),
    "nemotron-3-super-120b": (120_668_687_360, 12_770_216_960),
    "nemotron-3-ultra-550b": (549_308_968_960, 56_058_818_560),
    "olmo-3-7b": (7_298_011_136, None),
    "olmo-3.1-32b": (32_233_522_176, None),
    "opt-13b": (12_853_473_280, None),
    "opt-6.7b": (6_658_473_984, None),
    "opt-66b": (65_719_701_504, None),
    "phi-3-mini": (3_821_079_552, None),
    "phi-4": (14_659_507_200, None),
    "qwen1.5-moe-a2.7b": (14_315_784_192, 2_689_173_504),
    "qwen2.5-14b": (14_770_033_664, None),
    "qwen2.5-7b": (7_615_616_512, None),
    "qwen3-0.6b": (596_049_920, None),
    "qwen3-235b-a22b": (235_093_634_560, 22_190_763_520),
    "qwen3-30b-a3b": (30_532_122_624, 3_353_032_704),
    "qwen3-32b": (32_762_123_264, None),
    "qwen3-8b": (8_190_735_360, None),
    "qwen3-next-80b-a3b": (79_674_391_296, 3_874_929_408),
    "qwen3.5-122b-a10b": (122_111_526_912, 9_771_288_576),
    "qwen3.5-27b": (26_895_998_464, None),
    "qwen3.5-35b-a3b": (34_660_610_688, 3_454_988_928),
    "qwen3.5-9b": (8_953_803_264, None),
    "qwen3-coder-480b-a35b": (480_154_875_392, 35_474_765_312),
    "smollm3-3b": (3_075_098_624, None),
    # published with the weights
    "bloom-176b": (176_247_271_424, None),
    "falcon-40b": (41_303_293_952, None),
    "mistral-7b": (7_241_732_096, None),
    "qwen2.5-72b": (72_706_203_648, None),
}


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_parameters_equal_the_reference(name: str) -> None:
    total, active = REFERENCE[name]
    model = load_model(name)
    assert count_parameters(model) == total
    assert count_active_parameters(model) == (total if active is None else active)


@pytest.mark.parametrize("name", list_models())
def test_every_entry_is_complete_and_sourced(name: str) -> None:
    card, model = read_card(name), load_model(name)
    assert card.name == model.name == name
    assert count_parameters(model) == card.parameters
    assert model.notes.defaulted == ()
    assert model.notes.ignored_keys == ()
    assert model.notes.source == card.source
    assert len(card.source) > 20


def test_aliases_lead_to_entries_and_hide_none() -> None:
    aliases = list_aliases()
    assert set(aliases.values()) <= set(list_models())
    assert not set(aliases) & set(list_models())


def test_an_alias_keeps_its_own_name() -> None:
    assert load_model("deepseek-r1").name == "deepseek-r1"
    assert load_model("deepseek-r1") == load_model("deepseek-v3")


def test_an_organisation_and_upper_case_do_not_matter() -> None:
    assert load_model("meta-llama/Llama-3.1-70B") == load_model("llama-3.1-70b")


@pytest.mark.parametrize("name", ["llama-3.1-7b", "LLama-3.1-71b"])
def test_an_unknown_name_suggests_the_nearest(name: str) -> None:
    with pytest.raises(FrontendError, match=r"Did you mean .*llama-3\.1-70b"):
        load_model(name)


@pytest.mark.parametrize("name", ["../aliases", "", "../library/gpt2", ".."])
def test_a_name_is_never_a_path_into_the_library(name: str) -> None:
    with pytest.raises(FrontendError):
        read_card(name + "/x")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-70b", [(80, 1)]),
        ("deepseek-v3", [(3, 1), (58, 1)]),
        ("gemma-2-9b", [(21, 2)]),
        ("gemma-3-27b", [(10, 6), (2, 1)]),
        ("gpt-oss-120b", [(18, 2)]),
        ("llama-4-scout", [(12, 4)]),
        ("qwen3-235b-a22b", [(94, 1)]),
        ("qwen3-next-80b-a3b", [(12, 4)]),
        ("nemotron-3-ultra-550b", [(4, 25), (4, 2)]),
        ("mamba2-2.7b", [(64, 1)]),
    ],
)
def test_stacks_fold_to_their_pattern(name: str, expected: list[tuple[int, int]]) -> None:
    model = load_model(name)
    assert [(segment.count, len(segment.layers)) for segment in model.segments] == expected
