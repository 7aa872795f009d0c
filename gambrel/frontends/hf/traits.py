"""The vocabulary in which a model family is described: block kinds with constants and the keys that vary them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gambrel.frontends.architecture import Activation, Norm, Placement, QkNorm
from gambrel.frontends.hf.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A yes or no that a key of the config decides, with the value that the reference implementation assumes."""

    key: str
    default: bool


Trait = bool | Flag | Callable[[Facts], bool]
"""A yes or no: fixed in the family, read from one key, or worked out from several."""


def resolve(trait: Trait, facts: Facts) -> bool:
    """The value of a trait in one config."""
    if isinstance(trait, bool):
        return trait
    if isinstance(trait, Flag):
        return facts.flag(trait.key, default=trait.default)
    return trait(facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which layers see a sliding window, where the config has no list of layer types.

    Attributes:
        size: Window in tokens where the config is silent; None for no window.
        every: One layer in this many, the last of each group, sees everything; 0 when all layers have the window.
        switch: A flag that must be true for any window.
        first_layer: A key with the first layer that has a window.
    """

    size: int | None
    every: int = 0
    switch: Flag | None = None
    first_layer: str = ""


def config_kv_heads(facts: Facts, heads: int) -> int:
    """As many KV heads as the config says, else one for each query head."""
    return facts.count("num_key_value_heads", default=heads)


def all_heads(facts: Facts, heads: int) -> int:
    """Multi-head attention: one KV head for each query head."""
    del facts
    return heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """Attention with keys and values per head.

    Attributes:
        head_dim: Head width where the config is silent; None for hidden / heads.
        rotary_fraction: Rotated share of a head where the config is silent; 0 for no rotary embedding.
        rope_on: `sliding` when the layers that see everything have no rotary embedding.
        unrotated_every: One layer in this many, the last of each group, has no rotary embedding where the config has no
            list of them; 0 when all layers have it.
        chunked: Whether the layers with rotary embedding see only the keys of their own chunk.
        softcap: Cap on scores where the config is silent.
        output_gate: Whether the output is scaled by the sigmoid of a further projection.
    """

    qkv_bias: Trait = False
    out_bias: Trait = False
    kv_heads: Callable[[Facts, int], int] = config_kv_heads
    head_dim: int | None = None
    qk_norm: QkNorm | None = None
    has_qk_norm: Trait = True
    rotary_fraction: float = 1.0
    rope_on: Literal["all", "sliding"] = "all"
    unrotated_every: int = 0
    chunked: bool = False
    alibi: Trait = False
    window: Window | None = None
    sinks: bool = False
    softcap: float | None = None
    output_gate: Trait = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Attention over a compressed cache."""

    bias: Trait = Flag(key="attention_bias", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRule:
    """Linear attention by the gated delta rule, in the layers that `layer_types` calls `linear_attention`.

    Attributes:
        every: One layer in this many, the last of each group, has the family's softmax attention where the config has
            neither a list of layer types nor `full_attention_interval`.
    """

    every: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpace:
    """Mamba-2 layers.

    Attributes:
        heads_key, head_dim_key, state_key: Where the number of heads, their width and the length of the state stand.
        grouped_norm: Whether the gated norm normalises each group apart rather than the whole inner width.
        listed: Whether each layer is one block of its own, named in `layers_block_type` or by a letter of
            `hybrid_override_pattern`; else every layer is a Mamba-2 layer without a feed-forward network.
    """

    heads_key: str
    head_dim_key: str
    state_key: str
    grouped_norm: bool
    listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """One feed-forward network a layer.

    Attributes:
        activation: What the config's silence means.
        width_factor: Width as a multiple of hidden where the config is silent; 0 when the config must say it.
    """

    gated: bool
    activation: Activation = "silu"
    bias: Trait = False
    width_factor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """Experts in some or all layers; the others have one network of width `dense_width_key`.

    Attributes:
        width_key: Where the width of an expert stands.
        pattern: Which layers have experts where the config has no list: `all`; `first_dense`, all but the first
            `first_k_dense_replace`; `step`, one in `decoder_sparse_step` except `mlp_only_layers`; `interleave`, one in
            `interleave_moe_layer_step`.
        shared: How the shared experts are given: `count` times an expert's width, their total `width`, `one` of an
            expert's width, or `none`.
        shared_width_key: Where the total width of the shared experts stands.
        latent_key: Where the width stands to which tokens are projected before the routed experts; empty without.
    """

    gated: bool = True
    activation: Activation = "silu"
    width_key: str = "moe_intermediate_size"
    dense_width_key: str = "intermediate_size"
    pattern: Literal["all", "first_dense", "step", "interleave"] = "all"
    shared: Literal["none", "count", "width", "one"] = "none"
    shared_width_key: str = "shared_expert_intermediate_size"
    latent_key: str = ""
    shared_gate: bool = False
    expert_bias: bool = False
    router_bias: bool = False
    score_correction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Everything that sets one model type apart.

    Attributes:
        model_types: The names that configs use for it.
        attention: Its softmax attention; None where it has only recurrences.
        ffn: Its feed-forward networks; None where it has none.
        recurrence: What takes the place of attention in some layers or all; None without.
        tied: Whether the output projection reuses the embedding table where the config is silent.
        learned_offset: Extra rows of the learned position table; None where positions are not learned.
        embedding_norm: Norm after the embedding, or None.
        embedding_width_key: Where the width of an embedding row stands, if it may differ from hidden.
        has_final_norm: Whether a norm precedes the output projection.
        unused: Keys that these configs carry without effect.
        defaults: Sizes that published configs of this type leave out because they equal the default of its class.
    """

    model_types: tuple[str, ...]
    attention: Grouped | Latent | None
    ffn: Dense | Experts | None
    norm: Norm
    recurrence: DeltaRule | StateSpace | None = None
    placement: Placement | Callable[[Facts], Placement] = "pre"
    tied: bool = False
    learned_offset: int | None = None
    embedding_norm: Norm | None = None
    embedding_width_key: str = ""
    has_final_norm: Trait = True
    head_bias: Trait = False
    logit_softcap: float | None = None
    unused: tuple[str, ...] = ()
    defaults: tuple[tuple[str, int], ...] = ()
