"""Estimates of the main kinds of model, plan and device: a change of any number shows here."""

from typing import Any

import pytest

from gambrel import estimate
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.result import Estimate, PhaseEstimate

DIGITS = 10
"""Beyond what a change of the model can mean, within what the comparison of golden files lets pass."""

CHAT = Workload(batch=32, isl=4096, osl=512)

CASES = {
    "dense-gqa-tp": ("llama-3.1-70b", "h100-sxm", Plan(tp=8), CHAT),
    "dense-sequence-parallel-fp8": (
        "llama-3.1-70b",
        "h200-sxm",
        Plan(tp=4, strategy="sequence-parallel", weights="fp8", kv="fp8"),
        CHAT,
    ),
    "dense-pipeline": ("llama-3.1-405b", "h100-sxm", Plan(tp=8, pp=4, microbatches=8), CHAT),
    "dense-context-parallel": (
        "llama-3.1-8b",
        "h200-sxm",
        Plan(cp=4),
        Workload(batch=2, isl=65536, osl=256, prefix=1024),
    ),
    "dense-data-parallel": ("qwen3-8b", "mi300x", Plan(dp=4, tp=2), CHAT),
    "learned-positions": ("gpt2-xl", "tpu-v5e", Plan(), Workload(batch=4, isl=512, osl=64)),
    "sliding-window": ("gemma-3-27b", "a100-sxm-80gb", Plan(tp=2), Workload(batch=8, isl=8192, osl=256)),
    "moe-megatron": ("mixtral-8x7b", "h100-sxm", Plan(tp=4), CHAT),
    "moe-expert-parallel": ("mixtral-8x7b", "h100-sxm", Plan(tp=4, strategy="moe-ep"), CHAT),
    "moe-mxfp4": ("gpt-oss-120b", "b200-sxm", Plan(tp=2), CHAT),
    "mla-moe-attention-dp": (
        "deepseek-v3",
        "h200-sxm",
        Plan(dp=32, strategy="attention-dp-moe-ep"),
        Workload(batch=1024, isl=2048, osl=256),
    ),
    "does-not-fit": ("llama-3.1-70b", "rtx-4090", Plan(), Workload(batch=4, isl=1024, osl=128)),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name, golden):
    model, device, plan, workload = CASES[name]
    golden(name, summary(estimate(model, device, plan=plan, workload=workload)))


def summary(estimate: Estimate) -> dict[str, Any]:
    """An estimate without its rows and without what changes with every edit of a profile or a version."""
    record = estimate.to_dict()
    record.pop("provenance")
    record["prefill"] = _phase(estimate.prefill)
    record["decode"] = None if estimate.decode is None else _phase(estimate.decode)
    record["pipeline"] = estimate.provenance.pipeline
    record["grades"] = estimate.provenance.grades
    return _rounded(record)


def _phase(phase: PhaseEstimate) -> dict[str, Any]:
    names = (
        "seconds",
        "bubble_seconds",
        "floor_seconds",
        "mfu",
        "mbu",
        "flops",
        "bytes",
        "network_bytes",
        "bound",
        "seconds_by_family",
        "seconds_by_bound",
    )
    return {name: getattr(phase, name) for name in names} | {"rows": len(phase.rows)}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
