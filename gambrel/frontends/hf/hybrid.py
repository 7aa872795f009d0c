"""Layers of families in which a recurrence stands beside softmax attention or replaces it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from gambrel.errors import did_you_mean
from gambrel.frontends.architecture import Ffn, GatedDeltaNet, Mamba2, Mixer, Mlp
from gambrel.frontends.hf.blocks import activation_of, build_experts, build_ffns, build_full_attention
from gambrel.frontends.hf.facts import Facts
from gambrel.frontends.hf.quantization import DTYPES
from gambrel.frontends.hf.source import JsonValue
from gambrel.frontends.hf.traits import DeltaRule, Experts, Family, Grouped, StateSpace

Blocks = tuple[Mixer | None, Ffn | None]
BlockKind = Literal["mamba", "attention", "mlp", "moe"]

BLOCK_KINDS: dict[str, BlockKind] = {"mamba": "mamba", "attention": "attention", "mlp": "mlp", "moe": "moe"}
"""Kinds of a layer that is one block, as `layers_block_type` spells them."""
LETTERS: dict[str, BlockKind] = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
"""The same as `hybrid_override_pattern` spells them."""
STATE_DTYPE_KEYS = ("mamba_ssm_dtype", "mamba_ssm_cache_dtype")
LINEAR, FULL = "linear_attention", "full_attention"


def build_blocks(family: Family, facts: Facts, *, hidden: int, layers: int) -> list[Blocks]:
    """The two blocks of each layer; None where a layer has only one."""
    if isinstance(family.recurrence, DeltaRule):
        return _beside_attention(family, family.recurrence, facts, hidden=hidden, layers=layers)
    assert family.recurrence is not None
    if not family.recurrence.listed:
        mamba = _mamba2(family.recurrence, facts)
        return [(mamba, None) for _ in range(layers)]
    return _one_block_each(family, family.recurrence, facts, hidden=hidden, layers=layers)


def count_listed_layers(family: Family, facts: Facts) -> int | None:
    """How many layers the config's list of blocks has, where that may stand for `num_hidden_layers`."""
    if not isinstance(family.recurrence, StateSpace) or not family.recurrence.listed:
        return None
    listed = facts.values.get("layers_block_type") or facts.values.get("hybrid_override_pattern")
    return len(listed) if isinstance(listed, list | str) else None


def _beside_attention(family: Family, traits: DeltaRule, facts: Facts, *, hidden: int, layers: int) -> list[Blocks]:
    assert isinstance(family.attention, Grouped)
    assert family.ffn is not None
    full = build_full_attention(family.attention, facts, hidden=hidden)
    linear = _gated_delta_net(facts)
    ffns = build_ffns(family.ffn, facts, hidden=hidden, layers=layers)
    flags = _linear_layers(traits, facts, layers)
    return [(linear if is_linear else full, ffn) for is_linear, ffn in zip(flags, ffns, strict=True)]


def _linear_layers(traits: DeltaRule, facts: Facts, layers: int) -> list[bool]:
    listed = facts.sequence("layer_types", length=layers)
    if listed is None:
        every = facts.count("full_attention_interval", default=traits.every)
        return [(index + 1) % every != 0 for index in range(layers)]
    facts.use("full_attention_interval")
    unknown = next((entry for entry in listed if entry not in (LINEAR, FULL)), None)
    what = f"layer_types has {unknown!r}"
    why = f"this family has {LINEAR} and {FULL}"
    facts.require(unknown is None, "layer_types", what=what, why=why, fix="No block kind describes it yet")
    return [entry == LINEAR for entry in listed]


def _gated_delta_net(facts: Facts) -> GatedDeltaNet:
    key_heads, value_heads = facts.count("linear_num_key_heads"), facts.count("linear_num_value_heads")
    what = f"linear_num_value_heads is {value_heads}"
    why = f"each of the {key_heads} key heads serves the same number of value heads"
    names = ("linear_num_value_heads", "linear_num_key_heads")
    fix = "Write a multiple of linear_num_key_heads"
    facts.require(value_heads % key_heads == 0, *names, what=what, why=why, fix=fix)
    return GatedDeltaNet(
        key_heads=key_heads,
        value_heads=value_heads,
        key_dim=facts.count("linear_key_head_dim"),
        value_dim=facts.count("linear_value_head_dim"),
        conv_kernel=facts.count("linear_conv_kernel_dim"),
        state_dtype=_state_dtype(facts),
    )


def _one_block_each(family: Family, traits: StateSpace, facts: Facts, *, hidden: int, layers: int) -> list[Blocks]:
    assert isinstance(family.attention, Grouped)
    assert isinstance(family.ffn, Experts)
    kinds = _block_kinds(facts, layers)
    made: dict[BlockKind, Blocks] = {}
    for kind in dict.fromkeys(kinds):
        if kind == "mamba":
            made[kind] = (_mamba2(traits, facts), None)
        elif kind == "attention":
            made[kind] = (build_full_attention(family.attention, facts, hidden=hidden), None)
        elif kind == "moe":
            made[kind] = (None, build_experts(family.ffn, facts, activation_of(facts, family.ffn.activation)))
        else:
            made[kind] = (None, _plain(family.ffn, facts))
    facts.use(family.ffn.dense_width_key, "mlp_bias", "n_shared_experts", "expand", "mamba_hidden_act")
    return [made[kind] for kind in kinds]


def _block_kinds(facts: Facts, layers: int) -> Sequence[BlockKind]:
    listed = facts.sequence("layers_block_type", length=layers)
    if listed is not None:
        facts.use("hybrid_override_pattern")
        return [_known_block("layers_block_type", entry, BLOCK_KINDS, facts) for entry in listed]
    letters = facts.text("hybrid_override_pattern")
    if letters is None:
        why = "it says which layers are state-space layers, attention, or feed-forward networks"
        facts.fail("layers_block_type", "layers_block_type is missing", why=why, fix="Add it, one entry a layer")
        return ["mamba" for _ in range(layers)]
    what = f"hybrid_override_pattern has {len(letters)} letters"
    why = f"num_hidden_layers is {layers}, and the pattern has one letter a layer"
    names = ("hybrid_override_pattern", "num_hidden_layers")
    facts.require(len(letters) == layers, *names, what=what, why=why, fix="Make the two agree")
    if len(letters) != layers:
        return ["mamba" for _ in range(layers)]
    return [_known_block("hybrid_override_pattern", letter, LETTERS, facts) for letter in letters]


def _known_block(name: str, entry: JsonValue, known: Mapping[str, BlockKind], facts: Facts) -> BlockKind:
    if isinstance(entry, str) and entry in known:
        return known[entry]
    if not facts.faulty(name):
        why = f"its entries are {' and '.join(known)}"
        facts.fail(name, f"{name} has {entry!r}", why=why, fix="No block kind describes it yet")
    return "mamba"


def _plain(traits: Experts, facts: Facts) -> Mlp:
    activation = activation_of(facts, traits.activation)
    bias = facts.flag("mlp_bias", default=False)
    return Mlp(width=facts.count(traits.dense_width_key), gated=traits.gated, activation=activation, bias=bias)


def _mamba2(traits: StateSpace, facts: Facts) -> Mamba2:
    heads, groups = facts.count(traits.heads_key), facts.count("n_groups")
    what = f"{traits.heads_key} is {heads}"
    why = f"each of the {groups} groups (n_groups) serves the same number of heads"
    facts.require(
        heads % groups == 0, traits.heads_key, "n_groups", what=what, why=why, fix="Write a multiple of n_groups"
    )
    facts.use("expand", "hidden_act", "mamba_hidden_act")
    return Mamba2(
        heads=heads,
        head_dim=facts.count(traits.head_dim_key),
        state=facts.count(traits.state_key),
        groups=groups,
        conv_kernel=facts.count("conv_kernel"),
        chunk=facts.count("chunk_size"),
        bias=facts.flag("use_bias", default=False),
        conv_bias=facts.flag("use_conv_bias", default=True),
        norm_groups=groups if traits.grouped_norm else 1,
        state_dtype=_state_dtype(facts),
    )


def _state_dtype(facts: Facts) -> str:
    """The number format of the state: fp32 where the config is silent, as the reference implementation keeps it."""
    facts.use(*STATE_DTYPE_KEYS)
    name = next((facts.values[key] for key in STATE_DTYPE_KEYS if facts.values.get(key) is not None), "float32")
    if isinstance(name, str) and name in DTYPES:
        return DTYPES[name]
    key = next(key for key in STATE_DTYPE_KEYS if facts.values.get(key) is not None)
    facts.fail(key, f"{key} is {name!r}", why="no such dtype is known", fix=did_you_mean(str(name), DTYPES))
    return "fp32"
