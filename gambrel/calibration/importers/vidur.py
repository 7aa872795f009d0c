"""Vidur: operators of eight models, and collectives, profiled with PyTorch.

Layout: `data/profiling/compute/<device>/<owner>/<model>/{mlp,attention}.csv` and
`data/profiling/network/<topology>/{all_reduce,send_recv}.csv`. Times are in ms, several statistics each; the median is
taken. `size` of a collective is kept as the tables have it. All of it was measured in fp16.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from gambrel.calibration.columns import Array
from gambrel.calibration.importers.block import Block, Cells, FileRead, block
from gambrel.calibration.importers.sheet import Sheet
from gambrel.calibration.importers.source import Found, Layout, Request, read_file
from gambrel.errors import Problem, UsageError

DEVICES = {"a40": "A40", "a100": "A100-SXM-80GB", "h100": "H100-SXM"}

_TP = "num_tensor_parallel_workers"
_MLP = ("num_tokens", _TP, "n_embd", "n_head", "n_kv_head", "n_expanded_embd", "use_gated_mlp")
_ATTENTION = (
    *(_TP, "n_embd", "n_q_head", "n_kv_head", "batch_size", "prefill_chunk_size", "kv_cache_size", "is_prefill"),
    *("time_stats.attn_prefill.median", "time_stats.attn_decode.median"),
)
_NETWORK = ("collective", "num_workers", "size", "devices_per_node")

NO_PLACE = ("attn_rope", "attn_input_reshape", "attn_kv_cache_save", "attn_output_reshape")
"""Measured steps that the format has no columns for."""


def find(request: Request) -> Found:
    """The profiles of a checkout, or of its `data/profiling` folder.

    Raises:
        UsageError: There are none.
    """
    layouts = (request.path / "data" / "profiling", request.path)
    root = next((x for x in layouts if (x / "compute").is_dir() or (x / "network").is_dir()), request.path)
    files = sorted([*root.glob("compute/*/**/*.csv"), *root.glob("network/*/*.csv")])
    if not files:
        raise UsageError(
            Problem(
                where=str(request.path),
                what="holds no Vidur profiles (data/profiling/compute/<device>/.../mlp.csv)",
                fix="Name the folder of a checkout of microsoft/vidur",
            )
        )
    label = request.label or "vidur"
    folders = {path.relative_to(root).parts[1] for path in files}
    return Found(
        root=root,
        files=files,
        label=label,
        version="",
        read=partial(_read, root, label, request),
        devices=tuple(sorted({DEVICES.get(folder, folder) for folder in folders} | folders)),
    )


def _read(root: Path, label: str, request: Request, path: Path) -> FileRead:
    kind, folder, *_ = path.relative_to(root).parts
    device = DEVICES.get(folder, folder) if kind == "compute" else folder
    if not request.wants_device(folder, device):
        return FileRead(path=path, whole="another device")
    common: dict[str, Cells] = {"device": device, "source": label, "dtype": "fp16"}
    if kind == "network":
        layout = Layout(tables=("collective_topology",), needs=_NETWORK, build=partial(_network, common))
    elif path.stem == "mlp":
        common["model"] = path.parent.name
        layout = Layout(tables=("gemm", "memory_bound"), needs=_MLP, build=partial(_mlp, common))
    elif path.stem == "attention":
        layout = Layout(
            tables=("attention_prefill", "attention_decode"), needs=_ATTENTION, build=partial(_attention, common)
        )
    else:
        return FileRead(path=path, whole="is neither mlp.csv nor attention.csv")
    return read_file(path, layout, request)


def _times(sheet: Sheet, step: str) -> dict[str, Cells]:
    """Median and least time of a step, us."""
    return {
        "latency_us": sheet.numbers(f"time_stats.{step}.median") * 1e3,
        "lat_min": sheet.numbers(f"time_stats.{step}.min") * 1e3 if f"time_stats.{step}.min" in sheet.names else None,
    }


def _has(sheet: Sheet, step: str) -> bool:
    return f"time_stats.{step}.median" in sheet.names


def _without_place(sheet: Sheet, skipped: Counter[str]) -> None:
    for step in NO_PLACE:
        if _has(sheet, step):
            skipped[f"{step}: the format has no table for it"] += sheet.length


def _mlp(common: Mapping[str, Cells], sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """Projections as GEMMs (fused query, key and value; fused gate and up), the rest as streaming operations."""
    _without_place(sheet, skipped)
    tokens, tp, hidden = (sheet.numbers(x) for x in ("num_tokens", _TP, "n_embd"))
    heads, kv_heads, inner = (sheet.numbers(x) for x in ("n_head", "n_kv_head", "n_expanded_embd"))
    up = inner * (1.0 + sheet.numbers("use_gated_mlp")) / tp
    products: dict[str, tuple[Array, Array]] = {
        "attn_pre_proj": ((heads + 2.0 * kv_heads) * (hidden / heads) / tp, hidden),
        "attn_post_proj": (hidden, hidden / tp),
        "mlp_up_proj": (up, hidden),
        "mlp_down_proj": (hidden, inner / tp),
    }
    streams = {
        "emb": hidden,
        "input_layernorm": hidden,
        "post_attention_layernorm": hidden,
        "mlp_act": up,
        "add": hidden,
    }
    shapes: list[tuple[str, str, dict[str, Cells]]] = [
        *(("gemm", op, {"m": tokens, "n": n, "k": k, "tp": tp}) for op, (n, k) in products.items()),
        *(("memory_bound", op, {"rows": tokens, "cols": cols}) for op, cols in streams.items()),
    ]
    return [
        block(table, sheet.length, {**common, **_times(sheet, op), **shape, "op": op}, skipped)
        for table, op, shape in shapes
        if _has(sheet, op)
    ]


def _attention(common: Mapping[str, Cells], sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """Prefill of chunks behind a cache, and decode; a decoding sequence attends to its cache and to the new token."""
    _without_place(sheet, skipped)
    prefill = sheet.numbers("is_prefill") == 1.0
    tp, cached = sheet.numbers(_TP), sheet.numbers("kv_cache_size")
    columns: dict[str, Cells] = {
        **common,
        "kv_dtype": "fp16",
        "kernel_source": sheet.text("attention_backend") if "attention_backend" in sheet.names else None,
        "batch": sheet.numbers("batch_size"),
        "num_heads": sheet.numbers("n_q_head") / tp,
        "num_kv_heads": sheet.numbers("n_kv_head") / tp,
        "head_dim": sheet.numbers("n_embd") / sheet.numbers("n_q_head"),
        "window": 0.0,
    }
    chunk = {"s": sheet.numbers("prefill_chunk_size"), "prefix": cached}
    # rows of the other phase are not left out: the other block has them
    phases = (
        ("attention_prefill", "attn_prefill", prefill, chunk),
        ("attention_decode", "attn_decode", ~prefill, {"kv_len": cached + 1.0}),
    )
    return [
        block(table, sheet.length, {**columns, **shape, **_times(sheet, step)}, skipped, only=rows)
        for table, step, rows, shape in phases
    ]


def _network(common: Mapping[str, Cells], sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """All-reduce and send with receive on DGX and pairwise-NVLink machines."""
    step = next((op for op in ("all_reduce", "send_recv") if _has(sheet, op)), "")
    if not step:
        skipped["no collective that the format has a table for"] += sheet.length
        return ()
    columns: dict[str, Cells] = {
        **common,
        **_times(sheet, step),
        "op": sheet.text("collective"),
        "ngpu": sheet.numbers("num_workers"),
        "size": sheet.numbers("size"),
        "devs_per_node": sheet.numbers("devices_per_node"),
    }
    return [block("collective_topology", sheet.length, columns, skipped)]
