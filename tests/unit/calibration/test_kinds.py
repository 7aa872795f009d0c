"""Kinds of attention kernels: which a library may run, and that a calibration finds the one whose times it is given."""

from dataclasses import replace

import numpy as np
import pytest

from gambrel.calibration.calibrate import calibrate, refit
from gambrel.calibration.kinds import CAPTURED, SWAPPED, TRITON, UNSPLIT, WIDENING, kinds_of
from gambrel.calibration.measurements import measurements
from gambrel.calibration.predict import predict_kernels
from gambrel.calibration.priors import SOME_KINDS
from gambrel.calibration.tables import operation_named
from gambrel.calibration.transfer import without_fits
from gambrel.cost.engines.lookup import resolve
from gambrel.cost.engines.parameters import Decode, Prefill
from gambrel.cost.engines.variant_defaults import RULES

H100 = without_fits("h100-sxm")


def table(count: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    return {
        "batch": 2.0 ** rng.integers(0, 8, count),
        "kv_len": 2.0 ** rng.integers(4, 15, count),
        "num_heads": np.full(count, 32.0),
        "num_kv_heads": 2.0 ** rng.integers(0, 4, count),
        "head_dim": np.full(count, 128.0),
        "window": np.where(rng.random(count) < 0.5, 1024.0, 0.0),
        "dtype": ["bfloat16"] * count,
        "backend": ["vllm"] * count,
        "source": ["aiconfigurator"] * count,
    }


@pytest.mark.parametrize("kind", [UNSPLIT, SWAPPED], ids=["unsplit", "swapped"])
def test_a_calibration_finds_the_kind_that_was_measured(kind):
    true = replace(H100, parameters={"attention_decode_gqa@vllm": dict(kind)})
    rows = table(60)
    seconds = predict_kernels("attention_decode", true, rows).seconds
    parts = [measurements({**rows, "latency_us": seconds * 1e6}, operation_named("attention_decode"), "times.csv")]
    own = refit(H100, parts).parameters["attention_decode_gqa@vllm"]
    found = resolve(Decode(), replace(H100, parameters={"attention_decode_gqa": own}), "attention_decode", ("gqa",))
    names = ("split_waves", "window_apart")
    assert {name: getattr(found, name) for name in names} == {name: kind[name] for name in names}
    families = {each.family: each.values for each in calibrate(H100, parts, report=lambda _: None).families}
    assert families["attention_decode_gqa@vllm"] == pytest.approx(own)


def test_a_device_whose_set_is_known_keeps_its_kind():
    """Rows that another kind explains: those of a few shapes are no reason to doubt what a generation runs."""
    rows = table(60)
    true = replace(H100, parameters={"attention_decode_gqa@vllm": dict(UNSPLIT)})
    seconds = predict_kernels("attention_decode", true, rows).seconds
    parts = [measurements({**rows, "latency_us": seconds * 1e6}, operation_named("attention_decode"), "times.csv")]
    sibling = replace(H100, parameters={"attention_decode_gqa@vllm": dict(SWAPPED)})
    own = refit(sibling, parts).parameters["attention_decode_gqa@vllm"]
    assert {name: own[name] for name in ("split_waves", "window_apart")} == {"split_waves": 2.0, "window_apart": 1.0}


def test_kinds_are_those_of_the_library_and_what_it_runs():
    assert CAPTURED in kinds_of("attention_decode_gqa@vllm")
    assert CAPTURED not in kinds_of("attention_decode_gqa@trtllm")
    assert WIDENING in kinds_of("attention_decode_mla_kv8@sglang")
    assert WIDENING not in kinds_of("attention_decode_gqa_kv8@sglang")
    assert set(map(str, TRITON)) <= set(map(str, kinds_of("attention_decode_gqa_d512@vllm")))
    assert all(kind["append_block_time"] > 0 for kind in kinds_of("attention_prefill@vllm"))
    assert not any("append_block_time" in kind for kind in kinds_of("attention_prefill@trtllm"))
    assert kinds_of("attention_decode_gqa") == kinds_of("attention_prefill") == kinds_of("gemm@vllm") == ()


@pytest.mark.parametrize("family", ["attention_decode_gqa@vllm", "attention_prefill@vllm"])
def test_a_kind_gives_rules_and_where_a_fit_starts(family):
    known = Decode() if "decode" in family else Prefill()
    for kind in kinds_of(family):
        assert all(hasattr(known, name) for name in kind)
        assert all(name in RULES for name in kind if name not in (*SOME_KINDS, "compute_efficiency"))
