"""The model families that are understood, each as a choice of block kinds.

Source of every row: the modelling code of transformers 5.23 for the model type; the parameter counts that follow from
the rows equal those of that code.
"""

from dataclasses import replace

from gambrel.frontends.architecture import Norm, Placement, QkNorm
from gambrel.frontends.hf.facts import Facts
from gambrel.frontends.hf.traits import (
    DeltaRule,
    Dense,
    Experts,
    Family,
    Flag,
    Grouped,
    Latent,
    StateSpace,
    Window,
    all_heads,
    config_kv_heads,
)

RMS = Norm(kind="rms")
LAYER_NORM = Norm(kind="layer", bias=True)
LAYER_NORM_NO_BIAS = Norm(kind="layer")
HEAD_RMS = QkNorm(norm=RMS, scope="head")
FULL_RMS = QkNorm(norm=RMS, scope="layer")

ATTENTION_BIAS = Flag(key="attention_bias", default=False)
USE_SLIDING_WINDOW = Flag(key="use_sliding_window", default=False)
QWEN_WINDOW = Window(size=4096, switch=USE_SLIDING_WINDOW, first_layer="max_window_layers")
SWIGLU = Dense(gated=True)
GEGLU = Dense(gated=True, activation="gelu_tanh")
MIXTRAL_EXPERTS = Experts(width_key="intermediate_size")
DEEPSEEK_EXPERTS = Experts(pattern="first_dense", shared="count")


def falcon_kv_heads(facts: Facts, heads: int) -> int:
    """The first generation has one KV head (`multi_query`) or all; the second says how many."""
    if facts.flag("new_decoder_architecture", default=False):
        facts.use("multi_query")
        return config_kv_heads(facts, heads)
    facts.use("num_key_value_heads")
    return 1 if facts.flag("multi_query", default=True) else heads


def falcon_placement(facts: Facts) -> Placement:
    """One norm for both branches, or one each; the sequential form has the usual two."""
    if facts.flag("new_decoder_architecture", default=False):
        facts.use("parallel_attn")
        norms = facts.optional_count("num_ln_in_parallel_attn", default=2)
        return "parallel" if norms == 1 else "parallel_two"
    facts.use("num_ln_in_parallel_attn")
    return "parallel" if facts.flag("parallel_attn", default=True) else "pre"


def neox_placement(facts: Facts) -> Placement:
    """Both branches read the same input through a norm each, or run one after the other."""
    return "parallel_two" if facts.flag("use_parallel_residual", default=True) else "pre"


def opt_placement(facts: Facts) -> Placement:
    """All sizes but 350M normalise the input of a block."""
    return "pre" if facts.flag("do_layer_norm_before", default=True) else "post_residual"


def opt_final_norm(facts: Facts) -> bool:
    """Only where the blocks leave their output without a norm."""
    return opt_placement(facts) == "pre"


LLAMA = Family(
    model_types=("llama", "granite"),
    attention=Grouped(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS),
    ffn=Dense(gated=True, bias=Flag(key="mlp_bias", default=False)),
    norm=RMS,
)
MISTRAL = replace(LLAMA, model_types=("mistral",), attention=Grouped(window=Window(size=4096)), ffn=SWIGLU)
QWEN3 = Family(
    model_types=("qwen3", "qwen3_vl_text"),
    attention=Grouped(
        qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, head_dim=128, qk_norm=HEAD_RMS, window=QWEN_WINDOW
    ),
    ffn=SWIGLU,
    norm=RMS,
)
GPT2 = Family(
    model_types=("gpt2",),
    attention=Grouped(qkv_bias=True, out_bias=True, kv_heads=all_heads, rotary_fraction=0),
    ffn=Dense(gated=False, activation="gelu_tanh", bias=True, width_factor=4),
    norm=LAYER_NORM,
    tied=True,
    learned_offset=0,
)
GEMMA2 = Family(
    model_types=("gemma2",),
    attention=Grouped(
        qkv_bias=ATTENTION_BIAS,
        out_bias=ATTENTION_BIAS,
        head_dim=256,
        window=Window(size=4096, every=2),
        softcap=50.0,
    ),
    ffn=GEGLU,
    norm=RMS,
    placement="sandwich",
    tied=True,
    logit_softcap=30.0,
)
OLMO2 = Family(
    model_types=("olmo2",),
    attention=Grouped(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, qk_norm=FULL_RMS),
    ffn=SWIGLU,
    norm=RMS,
    placement="post",
)
EXAONE4 = Family(
    model_types=("exaone4",),
    attention=Grouped(qk_norm=HEAD_RMS, window=Window(size=4096, every=4), rope_on="sliding"),
    ffn=SWIGLU,
    norm=RMS,
    placement="post",
)
COHERE = Family(
    model_types=("cohere",),
    attention=Grouped(
        qkv_bias=ATTENTION_BIAS,
        out_bias=ATTENTION_BIAS,
        qk_norm=QkNorm(norm=LAYER_NORM_NO_BIAS, scope="layer"),
        has_qk_norm=Flag(key="use_qk_norm", default=False),
    ),
    ffn=SWIGLU,
    norm=LAYER_NORM_NO_BIAS,
    placement="parallel",
    tied=True,
)
DEEPSEEK_V2 = Family(
    model_types=("deepseek_v2",),
    attention=Latent(),
    ffn=DEEPSEEK_EXPERTS,
    norm=RMS,
    unused=("num_key_value_heads", "head_dim", "qk_head_dim"),
)
GLM = Family(
    model_types=("glm",),
    attention=Grouped(qkv_bias=ATTENTION_BIAS, head_dim=128, rotary_fraction=0.5),
    ffn=SWIGLU,
    norm=RMS,
)
QWEN3_NEXT = Family(
    model_types=("qwen3_next",),
    attention=Grouped(
        qkv_bias=ATTENTION_BIAS,
        out_bias=ATTENTION_BIAS,
        head_dim=256,
        qk_norm=HEAD_RMS,
        rotary_fraction=0.25,
        output_gate=True,
    ),
    ffn=Experts(pattern="step", shared="width", shared_gate=True),
    norm=RMS,
    recurrence=DeltaRule(every=4),
)
QWEN3_5 = replace(
    QWEN3_NEXT,
    model_types=("qwen3_5", "qwen3_5_text"),
    attention=Grouped(
        qkv_bias=ATTENTION_BIAS,
        out_bias=ATTENTION_BIAS,
        head_dim=256,
        qk_norm=HEAD_RMS,
        rotary_fraction=0.25,
        output_gate=Flag(key="attn_output_gate", default=True),
    ),
    ffn=SWIGLU,
    unused=("mlp_only_layers", "mtp_use_dedicated_embeddings"),
)

FAMILIES: tuple[Family, ...] = (
    LLAMA,
    MISTRAL,
    replace(MISTRAL, model_types=("ministral3",), attention=Grouped(window=Window(size=None))),
    replace(
        LLAMA,
        model_types=("seed_oss",),
        attention=Grouped(
            qkv_bias=Flag(key="attention_bias", default=True),
            out_bias=Flag(key="attention_out_bias", default=False),
            head_dim=128,
        ),
    ),
    replace(
        LLAMA,
        model_types=("smollm3",),
        attention=Grouped(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, unrotated_every=4),
        tied=True,
        unused=("use_sliding_window",),
    ),
    Family(
        model_types=("mixtral",),
        attention=Grouped(window=Window(size=None)),
        ffn=MIXTRAL_EXPERTS,
        norm=RMS,
    ),
    Family(
        model_types=("qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
        attention=Grouped(qkv_bias=True, window=QWEN_WINDOW),
        ffn=SWIGLU,
        norm=RMS,
    ),
    Family(
        model_types=("qwen2_moe",),
        attention=Grouped(qkv_bias=Flag(key="qkv_bias", default=True), window=QWEN_WINDOW),
        ffn=Experts(pattern="step", shared="width", shared_gate=True),
        norm=RMS,
    ),
    QWEN3,
    replace(
        QWEN3,
        model_types=("qwen3_moe", "qwen3_vl_moe_text"),
        attention=Grouped(
            qkv_bias=ATTENTION_BIAS,
            out_bias=ATTENTION_BIAS,
            head_dim=128,
            qk_norm=HEAD_RMS,
            window=Window(size=4096, switch=USE_SLIDING_WINDOW),
        ),
        ffn=Experts(pattern="step"),
        unused=("max_window_layers", "shared_expert_intermediate_size", "use_qk_norm", "qkv_bias"),
    ),
    Family(
        model_types=("gemma",),
        attention=Grouped(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, head_dim=256),
        ffn=GEGLU,
        norm=RMS,
        tied=True,
    ),
    GEMMA2,
    replace(
        GEMMA2,
        model_types=("gemma3_text",),
        attention=Grouped(
            qkv_bias=ATTENTION_BIAS,
            out_bias=ATTENTION_BIAS,
            head_dim=256,
            qk_norm=HEAD_RMS,
            window=Window(size=4096, every=6),
        ),
        logit_softcap=None,
        defaults=(("vocab_size", 262_208), ("num_attention_heads", 8), ("num_key_value_heads", 4)),
    ),
    Family(
        model_types=("phi3",),
        attention=Grouped(window=Window(size=None)),
        ffn=SWIGLU,
        norm=RMS,
    ),
    Family(
        model_types=("phimoe",),
        attention=Grouped(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, window=Window(size=None)),
        ffn=MIXTRAL_EXPERTS,
        norm=LAYER_NORM,
        head_bias=Flag(key="lm_head_bias", default=False),
    ),
    Family(
        model_types=("phi",),
        attention=Grouped(qkv_bias=True, out_bias=True, rotary_fraction=0.5),
        ffn=Dense(gated=False, activation="gelu_tanh", bias=True),
        norm=LAYER_NORM,
        placement="parallel",
        head_bias=True,
    ),
    GPT2,
    replace(
        GPT2,
        model_types=("gptj",),
        attention=Grouped(kv_heads=all_heads),
        placement="parallel",
        tied=False,
        learned_offset=None,
        head_bias=True,
    ),
    Family(
        model_types=("gpt_neox",),
        attention=Grouped(
            qkv_bias=Flag(key="attention_bias", default=True),
            out_bias=Flag(key="attention_bias", default=True),
            kv_heads=all_heads,
            rotary_fraction=0.25,
        ),
        ffn=Dense(gated=False, activation="gelu", bias=True),
        norm=LAYER_NORM,
        placement=neox_placement,
    ),
    Family(
        model_types=("opt",),
        attention=Grouped(
            qkv_bias=Flag(key="enable_bias", default=True),
            out_bias=Flag(key="enable_bias", default=True),
            kv_heads=all_heads,
            rotary_fraction=0,
        ),
        ffn=Dense(gated=False, activation="relu", bias=Flag(key="enable_bias", default=True)),
        norm=LAYER_NORM,
        placement=opt_placement,
        tied=True,
        learned_offset=2,
        embedding_width_key="word_embed_proj_dim",
        has_final_norm=opt_final_norm,
    ),
    Family(
        model_types=("bloom",),
        attention=Grouped(qkv_bias=True, out_bias=True, kv_heads=all_heads, rotary_fraction=0, alibi=True),
        ffn=Dense(gated=False, activation="gelu_tanh", bias=True, width_factor=4),
        norm=LAYER_NORM,
        embedding_norm=LAYER_NORM,
        tied=True,
    ),
    Family(
        model_types=("falcon",),
        attention=Grouped(
            qkv_bias=Flag(key="bias", default=False),
            out_bias=Flag(key="bias", default=False),
            kv_heads=falcon_kv_heads,
            alibi=Flag(key="alibi", default=False),
        ),
        ffn=Dense(gated=False, activation="gelu", bias=Flag(key="bias", default=False), width_factor=4),
        norm=LAYER_NORM,
        placement=falcon_placement,
        tied=True,
    ),
    Family(
        model_types=("starcoder2",),
        attention=Grouped(
            qkv_bias=Flag(key="use_bias", default=True),
            out_bias=Flag(key="use_bias", default=True),
            window=Window(size=None),
        ),
        ffn=Dense(gated=False, activation="gelu_tanh", bias=Flag(key="use_bias", default=True)),
        norm=LAYER_NORM,
        tied=True,
    ),
    Family(
        model_types=("gpt_oss",),
        attention=Grouped(
            qkv_bias=Flag(key="attention_bias", default=True),
            out_bias=Flag(key="attention_bias", default=True),
            head_dim=64,
            window=Window(size=128, every=2),
            sinks=True,
        ),
        ffn=Experts(width_key="intermediate_size", expert_bias=True, router_bias=True),
        norm=RMS,
    ),
    DEEPSEEK_V2,
    replace(
        DEEPSEEK_V2,
        model_types=("deepseek_v3", "kimi_k2"),
        ffn=replace(DEEPSEEK_EXPERTS, score_correction=True),
    ),
    Family(
        model_types=("glm4_moe",),
        attention=Grouped(
            qkv_bias=ATTENTION_BIAS,
            qk_norm=HEAD_RMS,
            has_qk_norm=Flag(key="use_qk_norm", default=False),
            rotary_fraction=0.5,
        ),
        ffn=replace(DEEPSEEK_EXPERTS, score_correction=True),
        norm=RMS,
    ),
    GLM,
    replace(GLM, model_types=("glm4",), placement="sandwich"),
    Family(
        model_types=("minimax_m2",),
        attention=Grouped(qk_norm=FULL_RMS, has_qk_norm=Flag(key="use_qk_norm", default=True)),
        ffn=replace(MIXTRAL_EXPERTS, score_correction=True),
        norm=RMS,
    ),
    OLMO2,
    replace(
        OLMO2,
        model_types=("olmo3",),
        attention=Grouped(
            qkv_bias=ATTENTION_BIAS,
            out_bias=ATTENTION_BIAS,
            qk_norm=FULL_RMS,
            window=Window(size=4096, every=4),
        ),
    ),
    EXAONE4,
    replace(
        EXAONE4,
        model_types=("exaone_moe",),
        ffn=replace(DEEPSEEK_EXPERTS, score_correction=True),
        placement="pre",
    ),
    COHERE,
    replace(
        COHERE,
        model_types=("cohere2",),
        attention=Grouped(
            qkv_bias=ATTENTION_BIAS,
            out_bias=ATTENTION_BIAS,
            window=Window(size=4096, every=4),
            rope_on="sliding",
        ),
    ),
    Family(
        model_types=("llama4_text",),
        attention=Grouped(
            qkv_bias=ATTENTION_BIAS,
            out_bias=ATTENTION_BIAS,
            qk_norm=QkNorm(norm=Norm(kind="rms", weight=False), scope="head"),
            has_qk_norm=Flag(key="use_qk_norm", default=True),
            unrotated_every=4,
            chunked=True,
        ),
        ffn=Experts(
            width_key="intermediate_size", dense_width_key="intermediate_size_mlp", pattern="interleave", shared="one"
        ),
        norm=RMS,
    ),
    QWEN3_NEXT,
    QWEN3_5,
    replace(
        QWEN3_5,
        model_types=("qwen3_5_moe", "qwen3_5_moe_text"),
        ffn=Experts(shared="width", shared_gate=True),
    ),
    Family(
        model_types=("mamba2",),
        attention=None,
        ffn=None,
        norm=RMS,
        recurrence=StateSpace(
            heads_key="num_heads",
            head_dim_key="head_dim",
            state_key="state_size",
            grouped_norm=False,
            listed=False,
        ),
        unused=("residual_in_fp32", "rescale_prenorm_residual", "time_step_rank"),
    ),
    Family(
        model_types=("nemotron_h",),
        attention=Grouped(qkv_bias=ATTENTION_BIAS, out_bias=ATTENTION_BIAS, head_dim=128, rotary_fraction=0),
        ffn=Experts(
            gated=False,
            activation="relu2",
            shared="width",
            shared_width_key="moe_shared_expert_intermediate_size",
            latent_key="moe_latent_size",
            score_correction=True,
        ),
        norm=RMS,
        recurrence=StateSpace(
            heads_key="mamba_num_heads",
            head_dim_key="mamba_head_dim",
            state_key="ssm_state_size",
            grouped_norm=True,
            listed=True,
        ),
        unused=(
            *("mamba_proj_bias", "moe_shared_expert_overlap", "mtp_hybrid_override_pattern", "mtp_layers_block_type"),
            *("num_logits_to_keep", "partial_rotary_factor", "rescale_prenorm_residual", "residual_in_fp32"),
            *("use_mamba_kernels", "sliding_window"),
        ),
    ),
)

BY_MODEL_TYPE: dict[str, Family] = {name: family for family in FAMILIES for name in family.model_types}

REFUSED: dict[str, str] = {
    **dict.fromkeys(("bert", "roberta", "modernbert", "electra", "albert", "deberta"), "an encoder without decoding"),
    **dict.fromkeys(("t5", "mt5", "bart", "mbart", "whisper", "marian", "pegasus"), "an encoder-decoder model"),
    **dict.fromkeys(("vit", "clip", "siglip", "swin", "convnext", "resnet", "dinov2"), "a vision model"),
    **dict.fromkeys(("mamba", "falcon_mamba", "xlstm", "rwkv"), "a recurrent model"),
    **dict.fromkeys(
        ("jamba", "zamba2", "falcon_h1", "bamba", "granitemoehybrid"), "a hybrid with other state-space layers"
    ),
    **dict.fromkeys(("kimi_linear", "bailing_hybrid"), "a hybrid with another kind of linear attention"),
    **dict.fromkeys(("deepseek_v32", "deepseek_v4", "glm_moe_dsa", "minimax_m3"), "a model with sparse attention"),
}
"""Known model types that no block kind describes yet, with what they are."""
