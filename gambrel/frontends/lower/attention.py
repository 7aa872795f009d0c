"""Attention blocks: grouped-query attention with a cache of heads, latent attention with a compressed cache."""

from typing import NamedTuple

from xdsl.ir import SSAValue

from gambrel.frontends.architecture import Attention, LatentAttention, Norm, QkNorm, SelfAttention
from gambrel.frontends.lower.scope import CACHE_DIMS, LATENT_CACHE_DIMS, Scope
from gambrel.ir.attention import AttentionOp
from gambrel.ir.matmul import EinsumOp
from gambrel.ir.pointwise import ConcatOp, MapOp, RopeOp, SliceOp

_RMS = Norm(kind="rms")


class _Heads(NamedTuple):
    """Heads of one kind: the logical name of their dim, how many, and the width of each."""

    name: str
    number: int
    width: int

    @property
    def dims(self) -> dict[str, int]:
        """The two dims of a tensor of these heads."""
        return {self.name: self.number, "head_dim": self.width}


def attend(scope: Scope, hidden: int, attention: Attention, x: SSAValue) -> SSAValue:
    """The attention block of one layer on its (normalised) input `[b, s, hidden]`, up to the output projection."""
    if isinstance(attention, LatentAttention):
        return _latent(scope, hidden, attention, x)
    return _grouped(scope, hidden, attention, x)


def _grouped(scope: Scope, hidden: int, a: SelfAttention, x: SSAValue) -> SSAValue:
    queries, keys = _Heads("heads", a.heads, a.head_dim), _Heads("kv_heads", a.kv_heads, a.head_dim)
    values, outputs = _Heads("kv_heads", a.kv_heads, a.v_head_dim), _Heads("heads", a.heads, a.v_head_dim)
    q = _project(scope, x, "attn.q", hidden, queries, bias=a.qkv_bias)
    k = _project(scope, x, "attn.k", hidden, keys, bias=a.qkv_bias)
    v = _project(scope, x, "attn.v", hidden, values, bias=a.qkv_bias)
    if a.qk_norm is not None:
        q = _qk_norm(scope, a.qk_norm, q, "attn.q_norm", queries)
        k = _qk_norm(scope, a.qk_norm, k, "attn.k_norm", keys)
    if a.rotary_dim:
        q = RopeOp(q, a.rotary_dim, label=scope.name("attn.q_rope")).res
        k = RopeOp(k, a.rotary_dim, label=scope.name("attn.k_rope")).res
    gate = _project(scope, x, "attn.gate", hidden, outputs, bias=False) if a.output_gate else None
    if a.sinks:
        scope.weight("attn.sinks", "scalar", heads=a.heads)
    window = a.window if a.window is not None else a.chunk
    k = scope.append(scope.cache("attn.k_cache", CACHE_DIMS, a.kv_heads, a.head_dim, window), k, "attn.k_append")
    v = scope.append(scope.cache("attn.v_cache", CACHE_DIMS, a.kv_heads, a.v_head_dim, window), v, "attn.v_append")
    out = AttentionOp(q, k, v, window=window, label=scope.name("attn")).res
    if gate is not None:
        out = MapOp("sigmoid_mul", out, gate, label=scope.name("attn.gate_scale")).res
    return _output(scope, out, hidden, outputs, bias=a.out_bias)


def _project(scope: Scope, x: SSAValue, label: str, hidden: int, heads: _Heads, *, bias: bool) -> SSAValue:
    weight = scope.weight(label, "matmul", hidden=hidden, **heads.dims)
    out = EinsumOp("bsd,dhe->bshe", x, weight, label=scope.name(label)).res
    return scope.bias(out, f"{label}_bias", **heads.dims) if bias else out


def _output(scope: Scope, x: SSAValue, hidden: int, heads: _Heads, *, bias: bool) -> SSAValue:
    weight = scope.weight("attn.o", "matmul", **heads.dims, hidden=hidden)
    out = EinsumOp("bshe,hed->bsd", x, weight, label=scope.name("attn.o")).res
    return scope.bias(out, "attn.o_bias", hidden=hidden) if bias else out


def _qk_norm(scope: Scope, qk_norm: QkNorm, x: SSAValue, label: str, heads: _Heads) -> SSAValue:
    dims = {"head_dim": heads.width} if qk_norm.scope == "head" else heads.dims
    return scope.norm(qk_norm.norm, x, label, **dims)


def _latent(scope: Scope, hidden: int, a: LatentAttention, x: SSAValue) -> SSAValue:
    q = _latent_queries(scope, hidden, a, x)
    width = a.kv_lora_rank + a.qk_rope_head_dim
    down = scope.weight("attn.kv_a", "matmul", hidden=hidden, latent_heads=1, latent=width)
    compressed = EinsumOp("bsd,dgr->bsgr", x, down, label=scope.name("attn.kv_a")).res
    if a.bias:
        compressed = scope.bias(compressed, "attn.kv_a_bias", latent_heads=1, latent=width)
    latent = SliceOp(compressed, 3, a.kv_lora_rank, label=scope.name("attn.latent")).res
    latent = scope.norm(_RMS, latent, "attn.kv_norm", latent=a.kv_lora_rank)
    key = SliceOp(compressed, 3, a.qk_rope_head_dim, label=scope.name("attn.key")).res
    key = RopeOp(key, a.qk_rope_head_dim, label=scope.name("attn.k_rope")).res
    entry = ConcatOp(latent, key, label=scope.name("attn.entry")).res
    cache = scope.cache("attn.latent_cache", LATENT_CACHE_DIMS, 1, width)
    entries = scope.append(cache, entry, "attn.latent_append")
    up = scope.weight("attn.k_up", "matmul", latent=a.kv_lora_rank, heads=a.heads, head_dim=a.qk_nope_head_dim)
    value_up = scope.weight("attn.v_up", "matmul", latent=a.kv_lora_rank, heads=a.heads, head_dim=a.v_head_dim)
    if scope.phase == "decode" and scope.latent_form == "absorbed":
        out = _absorbed(scope, a, q, entries, up, value_up)
    else:
        out = _expanded(scope, a, q, entries, up, value_up)
    return _output(scope, out, hidden, _Heads("heads", a.heads, a.v_head_dim), bias=a.bias)


def _latent_queries(scope: Scope, hidden: int, a: LatentAttention, x: SSAValue) -> SSAValue:
    width = a.qk_nope_head_dim + a.qk_rope_head_dim
    if a.q_lora_rank is None:
        weight = scope.weight("attn.q", "matmul", hidden=hidden, heads=a.heads, head_dim=width)
        q = EinsumOp("bsd,dhe->bshe", x, weight, label=scope.name("attn.q")).res
    else:
        down = scope.weight("attn.q_a", "matmul", hidden=hidden, latent=a.q_lora_rank)
        compressed = EinsumOp("bsd,dr->bsr", x, down, label=scope.name("attn.q_a")).res
        if a.bias:
            compressed = scope.bias(compressed, "attn.q_a_bias", latent=a.q_lora_rank)
        compressed = scope.norm(_RMS, compressed, "attn.q_norm", latent=a.q_lora_rank)
        up = scope.weight("attn.q_b", "matmul", latent=a.q_lora_rank, heads=a.heads, head_dim=width)
        q = EinsumOp("bsr,rhe->bshe", compressed, up, label=scope.name("attn.q_b")).res
    return RopeOp(q, a.qk_rope_head_dim, label=scope.name("attn.q_rope")).res


def _absorbed(
    scope: Scope, a: LatentAttention, q: SSAValue, entries: SSAValue, up: SSAValue, value_up: SSAValue
) -> SSAValue:
    """Queries are moved into the latent space, so that one read of the compressed cache serves all heads.

    Source: DeepSeek-V2 technical report (2024), section 2.1.2 and appendix C.
    """
    plain = SliceOp(q, 3, a.qk_nope_head_dim, label=scope.name("attn.q_nope")).res
    rotated = SliceOp(q, 3, a.qk_rope_head_dim, label=scope.name("attn.q_pe")).res
    moved = EinsumOp("bshn,rhn->bshr", plain, up, label=scope.name("attn.k_up")).res
    query = ConcatOp(moved, rotated, label=scope.name("attn.query")).res
    latents = SliceOp(entries, 3, a.kv_lora_rank, label=scope.name("attn.latents")).res
    out = AttentionOp(query, entries, latents, shared_kv=True, label=scope.name("attn")).res
    return EinsumOp("bshr,rhe->bshe", out, value_up, label=scope.name("attn.v_up")).res


def _expanded(
    scope: Scope, a: LatentAttention, q: SSAValue, entries: SSAValue, up: SSAValue, value_up: SSAValue
) -> SSAValue:
    """Keys and values of all heads are expanded from the compressed cache before plain attention."""
    latents = SliceOp(entries, 3, a.kv_lora_rank, label=scope.name("attn.latents")).res
    shared_key = SliceOp(entries, 3, a.qk_rope_head_dim, label=scope.name("attn.shared_key")).res
    plain = EinsumOp("btgr,rhn->bthn", latents, up, label=scope.name("attn.k_up")).res
    keys = ConcatOp(plain, shared_key, label=scope.name("attn.keys")).res
    values = EinsumOp("btgr,rhe->bthe", latents, value_up, label=scope.name("attn.v_up")).res
    return AttentionOp(q, keys, values, label=scope.name("attn")).res
