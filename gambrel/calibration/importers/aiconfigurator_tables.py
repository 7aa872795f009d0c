"""aiconfigurator's tables, each as rows of the format."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from gambrel.calibration.columns import Mask, Text
from gambrel.calibration.importers.block import Block, Cells, block
from gambrel.calibration.importers.sheet import Sheet
from gambrel.calibration.importers.source import Layout
from gambrel.calibration.importers.tables import TABLES

ELEMENT_BYTES = {"half": 2.0, "float16": 2.0, "bfloat16": 2.0, "float": 4.0, "float32": 4.0, "int8": 1.0, "fp8": 1.0}
"""Bytes of an element that a collective moves."""


class Context(NamedTuple):
    """What the place of a file says about its rows."""

    table: str
    device: str
    source: str
    backend: str
    version: str


class _Builder(NamedTuple):
    """How a table is read: see `Layout`."""

    tables: tuple[str, ...]
    needs: tuple[str, ...]
    build: Callable[[Context, Sheet, Counter[str]], Sequence[Block]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renamed:
    """A table whose columns only have other names.

    Attributes:
        table: Which of the format's.
        columns: Columns by their name in the format.
        optional: Columns that not every release has.
        absent: What such a column means where a release does not have it; nothing where it is not here.
        power: What the table of powers calls the operation; empty where that table does not hold it.
    """

    table: str
    columns: Mapping[str, str]
    optional: Mapping[str, str]
    absent: Mapping[str, float] = field(default_factory=dict[str, float])
    power: str = ""

    def build(self, where: Context, sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
        columns: dict[str, Cells] = dict(self.absent)
        present = {name: column for name, column in self.optional.items() if column in sheet.names}
        for name, column in {**self.columns, **present}.items():
            columns[name] = sheet.text(column) if _is_text(self.table, name) else sheet.numbers(column)
        columns |= _provenance(sheet, where) | {"table": where.table, "latency_us": sheet.numbers("latency") * 1e3}
        if self.table == "attention_decode":  # a step attends to `step` cached tokens and to the new one
            columns["kv_len"] = sheet.numbers("step") + sheet.numbers("isl")
        beams: list[tuple[Mask, str]] = []
        if "beam_width" in sheet.names:
            beams = [(sheet.numbers("beam_width") != 1, "beam_width is not 1")]
        blocks = [block(self.table, sheet.length, columns, skipped, exclude=beams)]
        if self.power and "power" in sheet.names:
            columns |= {"op": self.power, "power_w": sheet.numbers("power")}
            # what is wrong with a row has been counted already
            blocks.append(block("power", sheet.length, columns, Counter(), exclude=beams))
        return blocks


def _renamed(
    table: str, columns: str, optional: str = "", *, absent: Mapping[str, float] | None = None, power: str = ""
) -> _Builder:
    """A builder from words `name=column`, or `name` where both are the same."""
    named, extra = _pairs(columns), _pairs(optional)
    renamed = _Renamed(table=table, columns=named, optional=extra, absent=absent or {}, power=power)
    return _Builder((table, "power") if power else (table,), (*named.values(), "latency"), renamed.build)


def _pairs(words: str) -> dict[str, str]:
    split = [(word.partition("=")[0], word.partition("=")[2]) for word in words.split()]
    return {name: column or name for name, column in split}


def _is_text(table: str, name: str) -> bool:
    return TABLES[table][name].kind == "text"


def _provenance(sheet: Sheet, where: Context) -> dict[str, Cells]:
    return {
        "device": where.device,
        "source": where.source,
        "backend": where.backend,
        "version": where.version,
        "kernel_source": sheet.text("kernel_source") if "kernel_source" in sheet.names else None,
    }


def _collective(where: Context, sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """NCCL, oneCCL and the engines' own all-reduce."""
    own = where.table == "custom_allreduce"
    dtype = sheet.text("allreduce_dtype" if own else "nccl_dtype")
    element_bytes = np.array([*(ELEMENT_BYTES.get(value, np.nan) for value in dtype.values), np.nan])[dtype.codes]
    elements = sheet.numbers("message_size")
    variant = next((name for name in ("backend", "implementation") if own and name in sheet.names), "")
    columns: dict[str, Cells] = {
        **_provenance(sheet, where),
        "impl": where.table,
        "variant": sheet.text(variant) if variant else None,
        "collective": sheet.text("op_name") if "op_name" in sheet.names else "all_reduce",
        "dtype": dtype,
        "num_gpus": sheet.numbers("num_gpus"),
        "message_elems": elements,
        "message_bytes": elements * element_bytes,
        "latency_us": sheet.numbers("latency") * 1e3,
    }
    return [block("collective", sheet.length, columns, skipped)]


def _deepep(where: Context, sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """DeepEP: a row holds a dispatch and a combine, in us; the normal mode's notification is part of its phase."""
    blocks: list[Block] = []
    for phase in ("dispatch", "combine"):
        normal = where.table == "wideep_deepep_normal"
        time = (
            sheet.numbers(f"{phase}_transmit_us") + sheet.numbers(f"{phase}_notify_us")
            if normal
            else sheet.numbers(f"{phase}_avg_t_us")
        )
        columns: dict[str, Cells] = {
            **_provenance(sheet, where),
            "table": where.table,
            "op_name": sheet.text("op_name") if "op_name" in sheet.names else None,
            "phase": phase,
            "node_num": sheet.numbers("node_num"),
            "hidden": sheet.numbers("hidden_size"),
            "topk": sheet.numbers("num_topk"),
            "num_experts": sheet.numbers("num_experts"),
            "num_tokens": sheet.numbers("num_token"),
            "sms": sheet.numbers(f"{phase}_sms") if normal else None,
            "latency_us": time,
        }
        blocks.append(block("moe_alltoall", sheet.length, columns, skipped))
    return blocks


def _moe_a2a(where: Context, sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """The unified all-to-all table, in us; no `sms` means that the kernel has no budget of multiprocessors."""
    columns: dict[str, Cells] = {
        **_provenance(sheet, where),
        "table": where.table,
        "op_name": sheet.text("op_name") if "op_name" in sheet.names else None,
        "comm_backend": sheet.text("comm_backend"),
        "phase": sheet.text("phase"),
        "dtype": sheet.text("comm_dtype"),
        "ep_size": sheet.numbers("ep_size"),
        "node_num": sheet.numbers("node_num"),
        "hidden": sheet.numbers("hidden_size"),
        "topk": sheet.numbers("topk"),
        "num_experts": sheet.numbers("num_experts"),
        "num_tokens": sheet.numbers("num_tokens"),
        "sms": np.nan_to_num(sheet.numbers("sms")) if "sms" in sheet.names else 0.0,
        "latency_us": sheet.numbers("latency"),
    }
    return [block("moe_alltoall", sheet.length, columns, skipped)]


NVLINK_BACKENDS = {"NVLinkTwoSided": "nvlink_two_sided", "NVLinkOneSided": "nvlink_one_sided"}
NVLINK_PHASES = {
    "alltoall_prepare": "prepare",
    "alltoall_dispatch": "dispatch",
    "alltoall_combine": "combine",
    "alltoall_combine_low_precision": "combine",
}


def _trtllm_alltoall(where: Context, sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """TensorRT-LLM's all-to-all over NVLink, in ms.

    The low-precision combine moves fp4. Where the table does not say how many nodes took part, aiconfigurator reckons
    with four devices each, as in a GB200 rack, the only system that it was measured on.
    """
    ep, op = sheet.numbers("moe_ep_size"), sheet.text("op_name")
    low = np.array([*(value == "alltoall_combine_low_precision" for value in op.values), False])[op.codes]
    dtype = sheet.text("moe_dtype")
    columns: dict[str, Cells] = {
        **_provenance(sheet, where),
        "table": where.table,
        "op_name": op,
        "comm_backend": _translate(sheet.text("kernel_source"), NVLINK_BACKENDS),
        "phase": _translate(op, NVLINK_PHASES),
        "dtype": Text(np.where(low, len(dtype.values), dtype.codes), (*dtype.values, "fp4")),
        "ep_size": ep,
        "node_num": sheet.numbers("num_nodes") if "num_nodes" in sheet.names else np.maximum(ep // 4, 1),
        "hidden": sheet.numbers("hidden_size"),
        "topk": sheet.numbers("topk"),
        "num_experts": sheet.numbers("num_experts"),
        "num_tokens": sheet.numbers("num_tokens"),
        "latency_us": sheet.numbers("latency") * 1e3,
    }
    return [block("moe_alltoall", sheet.length, columns, skipped)]


def _translate(text: Text, names: Mapping[str, str]) -> Text:
    """Other names for the values; rows of a value without one have none."""
    known = np.array([*(code if value in names else -1 for code, value in enumerate(text.values)), -1])
    return Text(known[text.codes], tuple(names.get(value, value) for value in text.values))


_HEADS = "batch=batch_size num_heads head_dim dtype=attn_dtype"
_MLA = "dtype=mla_dtype kv_dtype=kv_cache_dtype num_heads batch=batch_size isl tp_size step"
_EXPERTS = (
    "dtype=moe_dtype num_tokens hidden=hidden_size inter=inter_size topk num_experts moe_tp=moe_tp_size "
    "moe_ep=moe_ep_size distribution"
)
_SCAN = "phase batch=batch_size seq_len num_tokens d_model d_conv"
_DELTA = f"{_SCAN} num_k_heads head_k_dim num_v_heads head_v_dim"
_SCAN_NAMES = "op_name model_name"
_DEEPEP = ("node_num", "hidden_size", "num_token", "num_topk", "num_experts")

_BUILDERS: Mapping[str, _Builder] = {
    "gemm": _renamed("gemm", "dtype=gemm_dtype m n k", power="gemm"),
    "context_attention": _renamed(
        "attention_prefill",
        f"{_HEADS} kv_dtype=kv_cache_dtype num_kv_heads=num_key_value_heads s=isl",
        "prefix=step window=window_size",
        absent={"prefix": 0.0, "window": 0.0},
        power="context_attention",
    ),
    "generation_attention": _renamed(
        "attention_decode",
        f"{_HEADS} kv_dtype=kv_cache_dtype num_kv_heads=num_key_value_heads kv_len=step",
        "window=window_size",
        absent={"window": 0.0},
        power="generation_attention",
    ),
    "encoder_attention": _renamed("attention_encoder", f"{_HEADS} s=isl"),
    **{
        name.format(phase): _renamed("mla", _MLA, "model gemm_type")
        for name in ("{}_mla", "wideep_{}_mla", "mla_{}_module")
        for phase in ("context", "generation")
    },
    "moe": _renamed("moe", _EXPERTS, power="moe"),
    "wideep_moe": _renamed("moe", f"{_EXPERTS} moe_kernel num_slots"),
    "gdn": _renamed("linear_attention", _DELTA, _SCAN_NAMES),
    "kda": _renamed("linear_attention", _DELTA, _SCAN_NAMES),
    "mamba2": _renamed("linear_attention", f"{_SCAN} d_state nheads head_dim n_groups chunk_size", _SCAN_NAMES),
    "nccl": _Builder(("collective",), ("nccl_dtype", "num_gpus", "message_size", "latency"), _collective),
    "oneccl": _Builder(("collective",), ("nccl_dtype", "num_gpus", "message_size", "latency"), _collective),
    "custom_allreduce": _Builder(
        ("collective",), ("allreduce_dtype", "num_gpus", "message_size", "latency"), _collective
    ),
    "wideep_deepep_normal": _Builder(
        ("moe_alltoall",),
        (*_DEEPEP, *(f"{p}_{c}" for p in ("dispatch", "combine") for c in ("transmit_us", "notify_us", "sms"))),
        _deepep,
    ),
    "wideep_deepep_ll": _Builder(("moe_alltoall",), (*_DEEPEP, "dispatch_avg_t_us", "combine_avg_t_us"), _deepep),
    "moe_a2a": _Builder(
        ("moe_alltoall",),
        (
            *("comm_backend", "phase", "comm_dtype", "ep_size", "node_num", "hidden_size", "topk", "num_experts"),
            *("num_tokens", "latency"),
        ),
        _moe_a2a,
    ),
    "trtllm_alltoall": _Builder(
        ("moe_alltoall",),
        (
            *("kernel_source", "op_name", "moe_dtype", "moe_ep_size", "hidden_size", "topk", "num_experts"),
            *("num_tokens", "latency"),
        ),
        _trtllm_alltoall,
    ),
}
"""The tables that the format has a place for, by the name of their files."""


def layout_of(where: Context) -> Layout | None:
    """How a table is read; None where the format has no place for its rows."""
    builder = _BUILDERS.get(where.table)
    if builder is None:
        return None
    return Layout(tables=builder.tables, needs=builder.needs, build=partial(builder.build, where))
