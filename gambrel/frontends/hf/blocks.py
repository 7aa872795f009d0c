"""Build one kind of block from a family's traits and a config's facts."""

from collections.abc import Sequence
from dataclasses import replace

from gambrel.errors import did_you_mean
from gambrel.frontends.architecture import Activation, Attention, Ffn, LatentAttention, Mlp, MoE, SelfAttention
from gambrel.frontends.hf.facts import Facts
from gambrel.frontends.hf.source import JsonValue
from gambrel.frontends.hf.traits import Dense, Experts, Grouped, Latent, Window, resolve

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
    "relu_squared": "relu2",
}
ACTIVATION_KEYS = ("hidden_activation", "hidden_act", "activation_function", "activation", "mlp_hidden_act")
FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


def build_attentions(traits: Grouped | Latent, facts: Facts, *, hidden: int, layers: int) -> list[Attention]:
    """The attention of each layer."""
    if isinstance(traits, Latent):
        latent = _latent(traits, facts)
        return [latent for _ in range(layers)]
    return _over_layers(_grouped(traits, facts, hidden), traits, facts, layers)


def build_full_attention(traits: Grouped, facts: Facts, *, hidden: int) -> SelfAttention:
    """The one attention of a family whose attention layers are all alike and see everything."""
    base = _grouped(traits, facts, hidden)
    facts.use("sliding_window", "use_sliding_window", "max_window_layers")
    return replace(base, rotary_dim=_rotary_dim(traits, facts, base.head_dim))


def _grouped(traits: Grouped, facts: Facts, hidden: int) -> SelfAttention:
    heads, head_dim = _heads(traits, facts, hidden)
    kv_heads = traits.kv_heads(facts, heads)
    rule = f"num_attention_heads is {heads}, and each KV head serves the same number of query heads"
    divides = kv_heads <= heads and heads % kv_heads == 0
    what = f"num_key_value_heads is {kv_heads}"
    names = ("num_key_value_heads", "num_attention_heads")
    facts.require(divides, *names, what=what, why=rule, fix="Write a divisor of num_attention_heads")
    return SelfAttention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=head_dim,
        qkv_bias=resolve(traits.qkv_bias, facts),
        out_bias=resolve(traits.out_bias, facts),
        qk_norm=traits.qk_norm if traits.qk_norm is not None and resolve(traits.has_qk_norm, facts) else None,
        alibi=resolve(traits.alibi, facts),
        sinks=traits.sinks,
        softcap=facts.number("attn_logit_softcapping", default=traits.softcap),
        output_gate=resolve(traits.output_gate, facts),
    )


def build_ffns(traits: Dense | Experts, facts: Facts, *, hidden: int, layers: int) -> list[Ffn]:
    """The feed-forward network of each layer."""
    activation = activation_of(facts, traits.activation)
    if isinstance(traits, Dense):
        default = traits.width_factor * hidden or None
        width = facts.count("intermediate_size", default=default)
        bias = resolve(traits.bias, facts)
        dense: Ffn = Mlp(width=width, gated=traits.gated, activation=activation, bias=bias)
        return [dense for _ in range(layers)]
    sparse = _sparse_layers(traits, facts, layers)
    experts = build_experts(traits, facts, activation)
    if all(sparse):
        facts.use(traits.dense_width_key)
        return [experts for _ in range(layers)]
    mlp = Mlp(width=facts.count(traits.dense_width_key), gated=traits.gated, activation=activation)
    return [experts if is_sparse else mlp for is_sparse in sparse]


def _heads(traits: Grouped, facts: Facts, hidden: int) -> tuple[int, int]:
    heads = facts.count("num_attention_heads")
    if facts.has("head_dim"):
        return heads, facts.count("head_dim")
    facts.use("head_dim")
    if traits.head_dim is not None:
        facts.default("head_dim", traits.head_dim)
        return heads, traits.head_dim
    what = f"num_attention_heads is {heads}"
    rule = f"it must divide hidden_size ({hidden}) where head_dim is not given"
    names = ("num_attention_heads", "hidden_size")
    facts.require(hidden % heads == 0, *names, what=what, why=rule, fix="Correct one of them or add head_dim")
    return heads, max(1, hidden // heads)


def _latent(traits: Latent, facts: Facts) -> LatentAttention:
    return LatentAttention(
        heads=facts.count("num_attention_heads"),
        q_lora_rank=facts.nullable_count("q_lora_rank"),
        kv_lora_rank=facts.count("kv_lora_rank"),
        qk_nope_head_dim=facts.count("qk_nope_head_dim"),
        qk_rope_head_dim=facts.count("qk_rope_head_dim"),
        v_head_dim=facts.count("v_head_dim"),
        bias=resolve(traits.bias, facts),
    )


def _over_layers(base: SelfAttention, traits: Grouped, facts: Facts, layers: int) -> list[Attention]:
    kinds = _layer_kinds(traits, facts, layers)
    window = _window_size(traits.window, facts) if SLIDING in kinds else None
    chunk = facts.count("attention_chunk_size") if CHUNKED in kinds else None
    rotary_dim = 0 if base.alibi else _rotary_dim(traits, facts, base.head_dim)
    unrotated = _layers_without_rope(traits, facts, layers)
    limited = window is not None or chunk is not None
    built: list[Attention] = []
    for kind, plain in zip(kinds, unrotated, strict=True):
        rotated = not plain and (traits.rope_on == "all" or kind != FULL or not limited)
        # a norm without weights belongs to the rotation: layers that are not rotated have none
        normed = rotated or (base.qk_norm is not None and base.qk_norm.norm.weight)
        built.append(
            replace(
                base,
                qk_norm=base.qk_norm if normed else None,
                rotary_dim=rotary_dim if rotated else 0,
                window=window if kind == SLIDING else None,
                chunk=chunk if kind == CHUNKED else None,
            )
        )
    return built


def _layer_kinds(traits: Grouped, facts: Facts, layers: int) -> list[str]:
    """For each layer what its attention sees, from the config's list or the family's rule."""
    listed = facts.sequence("layer_types", length=layers)
    if listed is not None:
        facts.use("sliding_window_pattern", "use_sliding_window", "max_window_layers")
        kinds = [_known_kind(entry, facts, traits) for entry in listed]
        if SLIDING not in kinds:
            facts.use("sliding_window")
        return kinds
    if traits.chunked:
        return [FULL if unrotated else CHUNKED for unrotated in _layers_without_rope(traits, facts, layers)]
    window = traits.window
    if window is None or (window.switch is not None and not resolve(window.switch, facts)):
        facts.use("sliding_window", "max_window_layers", "sliding_window_pattern")
        return [FULL] * layers
    if _window_size(window, facts) is None:
        facts.use("sliding_window_pattern", "max_window_layers")
        return [FULL] * layers
    if window.first_layer:
        first = facts.count(window.first_layer, minimum=0)
        return [SLIDING if index >= first else FULL for index in range(layers)]
    return _periodic_kinds(window, facts, layers)


def _periodic_kinds(window: Window, facts: Facts, layers: int) -> list[str]:
    """`sliding_window_pattern` is a period, or one letter a layer of a period: L local, G global."""
    pattern = facts.values.get("sliding_window_pattern")
    if isinstance(pattern, str):
        facts.use("sliding_window_pattern")
        letters = pattern or " "
        good = set(letters) <= {"L", "G"}
        what = f"sliding_window_pattern is {letters!r}"
        facts.require(good, "sliding_window_pattern", what=what, why="its letters are L and G", fix="Correct it")
        return [SLIDING if letters[index % len(letters)] == "L" else FULL for index in range(layers)]
    every = window.every
    if every:
        every = facts.count("sliding_window_pattern", default=every)
    return [FULL if every and (index + 1) % every == 0 else SLIDING for index in range(layers)]


def _known_kind(entry: object, facts: Facts, traits: Grouped) -> str:
    known = (FULL, *([SLIDING] if traits.window is not None else []), *([CHUNKED] if traits.chunked else []))
    if entry in known:
        return str(entry)
    if not facts.faulty("layer_types"):
        why = f"this family has {' and '.join(known)}"
        facts.fail("layer_types", f"layer_types has {entry!r}", why=why, fix="No block kind describes it yet")
    return FULL


def _window_size(window: Window | None, facts: Facts) -> int | None:
    if window is None:
        return None
    return facts.optional_count("sliding_window", default=window.size)


def _layers_without_rope(traits: Grouped, facts: Facts, layers: int) -> list[bool]:
    """`no_rope_layers` holds 0 for a layer without rotary embedding; where it is empty they come at an interval."""
    if facts.values.get("no_rope_layers") and (listed := facts.sequence("no_rope_layers", length=layers)) is not None:
        facts.use("no_rope_layer_interval")
        return [entry == 0 for entry in listed]
    if not traits.unrotated_every:
        return [False] * layers
    facts.use("no_rope_layers")
    every = facts.count("no_rope_layer_interval", default=traits.unrotated_every)
    return [(index + 1) % every == 0 for index in range(layers)]


def _rotary_dim(traits: Grouped, facts: Facts, head_dim: int) -> int:
    if traits.rotary_fraction == 0:
        return 0
    if facts.has("rotary_dim"):
        rotary_dim = facts.count("rotary_dim")
        what = f"rotary_dim is {rotary_dim}"
        facts.require(rotary_dim <= head_dim, "rotary_dim", what=what, why=f"a head has {head_dim}", fix="Write less")
        return rotary_dim
    key, share = _rotary_share(facts)
    facts.use("partial_rotary_factor", "rotary_pct")
    if share is None:
        if traits.rotary_fraction != 1:
            facts.default(key, traits.rotary_fraction)
        return int(head_dim * traits.rotary_fraction)
    if isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1:
        return int(head_dim * share)
    facts.fail(key, f"{key} is {share!r}", why="it is a share of a head", fix="Write a number above 0 and at most 1")
    return head_dim


def _rotary_share(facts: Facts) -> tuple[str, JsonValue]:
    """The rotated share of a head as the config spells it, newer configs inside `rope_parameters`."""
    nested = facts.values.get("rope_parameters")
    if isinstance(nested, dict) and nested.get("partial_rotary_factor") is not None:
        return "partial_rotary_factor", nested["partial_rotary_factor"]
    key = next((key for key in ("partial_rotary_factor", "rotary_pct") if facts.has(key)), "partial_rotary_factor")
    return key, facts.values.get(key)


def activation_of(facts: Facts, default: Activation) -> Activation:
    """The nonlinearity that the config names, or the family's where it is silent."""
    name = next((key for key in ACTIVATION_KEYS if facts.has(key)), None)
    facts.use(*ACTIVATION_KEYS)
    if name is None:
        facts.default("hidden_act", default)
        return default
    text = facts.text(name)
    if text is None or text in ACTIVATIONS:
        return default if text is None else ACTIVATIONS[text]
    facts.fail(name, f"{name} is {text!r}", why="no such activation is known", fix=did_you_mean(text, ACTIVATIONS))
    return default


def build_experts(traits: Experts, facts: Facts, activation: Activation) -> MoE:
    """The experts of a layer that has them."""
    experts = facts.count("num_experts")
    top_k = facts.count("num_experts_per_tok")
    width = facts.count(traits.width_key)
    what = f"num_experts_per_tok is {top_k}"
    names = ("num_experts_per_tok", "num_experts")
    rule = f"a token visits at most all {experts} experts"
    facts.require(top_k <= experts, *names, what=what, why=rule, fix=f"Write at most {experts}")
    shared = 0
    if traits.shared == "count":
        shared = width * (facts.nullable_count("n_shared_experts", minimum=0) or 0)
    elif traits.shared == "width":
        shared = facts.count(traits.shared_width_key, minimum=0)
    elif traits.shared == "one":
        shared = width
    return MoE(
        experts=experts,
        top_k=top_k,
        width=width,
        gated=traits.gated,
        activation=activation,
        expert_bias=traits.expert_bias,
        router_bias=traits.router_bias,
        score_correction=traits.score_correction,
        shared_width=shared,
        shared_gate=traits.shared_gate and shared > 0,
        latent=facts.optional_count(traits.latent_key) if traits.latent_key else None,
    )


def _sparse_layers(traits: Experts, facts: Facts, layers: int) -> list[bool]:
    """For each layer whether it has experts, from the config's list or the family's rule."""
    listed = facts.sequence("mlp_layer_types", length=layers)
    if listed is not None:
        facts.use("first_k_dense_replace", "moe_layer_freq", "decoder_sparse_step", "mlp_only_layers")
        return _kinds_to_sparse(listed, facts)
    if traits.pattern == "first_dense":
        first = facts.count("first_k_dense_replace", minimum=0)
        names = ("first_k_dense_replace", "num_hidden_layers")
        what = f"first_k_dense_replace is {first}"
        facts.require(first < layers, *names, what=what, why=f"there are {layers} layers", fix="Write fewer")
        if isinstance(facts.values.get("moe_layer_freq"), list):
            flags = facts.sequence("moe_layer_freq", length=layers) or [1] * layers
            return [bool(flag) for flag in flags]
        step = facts.count("moe_layer_freq") if facts.has("moe_layer_freq") else 1
        return [index >= first and index % step == 0 for index in range(layers)]
    if traits.pattern == "step":
        step = facts.count("decoder_sparse_step", default=1)
        dense = facts.sequence("mlp_only_layers") or ()
        return [index not in dense and (index + 1) % step == 0 for index in range(layers)]
    if traits.pattern == "interleave":
        chosen = facts.sequence("moe_layers")
        if chosen is not None:
            facts.use("interleave_moe_layer_step")
            return [index in chosen for index in range(layers)]
        step = facts.count("interleave_moe_layer_step", default=1)
        return [(index + 1) % step == 0 for index in range(layers)]
    return [True] * layers


def _kinds_to_sparse(listed: Sequence[object], facts: Facts) -> list[bool]:
    unknown = next((entry for entry in listed if entry not in ("dense", "sparse")), None)
    good = unknown is None
    what = f"mlp_layer_types has {unknown!r}"
    facts.require(good, "mlp_layer_types", what=what, why="its entries are dense and sparse", fix="Correct it")
    return [entry == "sparse" for entry in listed]
