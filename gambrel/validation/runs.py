"""Published end-to-end measurements as questions for an estimate: which rows qualify, and what each one ran."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict, cast

from gambrel.errors import Problem, UsageError
from gambrel.estimation.points import Plan, Workload
from gambrel.frontends.architecture import Architecture, MoE, SelfAttention
from gambrel.frontends.hf import architecture_from_config
from gambrel.models import load_model

FAMILIES = ("fastertransformer", "trtllm_docs", "splitwise", "rocm_vllm")
"""Sources that publish runs of one static batch."""

PROFILES = {
    "A100-SXM-80GB": "a100-sxm-80gb",
    "H100-SXM-80GB": "h100-sxm",
    "H200-SXM-141GB": "h200-sxm",
    "B200-SXM-180GB": "b200-sxm",
    "GB200-NVL72": "gb200-nvl72",
    "MI300X-192GB-750W": "mi300x",
}
"""Profile of each measured device; a device that is not here is reported as not answered."""

ENGINES = {
    "FasterTransformer": "fastertransformer",
    "TensorRT-LLM": "tensorrt-llm-0.9",
    "vLLM-based (Splitwise)": "vllm-2023-eager",
    "vLLM": "vllm-0.10-rocm",
}
"""Engine profile of each measured engine; what is not here has none."""

MODELS = {
    "llama2-70b": "llama-2-70b",
    "LLaMA 70B": "llama-2-70b",
    "LLaMA 7B": "llama-2-7b",
    "Llama 3.1 70B": "llama-3.1-70b",
    "bloom-176b": "bloom-176b",
    "GPT-J 6B": "gpt-j-6b",
    "Mistral 7B": "mistral-7b",
    "Mixtral 8x7B": "mixtral-8x7b",
}
"""Library name of each measured model; a GPT whose dimensions are stated is built from them."""

FORMATS: Mapping[str, Plan] = {
    "FP16": Plan(),
    "FP8": Plan(weights="fp8", kv="fp8"),
    "FP8 w/a": Plan(weights="fp8"),
    "FP8 w/a, FP8 KV": Plan(weights="fp8", kv="fp8"),
    "NVFP4 w / FP8 KV": Plan(weights="nvfp4", kv="fp8"),
}
"""Number formats of each label; activations follow the weights. TensorRT-LLM's FP8 rows have an fp8 cache."""

TIMES = {"ms": 1e-3, "s": 1.0}
METRICS = {
    "ttft": "ttft",
    "tpot": "tpot",
    "e2e_latency": "e2e_latency",
    "throughput_output_tokens_per_s": "throughput",
    "throughput_output_tokens_per_s_per_gpu": "throughput per device",
    "peak_memory": "peak memory",
}
"""Metrics that an estimate of one static batch has."""

WHOLE_SYSTEM = {("trtllm_docs", "v0.5")}
"""Sources and versions whose throughput per device is that of all devices: the header of the tables of TensorRT-LLM
0.5.0 (`docs/source/performance.md`) reads "Throughput (out tok/s)", later ones "(out tok/s/GPU)"."""

TOLERANCE = 0.05
"""Largest disagreement of a run's latency with `ttft + (osl - 1) tpot` before its output length is doubted."""


class Unanswerable(Exception):
    """Why a row gets no estimate."""


class Row(TypedDict):
    """What is read of one line of the file."""

    source_family: str
    fully_specified: bool
    config_id: str
    category: str
    engine: str
    engine_version: str
    hardware: str
    n_devices: int
    precision: str
    parallelism: Mapping[str, int | None]
    model: str
    model_params: Mapping[str, object]
    batch: int | None
    isl: int | None
    osl: int | None
    metric: str
    unit: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement: the numbers of the row, in SI units.

    Attributes:
        family, engine, category: Where it was published, what ran.
        device: As the source names it.
        dtype: Precision as the source names it.
        metric: One of METRICS' values, or as published where that has none.
        value: s, tokens/s or B.
        model: As the source names it.
        dims: Dimensions of the model under the source's names.
        plan, workload: None where they are not stated.
        refusal: Why the row is no static batch that an estimate could answer; empty where it is.
    """

    family: str
    engine: str
    category: str
    device: str
    dtype: str
    metric: str
    value: float
    model: str
    dims: tuple[tuple[str, int], ...]
    plan: Plan | None
    workload: Workload | None
    refusal: str


def read_rows(file: Path, *, partly: bool = False) -> list[Row]:
    """The fully specified measurements of a file of JSON lines, compressed or not; with `partly` the others, too.

    Raises:
        UsageError: The file cannot be read, or a line is no measurement.
    """
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
            rows = [_parse(line, f"{file}:{number}") for number, line in enumerate(lines, start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(Problem(where=str(file), what=f"cannot be read ({error})")) from None
    return [row for row in rows if partly or row["fully_specified"]]


def _parse(line: str, where: str) -> Row:
    try:
        row = cast("Row", json.loads(line))
        missing = sorted(Row.__required_keys__ - row.keys())
    except (json.JSONDecodeError, AttributeError) as error:
        raise UsageError(Problem(where=where, what="is no measurement", why=str(error))) from None
    if missing:
        raise UsageError(Problem(where=where, what="is no measurement", why=f"it lacks {', '.join(missing)}"))
    return row


def read_runs(file: Path, *, every: bool = False) -> list[Run]:
    """The fully specified measurements of FAMILIES; with `every`, also those that have no answer yet.

    Raises:
        UsageError: The file cannot be read, or a line is no measurement.
    """
    rows = read_rows(file)
    known = [row for row in rows if row["source_family"] in FAMILIES]
    short = _stopped_early(known)
    runs = [_run(row, stopped=row["config_id"] in short) for row in known]
    if every:
        runs += [_unknown(row) for row in rows if row["source_family"] not in FAMILIES]
    return runs


def _unknown(row: Row) -> Run:
    """A row of a source whose runs are not understood as static batches."""
    return Run(
        family=row["source_family"],
        engine=row["engine"] or "",
        category=row["category"],
        device=row["hardware"],
        dtype=row["precision"] or "",
        metric=row["metric"],
        value=row["value"],
        model=row["model"] or "",
        dims=(),
        plan=None,
        workload=None,
        refusal="source of no static batches",
    )


def _stopped_early(rows: Iterable[Row]) -> set[str]:
    """Runs whose latency is not `ttft + (osl - 1) tpot`: they did not generate the output length that they state."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["config_id"], {"osl": float(row["osl"] or 0)})[row["metric"]] = row["value"]
    out: set[str] = set()
    for name, run in found.items():
        if {"ttft", "tpot", "e2e_latency"} <= run.keys():
            implied = run["ttft"] + (run["osl"] - 1) * run["tpot"]
            if abs(implied / run["e2e_latency"] - 1.0) > TOLERANCE:
                out.add(name)
    return out


def _run(row: Row, *, stopped: bool) -> Run:
    parallelism = row["parallelism"]
    batch, isl, osl = row["batch"], row["isl"], row["osl"]
    workload = None if batch is None or isl is None or osl is None else Workload(batch=batch, isl=isl, osl=osl)
    formats = FORMATS.get(row["precision"])
    plan = None if formats is None else replace(formats, tp=parallelism.get("tp") or 1, pp=parallelism.get("pp") or 1)
    dims = row["model_params"]
    return Run(
        family=row["source_family"],
        engine=row["engine"],
        category=row["category"],
        device=row["hardware"],
        dtype=row["precision"],
        metric=METRICS.get(row["metric"], row["metric"]),
        value=_value(row),
        model=row["model"],
        dims=tuple(sorted((key, value) for key, value in dims.items() if isinstance(value, int))),
        plan=plan,
        workload=workload,
        refusal=_refusal(row, static=workload is not None, stopped=stopped),
    )


def _value(row: Row) -> float:
    """The measured value in SI units."""
    unit = row["unit"]
    if unit.endswith("/GPU") and (row["source_family"], row["engine_version"]) in WHOLE_SYSTEM:
        return row["value"] / row["n_devices"]
    return row["value"] * (TIMES.get(unit) or (1e9 if unit.startswith("GB") else 1.0))


def _refusal(row: Row, *, static: bool, stopped: bool) -> str:
    if "power" in row["metric"]:
        return "power"
    if not static:
        return "queued requests at maximum load, no static batch"
    if row["metric"] not in METRICS:
        return "not a metric of a static batch"
    if stopped and row["metric"] != "ttft":
        return "the run stopped before its stated output length"
    if row["hardware"] not in PROFILES:
        return "power cap" if "power-capped" in row["hardware"] else "no profile"
    return ""


@lru_cache(maxsize=64)
def architecture_of(model: str, dims: tuple[tuple[str, int], ...]) -> Architecture:
    """The measured model with its stated dimensions, stored in fp16 where nothing narrower is said.

    Raises:
        Unanswerable: It is neither in the library nor a GPT, or the stated dimensions differ from the library's.
    """
    stated = dict(dims)
    if model in MODELS:
        architecture = load_model(MODELS[model])
        differing = list(_differences(architecture, stated))
        if differing:
            raise Unanswerable("; ".join(differing))
        architecture = replace(architecture, vocab=stated.get("vocab", stated.get("vocab_size", architecture.vocab)))
    elif "size_per_head" in stated:
        architecture = _gpt(model, stated)
    else:
        raise Unanswerable("model not mapped")
    return replace(architecture, dtype="fp16", quantization=None)


def _gpt(name: str, stated: Mapping[str, int]) -> Architecture:
    """A GPT with layer norms, biases, learned positions, GELU and one table for input and output."""
    if stated["heads"] * stated["size_per_head"] != stated["d_model"]:
        raise Unanswerable("heads times head size is not the width")
    config = {
        "model_type": "gpt2",
        "n_embd": stated["d_model"],
        "n_layer": stated["layers"],
        "n_head": stated["heads"],
        "n_inner": stated["ffn"],
        "vocab_size": stated["vocab"],
        "n_positions": 2048,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
    }
    return architecture_from_config(config, name=name, citation="dimensions as stated with the measurement")


def _differences(architecture: Architecture, stated: Mapping[str, int]) -> Iterator[str]:
    """Stated dimensions that the library's model does not have; the vocabulary is taken from the row."""
    layer = architecture.segments[0].layers[0]
    attention, ffn = layer.attention, layer.ffn
    assert isinstance(attention, SelfAttention)
    assert ffn is not None
    here = {
        "layers": architecture.num_layers,
        "num_hidden_layers": architecture.num_layers,
        "d_model": architecture.hidden,
        "hidden_size": architecture.hidden,
        "heads": attention.heads,
        "num_attention_heads": attention.heads,
        "kv_heads": attention.kv_heads,
        "num_key_value_heads": attention.kv_heads,
        "ffn": ffn.width,
        "intermediate_size": ffn.width,
        "experts": ffn.experts if isinstance(ffn, MoE) else None,
        "topk": ffn.top_k if isinstance(ffn, MoE) else None,
    }
    for name, value in stated.items():
        if name in here and here[name] != value:
            yield f"{name} is {value}, the library has {here[name]}"
