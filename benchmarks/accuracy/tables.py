"""The measured kernel tables as kernels that an engine prices: one `Case` per operation, device and number format."""

# pandas' stubs cannot tell a frame from a series, and the tables' columns (head sizes, names of operations) are arrays
# and text where a kernel declares a number or a literal.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false, reportReturnType=false
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd

from gambrel.calibration.routing import busiest_device
from gambrel.cost.engines import COLD, Residency
from gambrel.cost.kernel import Array, Attention, Gemm, GroupedGemm, Kernel, MemoryBound, Transfer

PROFILES = {
    "A100-SXM-80GB": "a100-sxm-80gb",
    "H100-SXM": "h100-sxm",
    "H200-SXM": "h200-sxm",
    "B200-SXM": "b200-sxm",
    "L40S": "l40s",
    "Ascend910B": "ascend-910b",
}
"""Profile of each measured device; a device that is not here is reported as not answered."""

LOOP = Residency(activations_hot=True, weight_copies=5.0)
"""aiconfigurator's loops reuse activations and rotate over several copies of the weights."""

HOT = Residency(activations_hot=True, weight_copies=1.0)
"""Loops that run the same call on the same operands."""

FORMATS = {
    "bfloat16": ("bf16", 2.0, 2.0, 2.0),
    "bf16": ("bf16", 2.0, 2.0, 2.0),
    "fp16": ("fp16", 2.0, 2.0, 2.0),
    "fp32": ("fp32", 4.0, 4.0, 4.0),
    "fp8": ("fp8", 1.0, 1.0, 2.0),
    "fp8_block": ("fp8", 1.03125, 1.0, 2.0),
    "nvfp4": ("nvfp4", 0.5625, 0.5625, 2.0),
    "int8": ("int8", 1.0, 1.0, 2.0),
    "sq": ("int8", 1.0, 1.0, 2.0),
    "int8_wo": ("bf16", 2.0, 1.0, 2.0),
    "int4_wo": ("bf16", 2.0, 0.53125, 2.0),
    "w4a16_mxfp4": ("bf16", 2.0, 0.53125, 2.0),
    "w4a8_mxfp4_mxfp8": ("fp8", 1.03125, 0.53125, 2.0),
    "w4afp8": ("fp8", 1.0, 0.53125, 2.0),
}
"""Rate and bytes per element of A, B and C for each label in the tables (block scales counted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rows of one operation on one device in one format.

    Attributes:
        kernels: What one measured call runs, one after another; arrays of the rows' length.
        seconds: Measured, per row.
        held_out: Per row, whether its shape site is kept from fitting.
        overhead_s: Time of the measured call that is no kernel's.
    """

    op: str
    device: str
    dtype: str
    kernels: tuple[Kernel, ...]
    residency: Residency
    seconds: Array
    held_out: np.ndarray
    overhead_s: float = 0.0


def held_out(sites: pd.Series) -> np.ndarray:
    """Half of the shape sites, picked by a hash of their text, so that no site is both fitted and scored."""
    return np.array([blake2b(site.encode(), digest_size=1).digest()[0] % 2 == 1 for site in sites.astype(str)])


def _floats(frame: pd.DataFrame, *names: str) -> list[Array]:
    return [frame[name].to_numpy(dtype=np.float64) for name in names]


def _site(frame: pd.DataFrame, *names: str) -> pd.Series:
    return frame[list(names)].astype(str).agg("/".join, axis=1)


def _gemm(frame: pd.DataFrame, dtype: str) -> tuple[tuple[Kernel, ...], pd.Series]:
    form, library = dtype.split()
    rate, a, b, c = FORMATS[form]
    m, n, k = _floats(frame, "m", "n", "k")
    batch = frame["b"].fillna(1).to_numpy(dtype=np.float64)
    separate = 2.0 if (form, library) in QUANTIZING else 0.0
    kernel = Gemm(
        m=m,
        n=n,
        k=k,
        batch=batch,
        rate=rate,
        a_bytes=a,
        b_bytes=b,
        c_bytes=c,
        quantized_from_bytes=separate,
        library=library,
    )
    return (kernel,), _site(frame, "n", "k")


def _attention(frame: pd.DataFrame, dtype: str, *, decode: bool) -> tuple[tuple[Kernel, ...], pd.Series]:
    compute, _, cache, library = dtype.split()
    batch, heads, kv_heads, d, window = _floats(frame, "batch", "num_heads", "num_kv_heads", "head_dim", "window")
    reach = np.where(window > 0, window, np.inf)
    if decode:
        (context,) = _floats(frame, "kv_len")
        queries, keys = np.ones_like(context), np.minimum(context, reach)
        pairs = keys
    else:
        queries, prefix = _floats(frame, "s", "prefix")
        keys = np.minimum(prefix + queries, reach + queries)
        full = queries * prefix + queries * (queries + 1.0) / 2.0
        cut = np.maximum(prefix + queries - reach, 0.0)
        pairs = full - np.where(cut > 0, cut * (cut + 1.0) / 2.0, 0.0)
    kv_bytes = 1.0 if cache == "fp8" else 2.0
    kernel = Attention(
        batch=batch,
        q_len=queries,
        kv_len=keys,
        pairs=pairs,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=d,
        v_head_dim=d,
        q_bytes=2.0,
        kv_bytes=kv_bytes,
        kv_bytes_total=batch * keys * kv_heads * 2.0 * d * kv_bytes,
        decode=decode,
        rate="fp8" if compute == "fp8" else "bf16",
        prologue=not decode,
        library=library,
    )
    return (kernel,), _site(frame, "num_heads", "num_kv_heads", "head_dim")


SERVING = ("trtllm", "vllm", "sglang")
"""Serving engines that aiconfigurator measured."""

QUANTIZING = {(form, library) for form in ("fp8", "fp8_block", "nvfp4", "sq") for library in SERVING}
"""Formats and libraries whose measured call also quantises the activations."""

OVERHEAD_S = {("gemm", "fp8 trtllm"): 7.2e-6}
"""TensorRT-LLM's fp8 calls never take less than 12.2 us, on Hopper as on Blackwell, where SGLang's take 4.6 to 4.9 us
and its own fp8_block calls 4.5 to 5.1 us. The difference of the least times is taken as an overhead of its calls."""

STREAMS = {
    "add": ("elementwise", 2.0, 1.0),
    "mul": ("elementwise", 2.0, 1.0),
    "div": ("elementwise", 2.0, 1.0),
    "pow": ("elementwise", 2.0, 1.0),
    "mlp_act": ("elementwise", 2.0, 1.0),
    "emb": ("gather", 1.0, 1.0),
    "softmax": ("softmax", 1.0, 1.0),
    "ln": ("norm", 1.0, 1.0),
    "input_layernorm": ("norm", 1.0, 1.0),
    "post_attention_layernorm": ("norm", 1.0, 1.0),
}
"""Kind of each streaming operation, and how often it reads and writes a row; the others read and write once."""


def _stream(frame: pd.DataFrame, dtype: str, op: str) -> tuple[tuple[Kernel, ...], pd.Series]:
    kind, reads, writes = STREAMS.get(op, ("elementwise", 1.0, 1.0))
    rows, cols = _floats(frame, "rows", "cols")
    element = 4.0 if dtype == "fp32" else 2.0
    moved = rows * cols * element
    kernel = MemoryBound(
        op=kind, rows=rows, cols=cols, bytes_read=reads * moved, bytes_written=writes * moved, flops=rows * cols
    )
    return (kernel,), _site(frame, "cols")


def _moe(frame: pd.DataFrame, dtype: str, library: str) -> tuple[tuple[Kernel, ...], pd.Series]:
    rate, a, b, c = FORMATS[dtype]
    tokens, hidden, inter, topk, experts, tp, ep = _floats(
        frame, "num_tokens", "hidden", "inter", "topk", "num_experts", "moe_tp", "moe_ep"
    )
    local, pairs, width = experts / ep, tokens * topk, inter / tp
    rows, hit = pairs / ep, np.minimum(local, np.maximum(pairs / ep, 1.0))
    for i, name in enumerate(frame["distribution"]):
        if name.startswith("power_law"):
            alpha = float(name.split("_")[2])
            rows[i], hit[i] = busiest_device(int(experts[i]), int(ep[i]), alpha, int(pairs[i]))
    gates = np.where(frame["kernel_source"].astype(str).str.contains("nongated"), 1.0, 2.0)
    sizes = {"rows": rows, "experts": local, "hit_experts": hit, "rate": rate, "a_bytes": a, "b_bytes": b, "c_bytes": c}
    sizes["library"] = library
    device_tokens = np.maximum(tokens / ep, 1.0)
    kernels = (
        _rows("route", device_tokens, experts, 4.0 * experts, 8.0 * topk),
        GroupedGemm(n=gates * width, k=hidden, **sizes),
        _rows("elementwise", rows, width, gates * width * 2.0, width * a),
        GroupedGemm(n=hidden, k=width, **sizes),
        _rows("gather", device_tokens, hidden, 2.0 * hidden * rows / device_tokens, 2.0 * hidden),
    )
    shape = frame.assign(width=width, local=local)
    return kernels, _site(shape, "hidden", "width", "local")


def _rows(op: str, rows: Array, cols: Array, read: Array, written: Array) -> MemoryBound:
    """A streaming kernel from its bytes per row."""
    return MemoryBound(
        op=op, rows=rows, cols=cols, bytes_read=rows * read, bytes_written=rows * written, flops=rows * cols
    )


def _collective(frame: pd.DataFrame, op: str, library: str) -> tuple[tuple[Kernel, ...], pd.Series]:
    size, group = _floats(frame, "message_bytes", "num_gpus")
    kernel = Transfer(op=op, message_bytes=size, group=group, stride=1.0, library=library)
    return (kernel,), _site(frame, "message_bytes")


def _library(frame: pd.DataFrame) -> pd.Series:
    """The serving engine, marked where its kernel is one of Triton or FlashInfer."""
    source = frame["kernel_source"].astype(str)
    fallback = source.str.contains("triton") | (source == "vllm_fused_moe")
    other = source.str.contains("flashinfer") & ~source.str.contains("trtllm|moe")
    return frame["backend"].astype(str) + np.where(fallback, "-triton", np.where(other, "-flashinfer", ""))


def _groups(name: str, frame: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame, Callable, Residency]]:
    """(op, device, dtype, rows, builder, residency) of a table."""
    if name == "gemm":
        frame = frame.assign(backend=frame["backend"].astype(object).fillna(frame["source"]))
        for (device, dtype, library), rows in frame.groupby(["device", "dtype", "backend"], observed=True):
            residency = LOOP if library in SERVING else COLD if library == "vidur" else HOT
            label = f"{dtype} {library}"
            yield "gemm", device, label, rows, lambda x, d=label: _gemm(x, d), residency
    elif name in ("attention_prefill", "attention_decode"):
        decode = name == "attention_decode"
        frame = frame.assign(kv_dtype=frame["kv_dtype"].astype(str), backend=_library(frame))
        frame = frame[frame["batch"].notna()]
        keys = ["device", "dtype", "kv_dtype", "backend"]
        for (device, dtype, cache, library), rows in frame.groupby(keys, observed=True):
            label = f"{dtype} kv {cache} {library}"
            yield name, device, label, rows, lambda x, d=label: _attention(x, d, decode=decode), COLD
    elif name == "memory_bound":
        frame = frame[frame["op"].notna()]
        for (device, dtype, op), rows in frame.groupby(["device", "dtype", "op"], observed=True):
            yield f"memory_bound {op}", device, dtype, rows, lambda x, d=dtype, o=op: _stream(x, d, o), HOT
    elif name == "moe":
        frame = frame.assign(backend=_library(frame))
        for (device, dtype, library), rows in frame.groupby(["device", "dtype", "backend"], observed=True):
            yield "moe", device, f"{dtype} {library}", rows, lambda x, d=dtype, b=library: _moe(x, d, b), COLD
    elif name == "collective":
        for (device, variant, op), rows in frame.groupby(["device", "variant", "collective"], observed=True):
            library = variant or rows["impl"].iloc[0]
            kind = "all_to_all" if op == "alltoall" else op
            yield f"collective {kind}", device, library, rows, lambda x, o=kind, b=library: _collective(x, o, b), COLD


TABLES = ("gemm", "attention_prefill", "attention_decode", "memory_bound", "moe", "collective")
"""Tables that the engines answer."""


def cases(folder: Path, name: str, *, limit: int, device: str | None = None) -> Iterator[Case]:
    """The cases of one table, each with at most `limit` rows (fixed seed)."""
    frame = pd.read_parquet(folder / f"{name}.parquet")
    if device:
        frame = frame[frame["device"] == device]
    for op, where, dtype, rows, build, residency in _groups(name, frame):
        sample = rows.sample(limit, random_state=0) if len(rows) > limit else rows
        kernels, sites = build(sample)
        yield Case(
            op=op,
            device=where,
            dtype=dtype,
            kernels=kernels,
            residency=residency,
            seconds=sample["latency_us"].to_numpy(dtype=np.float64) * 1e-6,
            held_out=held_out(sites),
            overhead_s=OVERHEAD_S.get((op, dtype), 0.0),
        )
