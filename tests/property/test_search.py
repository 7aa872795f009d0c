"""A search finds what brute force over scalar estimates finds, on random models and machines."""

import itertools
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gambrel.errors import PlanError
from gambrel.estimation import api
from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.resolve import is_moe
from gambrel.estimation.result import Estimate
from gambrel.estimation.serving import steady_state
from gambrel.frontends.architecture import Architecture
from gambrel.frontends.hf import architecture_from_config
from gambrel.passes.strategies import STRATEGIES
from gambrel.search.front import front
from gambrel.search.metrics import METRICS
from gambrel.search.plan import search
from gambrel.search.space import Space, divisors
from gambrel.search.targets import OBJECTIVES, Limits

BATCHES = (6, 16)
RELATIVE = 1e-9


@st.composite
def models(draw) -> Architecture:
    heads = draw(st.sampled_from([4, 6, 8, 12]))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64 * heads,
        "num_hidden_layers": draw(st.integers(2, 9)),
        "num_attention_heads": heads,
        "num_key_value_heads": draw(st.sampled_from(divisors(heads))),
        "intermediate_size": draw(st.integers(3, 40)) * 64,
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
    }
    if draw(st.booleans()):
        config |= {
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            "head_dim": 64,
            "num_experts": draw(st.sampled_from([4, 6, 8])),
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 256,
            "decoder_sparse_step": 1,
            "norm_topk_prob": True,
            "mlp_only_layers": [],
        }
    return architecture_from_config(config, name="random")


@st.composite
def machines(draw):
    board = draw(st.sampled_from([2, 4, 8]))
    bandwidth, peak, memory = (draw(st.sampled_from([0.25, 1.0, 4.0])) for _ in range(3))
    device = api.machine(draw(st.sampled_from(["h100-sxm", "a100-sxm-80gb", "b200-sxm"])))
    inner, outer = device.links
    return replace(
        device,
        memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s * bandwidth,
        matrix_flops_per_s={name: rate * peak for name, rate in device.matrix_flops_per_s.items()},
        memory_bytes=2e9 * memory,
        links=(replace(inner, size=board), outer),
    )


def every_plan(model: Architecture, space: Space, devices: int, batch: int):
    """All plans by nested loops, whether they can run or not."""
    for tp, pp, cp, dp in itertools.product(divisors(devices), repeat=4):
        if tp * pp * cp * dp != devices:
            continue
        replica = -(-batch // dp)
        parts = sorted({min(pp * n, replica) for n in (1, 2, 4)}) if pp > 1 else [1]
        steps = sorted({min(pp * n, replica) for n in (1, 2)}) if pp > 1 else [1]
        for strategy, ep in itertools.product(STRATEGIES, divisors(devices)):
            if strategy in ("megatron", "sequence-parallel", "attention-dp") and ep > 1:
                continue
            if strategy == "attention-dp" and (is_moe(model) or dp == 1):
                continue  # not in the space
            for prefill, decode, halves, chunk in itertools.product(
                parts, steps, space.sub_batches, space.prefill_chunks
            ):
                for placement in space.placements:
                    yield Plan(
                        strategy=strategy,
                        tp=tp,
                        pp=pp,
                        dp=dp,
                        cp=cp,
                        ep=ep,
                        prefill_microbatches=prefill,
                        microbatches=decode,
                        sub_batches=halves,
                        prefill_chunk=chunk,
                        placement=placement,
                    )


NARROW = Space(batches=BATCHES, prefill_chunks=(512,), placements=PLACEMENTS[:1], sub_batches=(1,))
SPACES = (
    replace(NARROW, prefill_chunks=(100_000, 512)),
    replace(NARROW, placements=(PLACEMENTS[0], "pp-dp-cp-tp")),
    replace(NARROW, sub_batches=(1, 2)),
)
"""Each opens one of the choices that multiply the scalar estimates."""


def metrics_of(found: Estimate) -> dict[str, float]:
    seconds = found.latency_s
    return {
        "ttft_s": found.ttft_s,
        "tpot_s": found.tpot_s,
        "latency_s": found.latency_s,
        "tokens_per_s": found.tokens_per_s,
        "tokens_per_s_per_device": found.tokens_per_s_per_device,
        "tokens_per_s_per_user": 1.0 / found.tpot_s,
        "memory_bytes": found.memory.total_bytes,
        "energy_per_token_j": found.energy_per_token_j,
        "power_w": found.energy_j / seconds,
        "usd_per_million_tokens": found.usd_per_million_tokens,
    }


@given(
    model=models(),
    device=machines(),
    devices=st.sampled_from([2, 3, 4]),
    isl=st.sampled_from([64, 700, 2000]),
    objective=st.sampled_from(["tokens_per_s_per_device", "latency", "energy", "ttft"]),
    strictness=st.sampled_from([None, 0.2, 0.6]),
    space=st.sampled_from(SPACES),
)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_optimum_is_that_of_brute_force(model, device, devices, isl, objective, strictness, space):
    device = replace(device, price_usd_per_h=2.0)
    work = Workload(isl=isl, osl=64)
    brute: list[tuple[Plan, dict[str, float]]] = []
    for batch in BATCHES:
        for plan in every_plan(model, space, devices, batch):
            try:
                found = api.estimate(model, device, plan=plan, workload=replace(work, batch=batch), devices=devices)
            except PlanError:
                continue
            if found.feasible:
                brute.append((plan, metrics_of(found)))
    limits = Limits()
    if strictness is not None and brute:
        limits = Limits(tpot_s=float(np.quantile([its["tpot_s"] for _, its in brute], strictness)))
    met = [its for _, its in brute if limits.tpot_s is None or its["tpot_s"] <= limits.tpot_s]
    try:
        result = search(
            model, device, devices=devices, workload=work, limits=limits, objective=objective, space=space, points=True
        )
    except PlanError:
        assert not brute
        return
    assert result.feasible is bool(met)
    if not met:
        assert result.infeasible is not None
        assert result.infeasible.tightest.ratio > 1.0
        return
    metric = METRICS[OBJECTIVES[objective]]
    best = (max if metric.higher_is_better else min)(its[metric.name] for its in met)
    first = result.best[0]
    assert first.metrics[metric.name] == pytest.approx(best, rel=RELATIVE)
    for choice in (*result.best, *result.front):
        again = api.estimate(model, device, plan=choice.plan, workload=choice.workload, devices=devices)
        assert again.feasible
        for name, value in metrics_of(again).items():
            assert choice.metrics[name] == pytest.approx(value, rel=RELATIVE), name
    axes = np.array([[its[name] for name in result.front_metrics] for its in met])
    assert not any((axes > point * (1 + RELATIVE)).all(axis=1).any() for point in _axes(result))


def _axes(result):
    return [np.array([choice.metrics[name] for name in result.front_metrics]) for choice in result.front]


@pytest.mark.parametrize(
    ("model", "machine", "weights", "engine"),
    [
        ("llama-3.1-8b", "h100-sxm", None, "ideal"),
        ("qwen3-30b-a3b", "b200-sxm", None, "ideal"),
        ("llama-3.1-8b", "tpu-v5e", None, "ideal"),
        ("llama-3.1-8b", "h100-sxm", "fp8", "vllm"),
        ("qwen3-30b-a3b", "h100-sxm", "fp8", "tensorrt-llm"),
    ],
)
def test_every_kept_point_is_the_estimate_of_its_plan(model, machine, weights, engine):
    # Variants of a search have axes along which a plan has one device: they must cost nothing, whatever overlaps.
    space = Space(
        batches=(16, 96), sub_batches=(1, 2), prefill_chunks=(100_000, 512), weights=(weights,), engine=engine
    )
    found = search(model, machine, devices=4, workload=Workload(isl=1000, osl=50), space=space, points=True)
    halves = [choice for choice in found.points if choice.plan.sub_batches == 2]
    for choice in (*found.best, *halves[::7], *found.points[::29]):
        again = api.estimate(model, machine, plan=choice.plan, workload=choice.workload)
        for name in ("ttft_s", "tpot_s", "tokens_per_s", "energy_per_token_j"):
            assert choice.metrics[name] == pytest.approx(getattr(again, name), rel=RELATIVE), (name, choice.plan)


@lru_cache
def continuous(model: str, devices: int):
    work = Workload(isl=1024, osl=128)
    space = Space(batches=(8, 32), placements=(PLACEMENTS[0],), prefill_chunks=(100_000,), engine="vllm")
    return search(model, "h100-sxm", devices=devices, workload=work, batching="continuous", space=space)


@pytest.mark.parametrize(("model", "devices"), [("llama-3.1-8b", 4), ("qwen3-30b-a3b", 4)])
def test_a_continuous_batch_is_that_of_steady_state(model, devices):
    result = continuous(model, devices)
    assert result.best
    for choice in result.best:
        again = steady_state(model, "h100-sxm", plan=choice.plan, workload=choice.workload, devices=devices)
        assert again.fits
        for name in ("ttft_s", "tpot_s", "latency_s", "tokens_per_s", "tokens_per_s_per_device"):
            assert choice.metrics[name] == pytest.approx(getattr(again, name), rel=RELATIVE), name


@given(
    rows=st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=40),
    columns=st.sampled_from([2, 3]),
)
def test_a_front_is_what_nothing_beats(rows, columns):
    values = np.array([row[:columns] for row in rows], dtype=np.float64).reshape(-1, columns)
    kept = front(values)
    assert len({tuple(values[i]) for i in kept}) == len(kept)
    for i, point in enumerate(values):
        beaten = any((other >= point).all() and (other > point).any() for other in values)
        same = [k for k in kept if (values[k] == point).all()]
        assert len(same) == (0 if beaten else 1), i


def test_every_point_is_priced_or_left_out_for_a_reason():
    space = Space(batches=(8,), prefill_chunks=(512,), strategies=("megatron",))
    counts = search("llama-3.1-8b", "h100-sxm", devices=8, workload=Workload(isl=4000, osl=64), space=space).counts
    # Ordered ways to write 8 as a product of tp, pp, cp and dp, all of which run: 2 sub-batches without stages, else 3
    # micro-batches of prefill times 2 of decode, each in 24 placements.
    degrees = [(tp, pp) for tp, pp, cp, dp in itertools.product((1, 2, 4, 8), repeat=4) if tp * pp * cp * dp == 8]
    whole = sum(24 * (2 if pp == 1 else 6) for _, pp in degrees)
    assert counts.priced + sum(counts.pruned.values()) == whole
    assert counts.priced == counts.fit == counts.met > 0


def test_the_same_question_has_the_same_answer():
    first, second = (
        search("llama-3.1-8b", "h100-sxm", devices=4, workload=Workload(isl=512, osl=32)) for _ in range(2)
    )
    assert first.to_dict() == second.to_dict()
