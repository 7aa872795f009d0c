"""One graph of many plans answers what each plan's estimate answers."""

from itertools import product

import numpy as np
import pytest

from gambrel.codegen.plans import DEGREES, Ask, PlanGraph, trace_plans
from gambrel.errors import PlanError
from gambrel.estimation.api import estimate, load, machine
from gambrel.estimation.checks import WORKLOAD_RULES
from gambrel.estimation.points import Plan, Workload

OUTPUTS = ("ttft_s", "tpot_s", "memory_total_bytes", "prefill.bubble_seconds", "decode.by_family")
NUMBERS = ("memory.bandwidth", "links.nvlink.bandwidth")
WORKLOADS = (Workload(batch=48, isl=1500, osl=200), Workload(batch=3, isl=700, osl=5, prefix=300))

CASES = {
    "dense": ("llama-3.1-8b", Plan(), {"tp": (1, 2, 3, 8), "pp": (1, 3), "dp": (1, 4), "ep": (1, 2)}),
    "experts": ("mixtral-8x7b", Plan(), {"tp": (1, 4), "pp": (1, 2), "dp": (1, 4), "ep": (1, 4, 8)}),
    "given": (
        "llama-3.1-8b",
        Plan(microbatches=4, prefill_chunk=256, kv="fp8", engine="vllm-2023-eager"),
        {"tp": (2,), "pp": (1, 4), "dp": (1,), "ep": (1,)},
    ),
}


def traced(name: str) -> PlanGraph:
    model, plan, degrees = CASES[name]
    return trace_plans(
        Ask(
            architecture=load(model),
            device=machine("h200-sxm"),
            plan=plan,
            degrees=degrees,
            numbers=NUMBERS,
            outputs=OUTPUTS,
        )
    )


@pytest.mark.parametrize("name", CASES)
def test_every_combination_is_its_own_estimate(name):
    model, plan, degrees = CASES[name]
    found, device = traced(name), machine("h200-sxm")
    numbers = {"memory.bandwidth": device.memory_bandwidth_bytes_per_s, "links.nvlink.bandwidth": 450e9}
    assert set(found.variants) | set(found.problems) == set(product(*(degrees[d] for d in DEGREES)))
    for values, workload in product(found.variants, WORKLOADS):
        asked = dict(zip(DEGREES, values, strict=True))
        lengths = {n: float(getattr(workload, n)) for n in ("batch", "isl", "osl", "prefix")}
        out = found.graph.evaluate({**numbers, **lengths, **{n: float(v) for n, v in asked.items()}})
        planned = Plan(
            **asked,
            microbatches=plan.microbatches,
            prefill_chunk=plan.prefill_chunk,
            kv=plan.kv,
            engine=plan.engine,
        )
        broken = [out[f"broken.{number}"] for number in range(len(WORKLOAD_RULES))]
        if any(broken):
            with pytest.raises(PlanError):
                estimate(model, device, plan=planned, workload=workload)
            continue
        wanted = estimate(model, device, plan=planned, workload=workload)
        get = {path: float(out[f"{found.variants[values]}.{path}"]) for path in ("ttft_s", "tpot_s")}
        assert get["ttft_s"] == pytest.approx(wanted.ttft_s, rel=1e-12), (values, workload)
        assert get["tpot_s"] == pytest.approx(wanted.tpot_s, rel=1e-12), (values, workload)
        memory = out[f"{found.variants[values]}.memory_total_bytes"]
        assert float(memory) == pytest.approx(wanted.memory.total_bytes, rel=1e-12), (values, workload)


def test_what_cannot_run_says_why():
    found = traced("dense")
    assert found.problems[3, 1, 1, 1].startswith("32 attention heads do not divide over tp: 32 % 3 = 2")
    assert "has no experts" in found.problems[1, 1, 1, 2]
    for values in found.problems:
        with pytest.raises(PlanError):
            estimate("llama-3.1-8b", "h200-sxm", plan=Plan(**dict(zip(DEGREES, values, strict=True))))


def test_numbers_of_the_device_are_inputs():
    found, device = traced("given"), machine("h200-sxm")
    faster = device.memory_bandwidth_bytes_per_s * np.array([1.0, 2.0])
    point = {"batch": 8.0, "isl": 500.0, "osl": 20.0, "prefix": 0.0, "tp": 2.0, "pp": 4.0, "dp": 1.0, "ep": 1.0}
    out = found.graph.evaluate({**point, "memory.bandwidth": faster, "links.nvlink.bandwidth": 450e9})
    times = out[f"{found.variants[2, 4, 1, 1]}.tpot_s"]
    assert times[1] < times[0]


def test_only_what_is_asked_for_is_computed():
    found = traced("given")
    paths = {name.partition(".")[2] for name in found.graph.outputs if not name.startswith("broken")}
    assert all(path.startswith(OUTPUTS) for path in paths)
    assert "latency_s" not in paths
