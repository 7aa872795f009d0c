"""A decoder-only language model as plain numbers: what every config reader produces and the IR builder consumes.

A model is a short sequence of segments; a segment is a tuple of layers that repeats. A layer joins one kind of
attention (or of recurrence in its place) with one kind of feed-forward network, or holds just one of the two, so a new
model family is new values, not a new class.

Widths count elements of one token's vector; nothing here knows batch, length, precision or placement.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Activation = Literal["silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"]

Placement = Literal["pre", "post", "sandwich", "post_residual", "parallel", "parallel_two"]
"""Where a layer normalises:

- `pre`: the input of attention and the input of the feed-forward network (2 norms).
- `post`: the output of each, before it is added to the residual (2 norms).
- `sandwich`: input and output of each (4 norms).
- `post_residual`: the sum after each residual addition, as in the first Transformer (2 norms).
- `parallel`: attention and feed-forward both read one normalised input (1 norm).
- `parallel_two`: they read the same input through a norm each (2 norms).
"""

NORMS_PER_BLOCK: dict[Placement, int] = {"pre": 1, "post": 1, "sandwich": 2, "post_residual": 1}
"""Norms that belong to one block of a layer, where its blocks run one after the other."""

NORMS_PER_LAYER: dict[Placement, int] = {"parallel": 1, "parallel_two": 2}
"""Norms of a layer whose two blocks run side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A normalisation over the last dim: root mean square (`rms`) or mean and variance (`layer`)."""

    kind: Literal["rms", "layer"]
    weight: bool = True
    bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QkNorm:
    """A normalisation of queries and keys before the scores.

    Attributes:
        norm: Its kind.
        scope: `head` normalises each head with one weight of `head_dim` for all heads; `layer` has a weight for every
            element of all heads.
    """

    norm: Norm
    scope: Literal["head", "layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAttention:
    """Multi-head attention whose keys and values are stored per head: MHA, GQA and MQA.

    Attributes:
        heads: Query heads.
        kv_heads: Key and value heads; divides `heads`.
        head_dim: Width of a query and of a key.
        v_head_dim: Width of a value.
        qkv_bias: Whether the three input projections add a bias.
        out_bias: Whether the output projection adds a bias.
        qk_norm: Normalisation of queries and keys, or None.
        rotary_dim: How many elements of a head are rotated by their position; 0 without rotary embedding.
        alibi: Whether the scores get a bias linear in the distance.
        window: A query sees this many latest keys, itself included; None sees all.
        chunk: A query sees the keys of its own chunk of this length only; None for no chunks.
        sinks: Whether each head has a learned logit that takes part in the softmax without a value.
        softcap: Scores pass through `softcap * tanh(score / softcap)`; None for no cap.
        output_gate: Whether a further projection, as wide as the heads' output, scales it by its sigmoid.
    """

    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: QkNorm | None = None
    rotary_dim: int = 0
    alibi: bool = False
    window: int | None = None
    chunk: int | None = None
    sinks: bool = False
    softcap: float | None = None
    output_gate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention: keys and values of all heads are stored as one compressed vector per token.

    The cache holds `kv_lora_rank + qk_rope_head_dim` elements a token and layer, whatever the number of heads.
    Both low-rank inputs pass through an RMS norm with a weight.

    Attributes:
        heads: Query heads.
        q_lora_rank: Rank of the query's compression; None projects queries straight from the hidden vector.
        kv_lora_rank: Width of the compressed key and value.
        qk_nope_head_dim: Width of the part of a query or key that is not rotated.
        qk_rope_head_dim: Width of the rotated part; its key is shared by all heads.
        v_head_dim: Width of a value.
        bias: Whether the two compressing projections and the output projection add a bias.

    Source: DeepSeek-V2 technical report (2024), section 2.1.
    """

    heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDeltaNet:
    """Linear attention by the gated delta rule: a matrix of fixed size per value head takes the place of a cache.

    Each token scales the matrix by a learned decay and corrects what it holds under the token's key. Queries, keys and
    values pass through a short causal convolution; the output is normalised per head and gated.

    Attributes:
        key_heads: Heads of queries and of keys; each serves `value_heads / key_heads` value heads.
        value_heads: Heads of values, each with a matrix `[key_dim, value_dim]`.
        key_dim: Width of a query and of a key.
        value_dim: Width of a value.
        conv_kernel: Tokens that the convolution sees.
        state_dtype: Number format of the matrix.

    Source: S. Yang, J. Kautz, A. Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_kernel: int
    state_dtype: str = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2:
    """A state-space layer: each head keeps a matrix `[state, head_dim]` that decays by one learned scalar a token.

    The layer's input is projected to a gate, the heads' input, the two groups of state vectors (B and C) and a step
    size per head; all but the gate and the step size pass through a short causal convolution.

    Attributes:
        heads: Heads.
        head_dim: Width of a head; heads x head_dim is the inner width.
        state: Length of the state vectors.
        groups: Pairs of state vectors; each serves `heads / groups` heads.
        conv_kernel: Tokens that the convolution sees.
        chunk: Tokens that prefill computes at once.
        bias: Whether the projections in and out add a bias.
        conv_bias: Whether the convolution adds a bias.
        norm_groups: Parts of the inner width that the gated norm before the output projection normalises apart.
        state_dtype: Number format of the matrix.

    Source: T. Dao, A. Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State
    Space Duality", 2024, sections 6 to 8.
    """

    heads: int
    head_dim: int
    state: int
    groups: int
    conv_kernel: int
    chunk: int
    bias: bool = False
    conv_bias: bool = True
    norm_groups: int = 1
    state_dtype: str = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp:
    """A feed-forward network: up (and gate), activation, down.

    Attributes:
        width: Elements between the projections.
        gated: Whether a third projection multiplies the activated one (GLU forms).
        activation: The nonlinearity.
        bias: Whether every projection adds a bias.
    """

    width: int
    gated: bool
    activation: Activation
    bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MoE:
    """A mixture of experts: a router picks `top_k` of `experts` equal networks for each token.

    Attributes:
        experts: Routed experts.
        top_k: Routed experts that one token visits.
        width: Width between the projections of one routed expert.
        gated: Whether an expert has a gate projection.
        activation: The nonlinearity of an expert.
        expert_bias: Whether the projections of the routed experts add biases.
        router_bias: Whether the router's projection adds a bias.
        score_correction: Whether a stored value per expert is added to the scores for the choice only. It is set by
            load balancing and not by gradients, so it does not count as a parameter.
        shared_width: Total width of the experts that every token visits; 0 without.
        shared_gate: Whether a learned scalar in (0, 1) scales the shared experts' output.
        latent: Width to which tokens are projected before the routed experts and from which they are projected back
            after them; None where the routed experts take the hidden vector itself.
    """

    experts: int
    top_k: int
    width: int
    gated: bool
    activation: Activation
    expert_bias: bool = False
    router_bias: bool = False
    score_correction: bool = False
    shared_width: int = 0
    shared_gate: bool = False
    latent: int | None = None


Attention = SelfAttention | LatentAttention
Recurrence = GatedDeltaNet | Mamba2
Mixer = Attention | Recurrence
"""What carries information from token to token: attention over a cache, or a recurrence over a state of fixed size."""
Ffn = Mlp | MoE


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: attention (or a recurrence), feed-forward network and the norms around them.

    Some stacks write the two blocks as layers of their own; such a layer has None for the other block, the norms of one
    block and one residual addition. Blocks side by side need both.
    """

    attention: Mixer | None
    ffn: Ffn | None
    norm: Norm
    placement: Placement

    def __post_init__(self) -> None:
        alone = self.attention is None or self.ffn is None
        assert self.attention is not None or self.ffn is not None, "a layer has a block"
        assert not (alone and self.placement in NORMS_PER_LAYER), "blocks side by side are two"

    @property
    def num_norms(self) -> int:
        """Norms over the hidden vector."""
        if self.placement in NORMS_PER_LAYER:
            return NORMS_PER_LAYER[self.placement]
        return NORMS_PER_BLOCK[self.placement] * ((self.attention is not None) + (self.ffn is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of layers that is executed `count` times in a row."""

    count: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedQuantization:
    """How the published weights are stored, where that is not one plain dtype.

    Attributes:
        method: The name that the config gives it (`fp8`, `mxfp4`, `gptq`).
        weight_dtype: Storage of a quantized weight in this project's names, or None where the method is not known.
        block: Rows and columns that share one scale; a row or column of -1 means all; None where the file is silent.
        excluded: Module patterns that stay in the plain dtype, as written in the config.
    """

    method: str
    weight_dtype: str | None
    block: tuple[int, int] | None = None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What a reader of the config should know about how it was understood.

    Attributes:
        source: The file that was read, or the text that cites where the facts of a shipped model come from.
        defaulted: `key = value` for each key that the config leaves out, with the value that was assumed.
        ignored_keys: Keys of the config that were not understood and so had no effect.
        remarks: Parts of the model that the architecture leaves out, in words.
    """

    source: str = ""
    defaulted: tuple[str, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder-only language model.

    Attributes:
        name: What to call it in a report.
        model_type: The family name in its config.
        hidden: Width of the residual stream.
        vocab: Rows of the embedding table.
        segments: The layers, in order.
        tied_embeddings: Whether the output projection reuses the embedding table.
        embedding_width: Width of an embedding row; a projection leads to and from `hidden` where they differ.
        learned_positions: Rows of the learned position table; 0 where positions enter in attention.
        embedding_norm: Norm after the embedding, or None.
        final_norm: Norm before the output projection, or None.
        head_bias: Whether the output projection adds a bias.
        logit_softcap: Logits pass through `cap * tanh(logit / cap)`; None for no cap.
        max_positions: The longest sequence that the config promises, or None where it is silent.
        dtype: The plain dtype of the published weights, or None where the config is silent.
        quantization: How the published weights are quantized, or None.
        notes: How the config was understood; not part of the architecture's identity.
    """

    name: str = field(compare=False)
    model_type: str
    hidden: int
    vocab: int
    segments: tuple[Segment, ...]
    tied_embeddings: bool
    embedding_width: int
    learned_positions: int = 0
    embedding_norm: Norm | None = None
    final_norm: Norm | None = None
    head_bias: bool = False
    logit_softcap: float | None = None
    max_positions: int | None = None
    dtype: str | None = None
    quantization: PublishedQuantization | None = None
    notes: Notes = field(default=Notes(), compare=False)

    @property
    def num_layers(self) -> int:
        """Layers of the whole stack."""
        return sum(segment.count * len(segment.layers) for segment in self.segments)

    def counted_layers(self) -> Iterator[tuple[int, Layer]]:
        """Every written layer with the number of times that it runs."""
        for segment in self.segments:
            for layer in segment.layers:
                yield segment.count, layer
