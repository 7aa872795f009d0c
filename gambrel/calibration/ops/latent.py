"""Multi-head latent attention, the attention alone and whole modules with their projections: `mla`.

The modules are those of DeepSeek-V3; `num_heads` are the heads of one device.
"""

import math
from dataclasses import replace

import numpy as np

from gambrel.calibration.columns import Array, Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, FORMATS, LIBRARY_FROM, MEASURED, PROVENANCE, loop_of
from gambrel.calibration.ops.gemm import QUANTIZING
from gambrel.calibration.ops.memory_bound import rows_kernel
from gambrel.cost.kernel import Attention, Gemm, Kernel

HIDDEN = 7168.0
QUERY_RANK = 1536.0
LATENT = 512.0
ROPE = 64.0
PLAIN = 128.0
"""Hidden size, rank of the queries' factors, width of the latent keys and values, and of a head's parts that are
rotated and not.

Source: DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, section 4.2; `config.json` of deepseek-ai/DeepSeek-V3.
"""


def build(rows: Rows) -> Call:
    """Attention over a latent cache: decode reads latents, prefill reads keys and values of every head."""
    table = rows.only("table")
    decode = "generation" in table
    attention = _decode(rows) if decode else _prefill(rows)
    # Weights of a module exceed the cache; what one kernel leaves for the next is in it.
    residency = replace(loop_of(_library(rows)), weight_copies=math.inf)
    if "module" not in table and not table.startswith("wideep"):
        return Call(kernels=(attention,), residency=residency)
    tokens = rows.numbers["batch"] * (1.0 if decode else rows.numbers["isl"])
    kernels = (*_before(rows, tokens, decode=decode), attention, *_after(rows, tokens, decode=decode))
    return Call(kernels=kernels, residency=residency, main=kernels.index(attention))


def _library(rows: Rows) -> str:
    return rows.only(LIBRARY).partition("-")[0]


def _decode(rows: Rows) -> Attention:
    x = rows.numbers
    keys = x["step"] + 1.0
    cache = min(FORMATS[rows.only("kv_dtype") or rows.only("dtype")].a_bytes, 2.0)
    return Attention(
        batch=x["batch"],
        q_len=np.ones_like(keys),
        kv_len=keys,
        pairs=keys,
        heads=x["num_heads"],
        kv_heads=np.ones_like(keys),
        head_dim=LATENT + ROPE,
        v_head_dim=LATENT,
        q_bytes=2.0,
        kv_bytes=cache,
        kv_bytes_total=x["batch"] * keys * (LATENT + ROPE) * cache,
        decode=True,
        rate="bf16",
        library=rows.only(LIBRARY),
    )


def _prefill(rows: Rows) -> Attention:
    x = rows.numbers
    new, heads = x["isl"], x["num_heads"]
    keys = x["step"] + new
    cache = min(FORMATS[rows.only("kv_dtype") or rows.only("dtype")].a_bytes, 2.0)
    return Attention(
        batch=x["batch"],
        q_len=new,
        kv_len=keys,
        pairs=new * x["step"] + new * (new + 1.0) / 2.0,
        heads=heads,
        kv_heads=heads,
        head_dim=PLAIN + ROPE,
        v_head_dim=PLAIN,
        q_bytes=2.0,
        kv_bytes=cache,
        kv_bytes_total=x["batch"] * keys * heads * (2.0 * PLAIN + ROPE) * cache,
        decode=False,
        rate="fp8" if rows.only("dtype") == "fp8" else "bf16",
        prologue=True,
        library=rows.only(LIBRARY),
    )


def _product(rows: Rows, m: Array, n: Array | float, k: Array | float) -> Gemm:
    form = rows.only("gemm_type") or rows.only("dtype")
    rate, a, b, c = FORMATS[form]
    quantized = 2.0 if (form, _library(rows)) in QUANTIZING else 0.0
    return Gemm(
        m=m,
        n=n,
        k=k,
        batch=1.0,
        rate=rate,
        a_bytes=a,
        b_bytes=b,
        c_bytes=c,
        quantized_from_bytes=quantized,
        library=_library(rows),
    )


def _per_head(rows: Rows, m: Array, n: float, k: float) -> Gemm:
    return Gemm(
        m=m,
        n=n,
        k=k,
        batch=rows.numbers["num_heads"],
        rate="bf16",
        a_bytes=2.0,
        b_bytes=2.0,
        c_bytes=2.0,
        library=_library(rows),
    )


def _before(rows: Rows, tokens: Array, *, decode: bool) -> tuple[Kernel, ...]:
    """Down- and up-projections of queries and latents, norms; in decode the keys' factor goes into the queries."""
    heads = rows.numbers["num_heads"]
    down = _product(rows, tokens, QUERY_RANK + LATENT + ROPE, HIDDEN)
    norms = (
        rows_kernel("norm", tokens, np.full_like(tokens, QUERY_RANK), 2.0 * QUERY_RANK, 2.0 * QUERY_RANK),
        rows_kernel("norm", tokens, np.full_like(tokens, LATENT), 2.0 * LATENT, 2.0 * LATENT),
    )
    up = _product(rows, tokens, heads * (PLAIN + ROPE), QUERY_RANK)
    if decode:
        absorbed = _per_head(rows, tokens, LATENT, PLAIN)
        rotated = 2.0 * ROPE * (heads + 1.0)
        return (down, *norms, up, absorbed, rows_kernel("append", tokens, heads * ROPE, rotated, rotated))
    return (down, *norms, up, _product(rows, tokens, heads * 2.0 * PLAIN, LATENT))


def _after(rows: Rows, tokens: Array, *, decode: bool) -> tuple[Kernel, ...]:
    """In decode the values' factor, then the output projection."""
    out = _product(rows, tokens, HIDDEN, rows.numbers["num_heads"] * PLAIN)
    return (_per_head(rows, tokens, PLAIN, LATENT), out) if decode else (out,)


MLA = Operation(
    name="mla",
    columns=(
        Column(name="num_heads", doc="Query heads of the device"),
        Column(name="batch", doc="Sequences"),
        Column(name="isl", doc="New tokens per sequence"),
        Column(name="step", doc="Tokens per sequence that are cached already", default=0.0),
        Column(name="table", doc="Which measurement: prefill or decode, attention alone or the module", text=True),
        DTYPE,
        Column(name="kv_dtype", doc="Number format of the cache", text=True, default=""),
        Column(name="gemm_type", doc="Number format of the projections", text=True, default=""),
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [
        SiteNumber(rows.numbers["num_heads"], whole=True),
        SiteNumber(rows.numbers["isl"] + rows.numbers["step"], whole=True),
    ],
    known={"dtype": tuple(FORMATS), "kv_dtype": ("", *FORMATS), "gemm_type": ("", *FORMATS)},
    derived={LIBRARY: LIBRARY_FROM},
    split=("table", "dtype", "kv_dtype", "gemm_type", LIBRARY),
    dtypes=("dtype", "kv_dtype"),
    op="table",
)
