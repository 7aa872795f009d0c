"""Parameters and FLOPs of whole models against counts of their reference implementation, digit by digit."""

import pytest

from gambrel.cost.flops import model_flops, parameters
from gambrel.frontends.lower import Lowering, lower
from gambrel.models import load_model

TOKENS = 2048

# Source: transformers 5.23 on tensors without data: the sum over `parameters()`, and torch's FlopCounterMode over one
# forward pass of one sequence (eager attention, grouped expert products, logits of the last token only).
# Convention `hf-dense`: 2 FLOPs a multiply-accumulate; matrix products only; masked scores count as computed; latent
# attention expands its cache. Columns: parameters, prefill of 2048 tokens, decode of one token over 2048 cached ones.
REFERENCE = {
    "bloom-7b1": (7069016064, 26802651136000, 15141928960),
    "command-r": (34980831232, 140191926845440, 72646656000),
    "deepseek-v2": (235741434880, 103874161541120, 4174941388800),
    "deepseek-v2-lite": (15706484224, 10341626937344, 237397358592),
    "deepseek-v3": (671026404352, 167179965693952, 4275376373760),
    "exaone-4.0-32b": (32003216384, 132286041292800, 65642168320),
    "falcon-7b": (6921720704, 29580030705664, 15034605568),
    "gemma-2-9b": (9241705984, 36981503426560, 19892174848),
    "gemma-2-27b": (27227128320, 109850442858496, 55996809216),
    "gemma-3-12b": (11766034176, 47366913097728, 24470192128),
    "gemma-3-27b": (27009346304, 109114315931648, 55224107008),
    "gemma-7b": (8537680896, 33674116464640, 18014994432),
    "gpt-neox-20b": (20554567680, 86174843535360, 42698047488),
    "gpt-oss-20b": (20914757184, 14053150408704, 7642300416),
    "gpt-oss-120b": (116829156672, 21119915114496, 10904223744),
    "gpt2": (124439808, 502588368384, 322598400),
    "gpt2-xl": (1557611200, 7328448771200, 3739395200),
    "kimi-k2": (1026408209408, 135457832697856, 2164435722240),
    "llama-2-70b": (68976648192, 291371105648640, 142797701120),
    "llama-3.1-8b": (8030261248, 30787376250880, 16083582976),
    "llama-3.1-70b": (70553706496, 291372682706944, 144374759424),
    "llama-3.1-405b": (405853388800, 1679783092027392, 824415485952),
    "llama-3.2-1b": (1235814400, 4536010801152, 2740060160),
    "mistral-7b-v0.3": (7248023552, 30786594013184, 15301345280),
    "mixtral-8x7b": (46702792704, 53880626872320, 26571440128),
    "mixtral-8x22b": (140620634112, 164526094811136, 80729407488),
    "olmo-3-7b": (7298011136, 28725562753024, 14847754240),
    "olmo-3.1-32b": (32233522176, 133316811714560, 66123755520),
    "opt-13b": (12853473280, 54976096174080, 27359150080),
    "phi-4": (14659507200, 59271576289280, 29969121280),
    "qwen1.5-moe-a2.7b": (14315784192, 9290032611328, 5158371328),
    "qwen2.5-7b": (7615616512, 28412298657792, 14963056640),
    "qwen2.5-14b": (14770033664, 58241313669120, 29995499520),
    "qwen3-0.6b": (596049920, 2766270103552, 1661960192),
    "qwen3-8b": (8190735360, 30925009190912, 16344743936),
    "qwen3-32b": (32762123264, 136615875575808, 68264132608),
    "qwen3-30b-a3b": (30532122624, 14483252051968, 7694712832),
    "qwen3-235b-a22b": (235093634560, 98712478023680, 49446584320),
    "qwen3-coder-480b-a35b": (480154875392, 150437928370176, 75325145088),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_parameters_and_flops_equal_the_reference(name: str) -> None:
    module = lower(load_model(name), Lowering(latent_form="expanded"))
    prefill = model_flops(module, "prefill", "hf-dense")
    decode = model_flops(module, "decode", "hf-dense")
    one = dict.fromkeys(("tp", "dp", "pp", "cp", "ep"), 1)
    assert (
        parameters(module).constant,
        prefill.evaluate({**one, "b": 1, "s": TOKENS, "c": 0}),
        decode.evaluate({**one, "b": 1, "s": 1, "c": TOKENS}),
    ) == REFERENCE[name]


def test_flops_of_a_batch_are_those_of_its_sequences() -> None:
    module = lower(load_model("mixtral-8x7b"), Lowering(latent_form="expanded"))
    prefill = model_flops(module, "prefill", "hf-dense")
    sizes = {"s": 512, "c": 0}
    assert prefill.evaluate({**sizes, "b": 7}) == 7 * prefill.evaluate({**sizes, "b": 1})


def test_a_served_causal_prefill_computes_half_the_scores() -> None:
    module = lower(load_model("llama-3.1-8b"), Lowering(latent_form="expanded"))
    sizes = {"b": 1, "s": TOKENS, "c": 0}
    dense = model_flops(module, "prefill", "hf-dense").evaluate(sizes)
    served = model_flops(module, "prefill", "served").evaluate(sizes)
    layers, heads, head_dim = 32, 32, 128
    masked = TOKENS * TOKENS - TOKENS * (TOKENS + 1) // 2
    assert dense - served == layers * 2 * heads * masked * 2 * head_dim
