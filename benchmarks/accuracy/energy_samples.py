"""Measured power beside what drew it: kernels of `power.parquet`, and the power rows of the end-to-end measurements."""

# pandas' stubs cannot tell a frame from a series.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gambrel.calibration.operation import Call, fold, held_out
from gambrel.calibration.tables import operation_named, read_table
from gambrel.cost.kernel import Array, MemoryBound
from gambrel.cost.roofline import kernel_bytes, kernel_flops
from gambrel.estimation.api import estimate
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.result import Estimate
from gambrel.hardware.device import Power

OPERATIONS = {
    "gemm": "gemm",
    "context_attention": "attention_prefill",
    "generation_attention": "attention_decode",
    "moe": "moe",
}
"""Operation of each measured one."""

PROFILES = {"B200-SXM": "b200-sxm", "B200-SXM-180GB": "b200-sxm", "H100-SXM-80GB": "h100-sxm"}
PROFILES |= {"A100-SXM-80GB": "a100-sxm-80gb", "H200-SXM-141GB": "h200-sxm"}

MODELS = {
    "Qwen3-8B": "qwen3-8b",
    "Qwen3-14B": "qwen3-14b",
    "Qwen3-32B": "qwen3-32b",
    "Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen3-30B-A3B-Thinking-2507": "qwen3-30b-a3b",
    "Qwen3-235B-A22B-Instruct-2507-FP8": "qwen3-235b-a22b",
    "Qwen3-235B-A22B-Thinking-2507-FP8": "qwen3-235b-a22b",
    "Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Llama-3.1-70B-Instruct": "llama-3.1-70b",
    "Llama-3.3-70B-Instruct": "llama-3.1-70b",
    "Llama-3.1-405B-Instruct-FP8": "llama-3.1-405b",
    "gpt-oss-20b": "gpt-oss-20b",
    "gpt-oss-120b": "gpt-oss-120b",
    "llama2-70b": "llama-2-70b",
}
"""Library name of each measured model."""

PROMPT = 200
"""Prompt tokens where the source states none: the ML.ENERGY chat and question tasks have short prompts; assumed."""

LEAST_SHARE = 0.3
"""Mean powers below this share of the limit are gaps of the source (zeros, and windows that outlast the run)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Measurements of one kind: what ran, for how long, and the mean power; arrays of one length.

    Attributes:
        source: `kernels`, or the source family of an end-to-end measurement.
        name: Operation and number format, or the model.
        profile: Device.
        held_out: What is never fitted: by shape site, or by series.
        watts: Measured, of one device.
        seconds: Measured.
        busy: Share of them under a kernel; end to end by the estimate, at most 1.
        flops: By number format.
        memory_bytes: Of device memory.
        readings: Readings of the power meter that the mean is of; NaN where unknown.
    """

    source: str
    name: str
    profile: str
    held_out: np.ndarray
    watts: Array
    seconds: Array
    busy: Array
    flops: Mapping[str, Array]
    memory_bytes: Array
    readings: Array

    def take(self, where: np.ndarray) -> Sample:
        """Some of the rows."""
        cut = {name: getattr(self, name)[where] for name in ("held_out", "watts", "seconds", "busy", "readings")}
        flops = {name: values[where] for name, values in self.flops.items()}
        return Sample(
            source=self.source,
            name=self.name,
            profile=self.profile,
            flops=flops,
            memory_bytes=self.memory_bytes[where],
            **cut,
        )


def predict(sample: Sample, power: Power) -> Array:
    """Watts at the measured time: `min(static (1 - busy) + (active busy t + FLOPs e_flop + bytes e_byte)/t, tdp)`."""
    dynamic = sample.memory_bytes * (power.energy_per_byte_j or 0.0)
    for name, flops in sample.flops.items():
        dynamic = dynamic + flops * power.energy_per_flop_j.get(name, 0.0)
    standing, active = power.static_w or 0.0, power.active_w or 0.0
    free = standing * (1.0 - sample.busy) + active * sample.busy + dynamic / sample.seconds
    return np.minimum(free, power.tdp_w)


def kernels(folder: Path) -> Iterator[Sample]:
    """The kernels of `power.parquet`, by operation and format."""
    frame = pd.read_parquet(folder / "power.parquet")
    for op, rows in frame.groupby("op", observed=True):
        operation = operation_named(OPERATIONS[op])
        read = read_table(operation, rows.drop(columns=["op", "table"], errors="ignore"))
        if read.problems:
            raise SystemExit("\n".join(problem.what for problem in read.problems[:5]))
        hidden = held_out(fold(operation.sites(read.rows)))
        watts, seconds = (rows[name].to_numpy(np.float64) for name in ("power_w", "latency_us"))
        for (device, dtype), part in rows.groupby(["device", "dtype"], observed=True):
            chosen = np.flatnonzero((rows["device"] == device) & (rows["dtype"] == dtype))
            assert len(chosen) == len(part)
            flops, moved, rate = np.zeros(len(rows)), np.zeros(len(rows)), ""
            for group in operation.groups(read.rows.take(chosen)):
                assert operation.build is not None
                call = operation.build(group.rows)
                flops[chosen[group.where]], moved[chosen[group.where]] = _work(call)
                rate = getattr(call.kernels[call.main], "rate")  # noqa: B009  (every measured kernel but streams has one)
            yield Sample(
                source="kernels",
                name=f"{op} {dtype}",
                profile=PROFILES[device],
                held_out=hidden[chosen],
                watts=watts[chosen],
                seconds=seconds[chosen] * 1e-6,
                busy=np.ones(len(chosen)),
                flops={rate: flops[chosen]},
                memory_bytes=moved[chosen],
                readings=readings(watts[chosen]),
            )


def _work(call: Call) -> tuple[Array, Array]:
    """FLOPs of the matrix units, and bytes of all kernels of a call."""
    matrix = [kernel for kernel in call.kernels if not isinstance(kernel, MemoryBound)]
    flops = sum((np.asarray(kernel_flops(kernel)) for kernel in matrix), np.zeros(()))
    return flops, sum((np.asarray(kernel_bytes(kernel)) for kernel in call.kernels), np.zeros(()))


def readings(watts: Array, most: int = 20) -> Array:
    """How many readings a mean is of: the least n for which n means are a whole number of milliwatts."""
    out = np.full(watts.shape, np.nan)
    for n in range(most, 0, -1):
        total = watts * 1e3 * n
        out = np.where(np.abs(total - np.round(total)) < 2e-4 * np.sqrt(n), n, out)
    return out


def end_to_end(file: Path) -> Iterator[Sample]:
    """Served models: `mlenergy` in a steady state, `splitwise` one batch from prompt to last token."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["source_family"] in ("mlenergy", "splitwise")]
    runs: dict[str, dict[str, Mapping]] = {}
    for row in rows:
        runs.setdefault(row["config_id"], {})[row["metric"]] = row
    groups: dict[tuple[str, str, str], list[tuple[float, float, Estimate, float, str, str]]] = {}
    for run in runs.values():
        found = _served(run) if "gpu_power_avg" in run else _batch(run)
        if found is not None:
            row, item = found
            groups.setdefault((row["source_family"], row["model"], PROFILES[row["hardware"]]), []).append(item)
    for (source, model, profile), items in groups.items():
        watts, seconds, found, steps, rates, series = zip(*items, strict=True)
        phases = [(e.prefill, e.decode) for e in found]
        flops = np.array([(p.flops + n * d.flops) for (p, d), n in zip(phases, steps, strict=True) if d])
        moved = np.array([(p.bytes + n * d.bytes) for (p, d), n in zip(phases, steps, strict=True) if d])
        ours = np.array([p.seconds + n * d.seconds for (p, d), n in zip(phases, steps, strict=True) if d])
        yield Sample(
            source=source,
            name=model,
            profile=profile,
            held_out=held_out(fold(list(series))),
            watts=np.array(watts),
            seconds=np.array(seconds),
            busy=np.minimum(ours / np.array(seconds), 1.0),
            flops={rates[0]: flops},
            memory_bytes=moved,
            readings=np.full(len(items), np.nan),
        )


Item = tuple[float, float, Estimate, float, str, str]


def _served(run: Mapping[str, Mapping]) -> tuple[Mapping, Item] | None:
    """A steady state: each request has one prompt and `osl` steps, shared with the others of the batch."""
    row = run["gpu_power_avg"]
    if row["model"] not in MODELS or row["hardware"] not in PROFILES:
        return None
    batch, osl = max(1, round(row["batch"])), round(row["osl"])
    rate = "fp8" if row["precision"] == "fp8" else "bf16"
    found = _estimate(row["model"], row["hardware"], row["n_devices"], rate, batch, PROMPT, osl)
    seconds = batch * osl / run["throughput_output_tokens_per_s"]["value"]
    return row, (row["value"], seconds, found, float(osl), rate, row["series_id"])


def _batch(run: Mapping[str, Mapping]) -> tuple[Mapping, Item] | None:
    """One batch whose power is a share of the limit."""
    row = run.get("gpu_power_avg_normalised")
    if row is None or row["value"] < LEAST_SHARE or row["hardware"] not in PROFILES or row["model"] not in MODELS:
        return None
    found = _estimate(row["model"], row["hardware"], row["n_devices"], "bf16", row["batch"], row["isl"], row["osl"])
    seconds = run["e2e_latency"]["value"] * 1e-3
    limit = 400.0 if row["hardware"].startswith("A100") else 700.0
    return row, (row["value"] * limit, seconds, found, row["osl"] - 1.0, "bf16", row["series_id"])


@cache
def _estimate(model: str, hardware: str, tp: int, rate: str, batch: int, isl: int, osl: int) -> Estimate:  # noqa: PLR0913
    plan = Plan(tp=tp, weights="fp8" if rate == "fp8" else None)
    return estimate(MODELS[model], PROFILES[hardware], plan=plan, workload=Workload(batch=batch, isl=isl, osl=osl))
