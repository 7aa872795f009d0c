"""Physics that a profile must respect."""

import pytest

from gambrel.hardware.load import validate_file


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ([("sparse: 40", "sparse: 10")], "compute.matrix.bf16.dense", ["above sparse"]),
        (
            [("per_clock: 2000", "per_clock: 1000")],
            "compute.matrix.bf16.dense",
            ["10 sm x 1 kFLOP/clk x 1 GHz", "+100"],
        ),
        ([("rate: 1 TFLOP/s", "rate: 1 TFLOP/s, per_clock: 90 FLOP/clk")], "compute.vector.rate", ["900 GFLOP/s"]),
        ([("10 MB, bandwidth: 4", "10 MB, bandwidth: 0.5")], "memory.hbm.bandwidth", ["falls outward", "memory.l2"]),
        ([("capacity: 80 GB", "capacity: 9 MB")], "memory.hbm", ["capacity grows outward", "memory.l2", "10 MB"]),
        ([("usable: 99", "usable: 101")], "memory.smem.usable", ["102.4 kB"]),
        ([("idle: 50", "idle: 300")], "power.idle", ["tdp is 300 W"]),
        ([("all_in: 600", "all_in: 200")], "power.all_in", ["tdp is 300 W"]),
        ([("size: 64", "size: 8")], "links.slow.size", ["domains grow outward", "links.fast"]),
        ([("size: 64", "size: 12.5")], "links.slow.size", ["whole number"]),
        ([("bandwidth: 32 GB/s", "bandwidth: 2 TB/s")], "host.dram.bandwidth", ["device memory"]),
        ([("bandwidth: 1 TB/s", "bandwidth: -1 TB/s")], "memory.hbm.bandwidth", ["not positive"]),
        ([("tdp: 300 W", "tdp: 0 W")], "power.tdp", ["not positive"]),
    ],
)
def test_broken_physics(profile_file, changes, field, words):
    problems = validate_file(profile_file(*changes))
    about = [p for p in problems if p.what.startswith(field)]
    assert about, [str(p) for p in problems]
    for word in words:
        assert any(word in str(p) for p in about), about


@pytest.mark.parametrize(("peak", "holds"), [("20.39", True), ("20.41", False), ("19.61", True), ("19.59", False)])
def test_a_peak_is_units_times_width_times_clock_within_two_percent(profile_file, peak, holds):
    # 10 units x 2000 FLOP/clk x 1 GHz = 20 TFLOP/s
    problems = validate_file(profile_file(("dense: 20 ", f"dense: {peak} ")))
    assert (problems == []) is holds


def test_what_is_broken_breaks_no_other_rule(profile_file):
    # An unreadable clock leaves the peak unchecked instead of reporting it as wrong.
    (problem,) = validate_file(profile_file(("core: 1 GHz", "core: 1")))
    assert problem.what.startswith("clocks.core")


def test_scratchpads_of_all_units_may_hold_more_than_the_cache_behind_them(profile_file):
    assert validate_file(profile_file(("capacity: 10 MB", "capacity: 900 KB"))) == []
