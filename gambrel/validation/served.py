"""Published measurements of servers at a fixed concurrency as questions for a steady state.

What the sources do not record was looked up where it is public: the formats of caches in the launch scripts of
InferenceX (SemiAnalysisAI/InferenceX, `benchmarks/*.sh`, 2025 to 2026), the formats of weights in the checkpoints.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NotRequired, cast

from gambrel.errors import FrontendError, ProfileError
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.resolve import is_moe
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device
from gambrel.models import load_model
from gambrel.validation.runs import Row, Run, Unanswerable, read_rows

FAMILIES = ("aic_silicon", "inferencex_")
"""Beginnings of the names of the sources that hold a concurrency fixed."""

METRICS = {"tpot": "tpot", "tpot_mean": "tpot", "tpot_median": "tpot median"}

ENGINES = {"vllm": "vllm", "sglang": "sglang", "trtllm": "tensorrt-llm"}
"""Engine profile of each engine, by its name in lower case."""

MODELS = {
    "DeepSeek-R1": "deepseek-v3",
    "DeepSeek-R1-0528": "deepseek-v3",
    "DeepSeek-R1-0528 (mapped to DeepSeek-V3 arch)": "deepseek-v3",
    "DeepSeek-R1-NVFP4": "deepseek-v3",
    "DeepSeek-V3.1-NVFP4": "deepseek-v3",
    "Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Qwen3-32B-NVFP4": "qwen3-32b",
}
"""Library name of each measured model whose own name the library does not have."""

PUBLISHED = ("deepseek-v3", "minimax-m2.5", "gpt-oss-120b")
"""Models whose checkpoint fixes the format that a source calls fp8 (blocks of 128 x 128)."""

NVFP4 = "fp4 (gemm nvfp4, moe nvfp4)"
WEIGHTS = {
    "FP8": "fp8",
    "fp8 (gemm fp8, moe fp8)": "fp8",
    "fp8 (gemm fp8, moe fp8_block)": "fp8",
    "fp8 (gemm fp8_block, moe fp8_block)": "fp8_block",
    NVFP4: "nvfp4",
    "MXFP4 (fp4)": "mxfp4",
    "MXFP4 weights": "mxfp4",
}
"""Weight format of each precision; for PUBLISHED models it is that of the checkpoint."""

AS_PUBLISHED = "as published"
"""Precision of rows that do not record one: that of the checkpoint, with a cache of the same format."""

PLAIN_CACHES = (
    ("gpt-oss-120b", "H200", ""),
    ("minimax-m2.5", "B200", ""),
    ("deepseek-v3", "H200", "sglang"),
)
"""Model, device and engine (any, where empty) that the launch scripts run with a bf16 cache; the others have fp8."""

NARROW_ACTIVATIONS = {("gpt-oss-120b", "B200"): "fp8"}
"""Activations that the launch scripts narrow (MXFP8), by model and beginning of the device."""

MEAN_LENGTH = 0.9
"""InferenceX draws lengths from 0.8 to 1.0 of the nominal."""

SPECULATIVE = ("DeepSeek-R1", "DeepSeek-R1-NVFP4")
"""Names whose rows were probably decoded speculatively, which the source does not record: the same plan, engine and
concurrency is 1.1 to 2.3 times faster under the first of these names than as `DeepSeek-R1-0528`, most at small batches
and long outputs, where repeated runs of other models differ by 2 % in the median."""


class ServedRow(Row):
    """What is read of one line besides."""

    concurrency: NotRequired[int | None]
    missing: NotRequired[list[str]]
    notes: NotRequired[str | None]
    series_id: NotRequired[str]
    extra: NotRequired[Mapping[str, object] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One measurement.

    Attributes:
        run: Its numbers; the batch of its workload is the number of requests in flight over all replicas.
        series: Curve that it belongs to; never split between fitting and scoring.
        version: Of the engine.
        dense: Whether the model has no experts.
        equal_lengths: Whether all requests have the nominal lengths; InferenceX draws them at random.
        speculative: Whether it may have been decoded speculatively, see SPECULATIVE.
    """

    run: Run
    series: str
    version: str
    dense: bool
    equal_lengths: bool
    speculative: bool

    @property
    def engine(self) -> str:
        """Name of the engine profile."""
        return ENGINES.get(self.run.engine, self.run.engine)


def is_served(row: Row) -> bool:
    """Whether a row is a time per output token at a fixed concurrency."""
    return row["source_family"].startswith(FAMILIES) and row["metric"] in METRICS


def read_served(file: Path, *, partly: bool = False) -> list[Served]:
    """All measurements of the time per output token of FAMILIES.

    Args:
        file: JSON lines, compressed or not.
        partly: Also those that are not fully specified; of these, a precision or a version that is not recorded is
            no reason for a refusal.

    Raises:
        UsageError: The file cannot be read, or a line is no measurement.
    """
    return [_served(cast("ServedRow", row)) for row in read_rows(file, partly=partly) if is_served(row)]


@lru_cache(maxsize=64)
def device_of(name: str) -> Device:
    """The profile of a measured device, by one of its aliases.

    Raises:
        Unanswerable: There is none.
    """
    try:
        return load_device(name.lower())
    except ProfileError as error:
        if error.problems[0].what.startswith("unknown"):
            raise Unanswerable("no profile") from None
        raise


@lru_cache(maxsize=64)
def architecture_of(model: str) -> Architecture:
    """The library's model.

    Raises:
        Unanswerable: It has none of that name.
    """
    try:
        return load_model(MODELS.get(model, model.lower()))
    except FrontendError:
        raise Unanswerable("model not mapped") from None


def _served(row: ServedRow) -> Served:
    refusal = next(_refusals(row), "")
    plan = workload = None
    dense = True
    if not refusal:
        try:
            device_of(row["hardware"])
            architecture = architecture_of(row["model"])
            dense = not is_moe(architecture)
            _check_dimensions(architecture, row["model_params"])
            plan, workload = _plan(row), _workload(row)
        except Unanswerable as error:
            refusal = str(error)
    return Served(
        run=Run(
            family=row["source_family"],
            engine=row["engine"].lower(),
            category=row["category"],
            device=row["hardware"],
            dtype=row["precision"] or AS_PUBLISHED,
            metric=METRICS[row["metric"]],
            value=row["value"] * {"ms": 1e-3, "s": 1.0}[row["unit"]],
            model=row["model"],
            dims=(),
            plan=plan,
            workload=workload,
            refusal=refusal,
        ),
        series=row.get("series_id", row["config_id"]),
        version=row["engine_version"] or "not recorded",
        dense=dense,
        equal_lengths=not _random_lengths(row),
        speculative=row["model"] in SPECULATIVE,
    )


def _refusals(row: ServedRow) -> Iterator[str]:
    """Why a row cannot be answered, most telling first."""
    if row["engine"].lower() not in ENGINES:
        yield "no engine profile"
    if (row.get("extra") or {}).get("mode") == "disagg":
        yield "prefill on other devices than decode"
    missing = set(row.get("missing", ())) - {"precision"}
    if not row["fully_specified"] and missing:
        yield f"not recorded: {', '.join(sorted(missing))}"
    if row["precision"] and row["precision"] not in WEIGHTS:
        yield f"precision {row['precision']}"
    if row["isl"] is None or row["osl"] is None:
        yield "lengths not stated"


def _check_dimensions(architecture: Architecture, stated: Mapping[str, object]) -> None:
    """The library's model is the measured one.

    Raises:
        Unanswerable: A stated dimension differs.
    """
    here = {
        "num_hidden_layers": architecture.num_layers,
        "hidden_size": architecture.hidden,
        "vocab_size": architecture.vocab,
    }
    for name, value in here.items():
        if stated.get(name, value) != value:
            raise Unanswerable(f"{name} is {stated[name]}, the library has {value}")


def _plan(row: ServedRow) -> Plan:
    """Degrees and formats of a row.

    Raises:
        Unanswerable: The split is none of ours, or its numbers contradict each other.
    """
    degrees = row["parallelism"]
    tp, pp, replicas = degrees.get("tp") or 1, degrees.get("pp") or 1, _replicas(row)
    ep, shards = int(degrees.get("moe_ep") or degrees.get("ep") or 1), degrees.get("moe_tp") or 1
    moe = is_moe(architecture_of(row["model"]))
    if tp * replicas * pp != row["n_devices"]:
        raise Unanswerable("degrees and devices contradict each other")
    if moe and ((replicas > 1 and shards > 1) or ep not in (1, tp * replicas)):
        raise Unanswerable("experts split in a way that no strategy has")
    weights, kv, activations = _formats(row)
    return Plan(
        tp=tp,
        pp=pp,
        dp=replicas,
        ep=ep if moe else None,
        strategy="attention-dp-moe-ep" if moe and replicas > 1 else None,
        weights=weights,
        activations=activations,
        kv=kv,
        engine=ENGINES[row["engine"].lower()],
    )


def _formats(row: ServedRow) -> tuple[str | None, str | None, str | None]:
    """Formats of weights, cache and activations; None: as published, the base format, as the weights."""
    name = MODELS.get(row["model"], row["model"].lower())
    if not row["precision"]:
        return None, None, None
    published = name == "gpt-oss-120b" or (name in PUBLISHED and row["precision"] != NVFP4)
    plain = any(
        name == model and row["hardware"].startswith(device) and engine in ("", row["engine"].lower())
        for model, device, engine in PLAIN_CACHES
    )
    activations = NARROW_ACTIVATIONS.get((name, row["hardware"].partition("-")[0]))
    return None if published else WEIGHTS[row["precision"]], None if plain else "fp8", activations


def _workload(row: ServedRow) -> Workload:
    """Requests in flight and mean lengths.

    Raises:
        Unanswerable: The concurrency is not stated, or contradicts the batch.
    """
    replicas, drawn = _replicas(row), _random_lengths(row)
    isl, osl, batch = row["isl"] or 0, row["osl"] or 0, row["batch"] or 0
    # Where no concurrency is given, the sources' batch is that of all requests (inferencex) or of one replica.
    concurrency = row.get("concurrency") or batch * (1 if row["source_family"].startswith("inferencex") else replicas)
    if not concurrency:
        raise Unanswerable("concurrency not stated")
    if not drawn and batch and batch * replicas != concurrency:
        raise Unanswerable("batch and concurrency contradict each other")
    share = MEAN_LENGTH if drawn else 1.0
    return Workload(batch=int(concurrency), isl=round(share * isl), osl=round(share * osl))


def _replicas(row: ServedRow) -> int:
    return int(row["parallelism"].get("attn_dp") or 1)


def _random_lengths(row: ServedRow) -> bool:
    return "InferenceX" in (row.get("notes") or "")
