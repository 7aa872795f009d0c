"""Softmax attention over a cache."""

from xdsl.ir import SSAValue

from gambrel.cost.kernel import Attention
from gambrel.cost.rows import KernelSpec
from gambrel.cost.rules.registry import Draft, bytes_of, element_bytes, product_rate, rule
from gambrel.ir.attention import AttentionOp
from gambrel.ir.expr import ONE, Expr
from gambrel.ir.types import tensor

PREFILL_FORMULA = "flash attention, causal tiles over units; docs/explanation/cost-model.md, 'Flash prefill'"
DECODE_FORMULA = "flash decoding, split keys over units; docs/explanation/cost-model.md, 'Flash decode'"


@rule(AttentionOp)
def attention(op: AttentionOp) -> Draft:
    """Flash attention: 2 b h pairs (d + d_v) FLOPs; reads queries, keys and values once, writes the output."""
    q, k, v = tensor(op.q), tensor(op.k), tensor(op.v)
    decode = q.dims[1].size is ONE
    batch, heads, kv_heads = q.dims[0].local, q.dims[2].local, k.dims[2].local
    width, value_width = q.dims[3].size, v.dims[3].size
    per_key = batch * kv_heads * op.keys
    key_bytes = per_key * element_bytes(width, k.format)
    value_bytes = per_key * element_bytes(value_width, v.format)
    reads: dict[SSAValue, Expr] = {op.q: q.local_bytes, op.k: key_bytes}
    if op.shared_kv is None and op.v is not op.k:
        reads[op.v] = value_bytes
    shared = op.shared_kv is not None
    sizes = {
        "batch": batch,
        "q_len": q.dims[1].local,
        "kv_len": op.keys,
        "pairs": op.pairs("served"),
        "heads": heads,
        "kv_heads": kv_heads,
        "kv_bytes_total": key_bytes if shared else key_bytes + value_bytes,
    }
    # The cache is widened to the queries' format on the way in, unless both are narrow.
    rate = product_rate(q.format, k.format)
    constants: dict[str, str | float | bool] = {
        "head_dim": float(width.constant or 0),
        "v_head_dim": float(value_width.constant or 0),
        "q_bytes": bytes_of(q.format),
        "kv_bytes": bytes_of(k.format),
        "decode": decode,
        "rate": rate,
        "masked": op.causal is not None,
    }
    if op.window_size is not None:
        sizes["cached_len"] = k.dims[1].local
        constants["window"] = float(op.window_size)
    return Draft(
        family="attention",
        kernel=KernelSpec(kind=Attention, sizes=sizes, constants=constants),
        flops=op.flops("served"),
        reads=reads,
        writes={op.res: op.type.local_bytes},
        rate=rate,
        formula=DECODE_FORMULA if decode else PREFILL_FORMULA,
    )
