"""Parameter counts of an architecture in closed form.

Symbols: h hidden, H query heads, K key/value heads, d width of a query or key head, e width of a value head,
w feed-forward width, E experts, k experts per token, V vocabulary.
"""

from typing import assert_never

from gambrel.frontends.architecture import (
    Architecture,
    Ffn,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mixer,
    MoE,
    Norm,
    SelfAttention,
)


def count_parameters(architecture: Architecture) -> int:
    """Every trained number of the language model, tied tables once.

    parameters = V e_width [x 2 if untied] + positions + sum over layers (attention + ffn + norms) + norms and biases

    Left out: the per-expert score correction (a buffer), layers for multi-token prediction, vision and audio parts.

    Source: equal to the sum over `parameters()` of the reference implementation in transformers 5.23 for every model
    of the shipped library.
    """
    hidden = architecture.hidden
    layers = sum(count * layer_parameters(hidden, layer) for count, layer in architecture.counted_layers())
    return layers + _outside_parameters(architecture)


def count_active_parameters(architecture: Architecture) -> int:
    """The numbers that one token is multiplied with: routed experts count k of E, the embedding tables in full."""
    idle = sum(
        count * (layer.ffn.experts - layer.ffn.top_k) * expert_parameters(architecture.hidden, layer.ffn)
        for count, layer in architecture.counted_layers()
        if isinstance(layer.ffn, MoE)
    )
    return count_parameters(architecture) - idle


def layer_parameters(hidden: int, layer: Layer) -> int:
    """Parameters of one layer: attention, feed-forward network (those that it has) and norms."""
    mixer = 0 if layer.attention is None else attention_parameters(hidden, layer.attention)
    ffn = 0 if layer.ffn is None else ffn_parameters(hidden, layer.ffn)
    return mixer + ffn + layer.num_norms * norm_parameters(layer.norm, hidden)


def norm_parameters(norm: Norm | None, width: int) -> int:
    """Width per weight and width per bias."""
    return 0 if norm is None else width * (norm.weight + norm.bias)


def attention_parameters(hidden: int, attention: Mixer) -> int:
    """Projections, their biases, norms of queries and keys (or of the two compressed vectors), sinks.

    grouped: h H d + h K d + h K e + H e h [+ h H e for the output gate]
    latent:  h r_q + r_q H (d_n + d_r) [or h H (d_n + d_r)] + h (r_kv + d_r) + r_kv H (d_n + e) + H e h + r_q + r_kv
    gated delta: h (2 K d + 2 H e + 2 H) + c (2 K d + H e) + 2 H + e + H e h, c the convolution's kernel
    Mamba-2: h (2 i + 2 G N + H) + c (i + 2 G N) + 3 H + i + i h, i = H x head width, G groups of N states [+ biases]
    """
    match attention:
        case SelfAttention():
            return _grouped_parameters(hidden, attention)
        case LatentAttention():
            return _latent_parameters(hidden, attention)
        case GatedDeltaNet():
            return _gated_delta_parameters(hidden, attention)
        case Mamba2():
            return _mamba2_parameters(hidden, attention)
        case _:
            assert_never(attention)


def ffn_parameters(hidden: int, ffn: Ffn) -> int:
    """dense: (2 or 3) h w. experts: h E + E (2 or 3) h w + shared (2 or 3) h w_s [+ h for the shared gate].

    Routed experts in a latent space have its width for h, and two projections between the two widths.
    """
    if not isinstance(ffn, MoE):
        return _mlp_parameters(hidden, ffn.width, gated=ffn.gated, bias=ffn.bias)
    router = hidden * ffn.experts + ffn.experts * ffn.router_bias
    shared = _mlp_parameters(hidden, ffn.shared_width, gated=ffn.gated, bias=False) + hidden * ffn.shared_gate
    latent = 0 if ffn.latent is None else 2 * hidden * ffn.latent
    return router + ffn.experts * expert_parameters(hidden, ffn) + shared + latent


def expert_parameters(hidden: int, moe: MoE) -> int:
    """Parameters of one routed expert."""
    return _mlp_parameters(
        hidden if moe.latent is None else moe.latent, moe.width, gated=moe.gated, bias=moe.expert_bias
    )


def _mlp_parameters(hidden: int, width: int, *, gated: bool, bias: bool) -> int:
    inputs = 2 if gated else 1
    return (inputs + 1) * hidden * width + bias * (inputs * width + hidden)


def _grouped_parameters(hidden: int, attention: SelfAttention) -> int:
    queries = attention.heads * attention.head_dim
    keys = attention.kv_heads * attention.head_dim
    values = attention.kv_heads * attention.v_head_dim
    outputs = attention.heads * attention.v_head_dim
    total = hidden * (queries + keys + values + outputs)
    total += attention.qkv_bias * (queries + keys + values) + attention.out_bias * hidden
    if attention.qk_norm is not None:
        widths = (queries, keys) if attention.qk_norm.scope == "layer" else (attention.head_dim, attention.head_dim)
        total += sum(norm_parameters(attention.qk_norm.norm, width) for width in widths)
    return total + attention.output_gate * hidden * outputs + attention.sinks * attention.heads


def _latent_parameters(hidden: int, attention: LatentAttention) -> int:
    head = attention.qk_nope_head_dim + attention.qk_rope_head_dim
    rank, kv_rank = attention.q_lora_rank, attention.kv_lora_rank
    if rank is None:
        total = hidden * attention.heads * head
    else:
        total = hidden * rank + attention.bias * rank + rank + rank * attention.heads * head
    compressed = kv_rank + attention.qk_rope_head_dim
    total += hidden * compressed + attention.bias * compressed + kv_rank
    total += kv_rank * attention.heads * (attention.qk_nope_head_dim + attention.v_head_dim)
    return total + attention.heads * attention.v_head_dim * hidden + attention.bias * hidden


def _gated_delta_parameters(hidden: int, attention: GatedDeltaNet) -> int:
    keys, values = attention.key_heads * attention.key_dim, attention.value_heads * attention.value_dim
    inputs = hidden * (2 * keys + 2 * values + 2 * attention.value_heads)
    decay = 2 * attention.value_heads
    return inputs + attention.conv_kernel * (2 * keys + values) + decay + attention.value_dim + values * hidden


def _mamba2_parameters(hidden: int, mixer: Mamba2) -> int:
    inner = mixer.heads * mixer.head_dim
    convolved = inner + 2 * mixer.groups * mixer.state
    projected = inner + convolved + mixer.heads
    total = (hidden + mixer.bias) * projected + (mixer.conv_kernel + mixer.conv_bias) * convolved
    return total + 3 * mixer.heads + inner + (inner + mixer.bias) * hidden


def _outside_parameters(architecture: Architecture) -> int:
    hidden, width, vocab = architecture.hidden, architecture.embedding_width, architecture.vocab
    tables = vocab * width * (1 if architecture.tied_embeddings else 2) + architecture.learned_positions * hidden
    projections = 0 if width == hidden else 2 * hidden * width
    norms = norm_parameters(architecture.embedding_norm, hidden) + norm_parameters(architecture.final_norm, hidden)
    return tables + projections + norms + vocab * architecture.head_bias
