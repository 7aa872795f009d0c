"""Bounds of measured over predicted: where they come from and what they hold."""

from dataclasses import replace

import numpy as np
import pytest

from gambrel.calibration.families import families, grade_of
from gambrel.calibration.intervals import LEAST_ROWS, SPLIT_S, TAIL, UNKNOWN, Band, band_from, band_of, pooled
from gambrel.calibration.operation import dtype_label
from gambrel.cost.kernel import Attention, Gemm, Transfer
from gambrel.hardware.load import load_device

H100 = load_device("h100-sxm")
KERNEL = Gemm(m=64.0, n=64.0, k=64.0, batch=1.0, rate="fp8", a_bytes=1.0, b_bytes=1.0, c_bytes=2.0, library="vllm")
RATIOS = {"small_lower": 0.5, "small_upper": 2.0, "large_lower": 0.9, "large_upper": 1.1}


def test_families_go_from_the_general_to_the_specific():
    assert families(KERNEL, H100) == ("gemm", "gemm@vllm", "gemm_fp8", "gemm_fp8@vllm")
    transfer = Transfer(op="all_reduce", message_bytes=1e6, group=8, stride=1)
    assert families(transfer, H100) == ("collective_nvlink", "collective_nvlink_all_reduce")


def test_a_decode_kernel_is_of_the_family_of_its_grouping():
    sizes = {"batch": 1.0, "q_len": 1.0, "kv_len": 9.0, "pairs": 9.0, "head_dim": 128.0, "v_head_dim": 128.0}
    widths = {"q_bytes": 2.0, "kv_bytes": 2.0, "kv_bytes_total": 9.0}
    for heads, kv_heads, name in ((8.0, 8.0, "mha"), (32.0, 8.0, "gqa"), (64.0, 1.0, "mqa")):
        kernel = Attention(**sizes, **widths, heads=heads, kv_heads=kv_heads, decode=True, rate="bf16")
        assert families(kernel, H100)[-1] == f"attention_decode_{name}"


def test_the_most_specific_bounds_win():
    given = {"gemm": RATIOS, "gemm_fp8@vllm": {**RATIOS, "large_upper": 1.5}}
    device = replace(H100, uncertainty=given)
    assert band_of(KERNEL, device).large_upper == 1.5
    assert band_of(replace(KERNEL, library="sglang"), device).large_upper == 1.1


def test_a_device_without_bounds_has_the_pooled_ones_of_its_grade():
    bare = replace(H100, uncertainty={}, parameters={}, parameter_grades={})
    assert grade_of(KERNEL, bare) == "datasheet"
    assert band_of(KERNEL, bare) == pooled("datasheet")["gemm_fp8"]
    inherited = replace(bare, parameters={"gemm": {"launch": 1e-6}}, parameter_grades={"gemm": "transferred"})
    assert band_of(KERNEL, inherited) == pooled("transferred")["gemm_fp8"]


def test_a_family_that_was_never_measured_has_wide_bounds():
    kernel = Transfer(op="broadcast", message_bytes=1e6, group=8, stride=1)
    fpga = replace(H100, engine="roofline", uncertainty={})
    assert band_of(KERNEL, fpga) == pooled("datasheet")["roofline"]
    assert band_of(kernel, replace(H100, uncertainty={})) == pooled("datasheet").get("collective_nvlink", UNKNOWN)


def test_intervals_widen_from_calibrated_to_datasheet():
    narrow, wide = pooled("transferred"), pooled("datasheet")
    for family in ("gemm_bf16", "gemm_fp8", "attention_prefill_bf16", "attention_decode_gqa"):
        own = Band(**load_device("h200-sxm").uncertainty[family])
        widths = [np.log(band.large_upper / band.large_lower) for band in (own, narrow[family], wide[family])]
        assert widths[0] < widths[2]
        assert widths[1] < widths[2]


def test_pooled_bounds_hold_the_estimate():
    for grade in ("calibrated", "transferred", "datasheet"):
        for band in pooled(grade).values():
            assert band.small_lower <= 1.0 <= band.small_upper
            assert band.large_lower <= 1.0 <= band.large_upper


def test_small_and_large_estimates_have_bounds_of_their_own():
    lower, upper = Band(**RATIOS).ratios(np.array([SPLIT_S / 2, SPLIT_S, SPLIT_S * 2]))
    assert lower.tolist() == [0.5, 0.5, 0.9]
    assert upper.tolist() == [2.0, 2.0, 1.1]


def test_an_estimate_is_inside_its_own_bounds():
    lower, upper = Band(1.2, 1.5, 0.5, 0.8).ratios(np.array([SPLIT_S / 2, SPLIT_S * 2]))
    assert (lower <= 1.0).all()
    assert (upper >= 1.0).all()


def test_bounds_are_quantiles_of_the_residuals():
    ratios = np.exp(np.linspace(-1.0, 1.0, 201))
    seconds = np.full(201, SPLIT_S * 10)
    band = band_from(seconds, seconds * ratios)
    assert band.large_upper == pytest.approx(np.exp(1.0 - 2.0 * TAIL))
    assert band.large_lower == pytest.approx(np.exp(-1.0 + 2.0 * TAIL))
    assert (band.small_lower, band.small_upper) == pytest.approx((band.large_lower, band.large_upper)), "none small"
    wide = band_from(seconds, seconds * ratios, widened=1.6)
    assert np.log(wide.large_upper) == pytest.approx(1.6 * np.log(band.large_upper))


def test_few_residuals_shape_nothing():
    assert band_from(np.ones(LEAST_ROWS - 1), np.ones(LEAST_ROWS - 1)) is None


def test_formats_are_named_in_one_word():
    assert dtype_label(["bfloat16", "bfloat16"]) == "bfloat16"
    assert dtype_label(["bfloat16", "fp8"]) == "bfloat16 kv fp8"
    assert dtype_label(["bfloat16", ""]) == "bfloat16"
