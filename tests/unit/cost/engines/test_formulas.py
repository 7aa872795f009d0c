"""Each engine's formula on a shape where one term can be written down."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, TPU, decode, gemm, grouped, prefill, stream, transfer

from gambrel.cost.engines import COLD, Residency, lookup, parameters, price, variant_defaults
from gambrel.cost.engines.collective_defaults import collective_default, known_of_library
from gambrel.cost.engines.parts import cached_share, memory_seconds, p_norm
from gambrel.cost.kernel import BOUNDS
from gambrel.cost.roofline import kernel_bytes, kernel_flops
from gambrel.hardware.device import Device


def with_parameters(family: str, **values: float) -> Device:
    return replace(GPU, parameters={family: values})


def test_memory_path_ramps_up_and_serves_hot_bytes_from_the_cache() -> None:
    assert memory_seconds(8e6, 6e6, 4e12, 1e-6, 12e12) == 8e6 / 4e12 + 1e-6 * 8e6 / (8e6 + 4e6) + 6e6 / 12e12
    assert memory_seconds(0.0, 0.0, 4e12, 1e-6, 12e12) == 0.0
    assert cached_share(100.0, 50.0) == 0.25


def test_p_norm() -> None:
    assert p_norm(3.0, 4.0, 2.0) == pytest.approx(5.0)
    assert p_norm(0.0, 0.0, 3.0) == 0.0


def test_gemm_of_one_full_wave() -> None:
    """100 tiles of 128 x 128 on 100 units: one wave whatever the hardness, nothing reloaded."""
    free = {"launch": 2e-6, "wave_overhead": 1e-6, "memory_ramp": 0.0, "slice_latency": 0.0, "cache_share": 1.0}
    gpu = with_parameters("gemm", **free, load_bytes_per_clock_per_unit=1e12, memory_efficiency=1e6)
    efficiency = parameters.Gemm().compute_efficiency
    expected = 2e-6 + 1e-6 + 4096 * 2 * 128 * 128 / (efficiency * 1e15 / 100)
    assert price(gemm(1280.0, 1280.0, 4096.0), gpu).seconds == pytest.approx(expected, rel=1e-6)


def test_gemm_slows_down_past_the_sustained_limit() -> None:
    kernel = gemm(65536.0, 65536.0, 8192.0)
    fast = with_parameters("gemm", sustained_share=1.0)
    slow = with_parameters("gemm", sustained_share=0.5)
    seconds = price(kernel, fast).seconds
    assert price(kernel, slow).seconds == pytest.approx(5e-3 + 2 * (seconds - 5e-3))


@pytest.mark.parametrize(("rate", "row_time"), [(1e9, 0.0), (3.0, 0.0), (3.0, 1e-6)])
def test_gemm_with_a_separate_quantise_kernel(rate: float, row_time: float) -> None:
    """Its bytes bound it, or the elements that its units narrow."""
    gpu = with_parameters("gemm_fp8", quantize_per_clock_per_unit=rate, quantize_row_time=row_time)
    kernel = replace(gemm(512.0), rate="fp8", a_bytes=1.0, b_bytes=1.0)
    streamed = 512 * 4096 * (2 + 1) / (parameters.Gemm().memory_efficiency * 4e12)
    narrowed = 512 / GPU.num_units * (row_time + 4096 / (rate * GPU.clock_hz))
    extra = price(replace(kernel, quantized_from_bytes=2.0), gpu).seconds - price(kernel, gpu).seconds
    launch = variant_defaults.FORMAT_DEFAULTS["gemm_fp8"]["quantize_launch"]
    assert extra == pytest.approx(launch + max(streamed, narrowed))


def test_gemm_parameters_of_a_rate_come_before_the_family() -> None:
    gpu = replace(GPU, parameters={"gemm": {"launch": 1e-3}, "gemm_fp8": {"launch": 2e-3}})
    eight, launch = replace(gemm(16.0), rate="fp8"), variant_defaults.FORMAT_DEFAULTS["gemm_fp8"]["launch"]
    assert price(eight, gpu).seconds - price(eight, GPU).seconds == pytest.approx(2e-3 - launch)


def test_a_measuring_loop_finds_its_operands_in_the_cache() -> None:
    hot = Residency(activations_hot=True, weight_copies=1.0)
    assert price(gemm(256.0, 1024.0, 1024.0), GPU, hot).seconds < price(gemm(256.0, 1024.0, 1024.0), GPU).seconds
    assert price(stream(256.0), GPU, hot).seconds < price(stream(256.0), GPU, COLD).seconds


def test_a_cache_is_no_slower_than_the_memory_behind_it() -> None:
    hot, free = Residency(activations_hot=True, weight_copies=1.0), {"memory_ramp": 0.0, "cache_share": 1.0}
    slow = with_parameters("gemm", **free, cache_bytes_per_clock_per_unit=1e-3)
    cold = price(gemm(16.0, 1024.0, 1024.0), slow).seconds
    assert price(gemm(16.0, 1024.0, 1024.0), slow, hot).seconds == pytest.approx(cold)


FREE_EXPERTS = {
    "launch": 3e-6,
    "wave_overhead": 0.0,
    "memory_ramp": 0.0,
    "slice_latency": 0.0,
    "pair_time": 0.0,
    "expert_time": 0.0,
    "foreign_passes": 0.0,
    "staging_passes": 0.0,
    "load_bytes_per_clock_per_unit": 1e12,
}
"""Expert products whose only costs are a launch, arithmetic and memory."""


def test_grouped_gemm_streams_the_hit_experts() -> None:
    kernel = grouped(8.0)
    gpu = with_parameters("grouped_gemm", **FREE_EXPERTS, memory_efficiency=0.5, compute_efficiency=1e9)
    assert price(kernel, gpu).seconds == pytest.approx(3e-6 + kernel_bytes(kernel) / (0.5 * 4e12), rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "offered", "tile", "count"),
    [(160.0, 160.0, 32.0, 1.0), (160.0, 640.0, 128.0, 1.0), (800.0, 800.0, 64.0, 2.0)],
)
def test_the_tile_of_experts_follows_the_rows_that_they_are_offered(
    rows: float, offered: float, tile: float, count: float
) -> None:
    """8 of 8 experts with the same rows: `count` tiles each, of which 16 columns of 128 make 128 on 100 units."""
    kernel = replace(grouped(rows), experts=8.0, offered_rows=offered, even=True)
    free = {**FREE_EXPERTS, "wave_hardness": 0.0, "cache_bytes_per_clock_per_unit": 1e9}
    gpu = with_parameters("grouped_gemm", **free, compute_efficiency=0.5, largest_tile=max(tile, 64.0))
    waves = 8 * count * (2048 / 128) / 100
    expected = 3e-6 + waves * 4096 * 2 * tile * 128 / (0.5 * 1e15 / 100)
    assert price(kernel, gpu, Residency(working_set_bytes=1.0)).seconds == pytest.approx(expected)


def test_uneven_experts_have_half_a_tile_more_each() -> None:
    """Rows spread exponentially about 1024: 1/(1 - exp(-64/1024)) tiles, 16.5 within a hundredth."""
    kernel = replace(grouped(8192.0), experts=8.0)
    free = {**FREE_EXPERTS, "wave_hardness": 0.0, "memory_efficiency": 1e6}
    gpu = with_parameters("grouped_gemm", **free, compute_efficiency=0.5)
    even = price(replace(kernel, even=True), gpu).seconds - 3e-6
    assert (price(kernel, gpu).seconds - 3e-6) / even == pytest.approx(16.5 / 16, rel=1e-2)


def test_rows_that_are_no_multiple_of_a_word_load_slowly() -> None:
    free = {**FREE_EXPERTS, "load_bytes_per_clock_per_unit": 1.0, "memory_efficiency": 1e6, "compute_efficiency": 1e9}
    gpu = with_parameters("grouped_gemm", **free, unaligned_load_share=0.1)
    aligned, other = (price(grouped(8.0, k=k), gpu).seconds - 3e-6 for k in (1024.0, 1032.0))
    assert other / aligned == pytest.approx(10 * 1032 / 1024)


def test_sorting_and_staging_of_experts_add_their_time() -> None:
    kernel = replace(grouped(64.0), offered_rows=512.0)
    gpu = with_parameters("grouped_gemm", pair_time=0.0, staging_passes=0.0, memory_efficiency=0.5)
    more = with_parameters("grouped_gemm", pair_time=2e-9, staging_passes=3.0, memory_efficiency=0.5)
    extra = 512 * 2e-9 + 3 * 64 * (4096 + 2048) * 2 / (0.5 * 4e12)
    assert price(kernel, more).seconds - price(kernel, gpu).seconds == pytest.approx(extra)


def test_each_expert_of_the_device_takes_its_time_hit_or_not() -> None:
    few, many = (replace(grouped(8.0), experts=experts) for experts in (64.0, 256.0))
    gpu = with_parameters("grouped_gemm", **FREE_EXPERTS | {"expert_time": 1e-7})
    assert price(many, gpu).seconds - price(few, gpu).seconds == pytest.approx(192e-7)


def test_kernels_write_zeros_for_pairs_of_other_devices() -> None:
    """512 pairs are offered, 64 of them are the device's: 448 rows of 2048 results in two bytes, twice."""
    kernel = replace(grouped(64.0), offered_rows=512.0)
    gpu, more = (with_parameters("grouped_gemm", foreign_passes=passes, memory_efficiency=0.5) for passes in (0.0, 2.0))
    extra = 2 * 448 * 2048 * 2 / (0.5 * 4e12)
    assert price(kernel, more).seconds - price(kernel, gpu).seconds == pytest.approx(extra)
    alone = replace(kernel, offered_rows=None)
    assert price(alone, more).seconds == price(alone, gpu).seconds


def test_a_loop_that_fits_the_cache_finds_the_experts_there() -> None:
    """Half the working set fits, so a quarter of the bytes come from the cache, at 40 bytes a clock and unit."""
    kernel = grouped(8.0, hit=1.0)
    free = {**FREE_EXPERTS, "compute_efficiency": 1e9, "memory_efficiency": 1.0, "cache_share": 1.0}
    gpu = with_parameters("grouped_gemm", **free, cache_bytes_per_clock_per_unit=40.0)
    hot = price(kernel, gpu, Residency(working_set_bytes=100e6)).seconds - 3e-6
    size = kernel_bytes(kernel)
    assert hot == pytest.approx(0.75 * size / 4e12 + 0.25 * size / (40 * 2e9 * 100), rel=1e-6)
    assert price(kernel, gpu, Residency(working_set_bytes=1e6)).seconds < kernel_bytes(kernel) / 4e12 + 3e-6


def test_a_library_has_its_own_defaults_on_any_device() -> None:
    kernel = replace(grouped(8.0), library="sglang-trtllm")
    fused = variant_defaults.LIBRARY_DEFAULTS["grouped_gemm@sglang-trtllm"]["launch"]
    saved = parameters.GroupedGemm().launch - fused
    assert price(grouped(8.0), GPU).seconds - price(kernel, GPU).seconds == pytest.approx(saved)
    own = with_parameters("grouped_gemm@sglang-trtllm", launch=1e-3)
    assert price(kernel, own).seconds - price(kernel, GPU).seconds == pytest.approx(1e-3 - fused)


def test_prefill_of_many_tiles() -> None:
    """Exponentials for free, so a tile costs its matrix work; 16384 tiles on 100 units, then half the longest tile."""
    free = {"launch": 0.0, "tile_overhead": 0.0, "exponentials_per_clock_per_unit": 1e9, "compute_efficiency": 0.5}
    gpu = with_parameters("attention_prefill", **free, mask_keys=128.0)
    per_key = 2 * 128 * 256 / (0.5 * 1e15 / 100)
    mean = (4096 + 1) / 2 + 127 / 2
    tiles = 16 * 32 * 4096 / 128
    expected = tiles * per_key * mean / 100 + 0.5 * per_key * 4096
    assert price(prefill(16.0, 4096.0), gpu).seconds == pytest.approx(expected, rel=1e-9)


def test_prefill_prologue_rewrites_queries_keys_and_values() -> None:
    p = lookup.resolve(parameters.Prefill(), GPU, "attention_prefill", "bf16")
    queries, new_keys = 16 * 4096 * 32 * 128, 16 * 4096 * 8 * 256
    extra = (p.prologue_passes * queries + p.append_passes * new_keys) * 2 * 2 / (p.memory_efficiency * 4e12)
    plain = price(prefill(16.0, 4096.0), GPU).seconds
    assert price(prefill(16.0, 4096.0, prologue=True), GPU).seconds - plain == pytest.approx(extra)


def test_heads_that_share_no_tile_take_one_each() -> None:
    """16 queries of 32 heads: 8 packed tiles of key heads a sequence, or 32 narrow ones."""
    apart, packed = (with_parameters("attention_prefill", packing=x, launch=0.0) for x in (0.0, 1.0))
    assert price(prefill(256.0, 16.0), apart).seconds > 2.0 * price(prefill(256.0, 16.0), packed).seconds


def test_a_window_masks_keys_at_both_ends() -> None:
    """4096 queries that see 512 keys each: a tile touches 512 + 127 keys."""
    free = {"launch": 0.0, "tile_overhead": 0.0, "exponentials_per_clock_per_unit": 1e9, "compute_efficiency": 0.5}
    kernel = replace(prefill(16.0, 4096.0), pairs=4096.0 * 512.0)
    gpu = with_parameters("attention_prefill", **free, mask_keys=128.0)
    per_key = 2 * 128 * 256 / (0.5 * 1e15 / 100)
    expected = 16 * 32 * 32 * per_key * 639 / 100 + 0.5 * per_key * 2 * 639
    assert price(kernel, gpu).seconds == pytest.approx(expected, rel=1e-9)


def test_few_queries_of_a_group_share_a_tile() -> None:
    """Four query heads to a key head: up to 32 queries of a sequence are one tile of a key head."""
    packed = with_parameters("attention_prefill", packing=1.0, launch=0.0)
    assert price(prefill(256.0, 32.0), packed).seconds < 0.5 * price(prefill(256.0, 128.0), packed).seconds


def test_decode_of_a_large_batch_streams_its_cache() -> None:
    kernel = decode(256.0, 8192.0)
    p = replace(parameters.Decode())
    free = {"block_bytes_per_s": 1e15, "block_overhead": 0.0, "result_elements_per_clock_per_unit": 1e12}
    gpu = with_parameters("attention_decode", memory_ramp=0.0, **free)
    expected = p.launch + kernel_bytes(kernel) / (p.memory_efficiency * 4e12)
    assert price(kernel, gpu).seconds == pytest.approx(expected)


def test_decode_splits_long_keys_over_idle_units() -> None:
    """One key head of one sequence is one block; splits divide its stream among units, at the cost of the fix-up."""
    kernel = decode(1.0, 65536.0, kv_heads=1.0, heads=8.0)
    one_block = 65536 * 256 * 2 / parameters.Decode().block_bytes_per_s
    assert price(kernel, GPU).seconds < one_block / 4


def test_decode_kernel_classes_have_their_own_parameters() -> None:
    slow = {
        f"attention_decode_{name}": {"launch": seconds} for name, seconds in (("mha", 1.0), ("gqa", 2.0), ("mqa", 3.0))
    }
    kernel = decode(1.0, 128.0, kv_heads=np.array([32.0, 8.0, 0.5]), heads=32.0)
    assert np.floor(price(kernel, replace(GPU, parameters=slow)).seconds).tolist() == [1.0, 2.0, 3.0]


NVLINK, IB = GPU.links
"""400 GB/s and 1 us among 8, 50 GB/s and 5 us beyond."""


def ramped(sent: float, bytes_per_s: float, ramp: float) -> float:
    return sent / bytes_per_s + ramp * sent / (sent + ramp * bytes_per_s)


def test_small_all_gather_is_low_latency_and_large_is_a_ring() -> None:
    p = collective_default(NVLINK, "all_gather")
    small, large = transfer(8e3, 8.0, "all_gather"), transfer(8e9, 8.0, "all_gather")
    low = p.low_latency_launch + 7 * p.low_latency_hop + 7 / 8 * 8e3 / (p.low_latency_efficiency * 400e9)
    wire = ramped((7 / 8 + p.local_passes) * 8e9, p.ring_efficiency * 400e9, p.ramp)
    ring = p.ring_launch + 7 * p.ring_hop + wire
    assert price(small, GPU).seconds == pytest.approx(low)
    assert price(large, GPU).seconds == pytest.approx(ring)
    assert [BOUNDS[int(price(x, GPU).bound)] for x in (small, large)] == ["latency", "network"]


def test_a_small_all_reduce_reads_the_buffers_of_all_others() -> None:
    p = collective_default(NVLINK, "all_reduce")
    one_shot = p.one_shot_launch + 7 * p.low_latency_hop + 7 * 1024.0 / (p.low_latency_efficiency * 400e9)
    assert price(transfer(1024.0, 8.0), GPU).seconds == pytest.approx(one_shot)


def test_hops_without_measurements_follow_the_latency_of_the_link() -> None:
    near, far = (replace(NVLINK, latency_s=latency) for latency in (1e-6, 3e-6))
    p, slower = collective_default(near, "all_gather"), collective_default(far, "all_gather")
    assert slower.ring_hop == pytest.approx(3 * p.ring_hop)
    assert slower.low_latency_hop == pytest.approx(3 * p.low_latency_hop)
    assert slower.ring_launch == p.ring_launch


def test_what_is_known_of_a_library_counts_after_what_others_showed_and_before_its_own() -> None:
    known = known_of_library(NVLINK, "all_reduce", "nccl")
    family = "collective_nvlink_all_reduce"
    shown = replace(GPU, parameters={family: {"one_shot_launch": 1e-6, "low_latency_launch": 1e-6}})
    tiny = replace(transfer(1e-3, 2.0), library="nccl")
    first = min(known["one_shot_launch"], known["low_latency_launch"])
    assert price(tiny, shown).seconds == pytest.approx(first + known["low_latency_hop"])
    own = replace(shown, parameters={**shown.parameters, f"{family}@nccl": {"one_shot_launch": 2e-6}})
    assert price(tiny, own).seconds == pytest.approx(2e-6 + known["low_latency_hop"])


def test_a_call_that_the_host_issues_takes_as_long_as_the_host() -> None:
    gpu = replace(GPU, parameters={"collective_nvlink@a": {"issue_floor": 50e-6}, "gemm@a": {"issue_floor": 70e-6}})
    assert price(replace(transfer(1024.0, 8.0), library="a"), gpu).seconds == 50e-6
    assert price(replace(gemm(16.0), library="a"), gpu).seconds == 70e-6
    assert price(gemm(16.0), gpu).seconds == price(gemm(16.0), GPU).seconds


def test_a_library_without_search_takes_its_tile_from_the_rows() -> None:
    """128 x 128 tiles for 1024 rows: 8 x 32 of them on 100 units."""
    free = {"wave_overhead": 0.0, "memory_ramp": 0.0, "slice_latency": 0.0, "cache_share": 1.0, "wave_hardness": 1.0}
    gpu = with_parameters(
        "gemm", **free, tile_search=0.0, load_bytes_per_clock_per_unit=1e12, memory_efficiency=1e6, overlap_norm=1.0
    )
    p = parameters.Gemm()
    expected = p.launch + 3 * 4096 * 2 * 128 * 128 / (p.compute_efficiency * 1e15 / 100)
    assert price(gemm(1024.0), gpu).seconds == pytest.approx(expected, rel=1e-5)


def test_a_library_without_small_tiles_takes_a_large_one() -> None:
    """One row and one column of 4096: a tile of 128 x 128 each, on one of 100 units, or one of 16 x 64."""
    free = {"wave_overhead": 0.0, "memory_ramp": 0.0, "slice_latency": 0.0, "wave_hardness": 1.0, "split_overhead": 1.0}
    fast = {**free, "memory_efficiency": 1e6, "load_bytes_per_clock_per_unit": 1e12}
    p = parameters.Gemm()
    for least, area in ((16.0, 16 * 64), (128.0, 128 * 128)):
        expected = p.launch + 4096 * 2 * area / (p.compute_efficiency * 1e15 / 100)
        seconds = price(gemm(1.0, 1.0, 4096.0), with_parameters("gemm", **fast, least_tile=least)).seconds
        assert seconds == pytest.approx(expected, rel=1e-3)


def test_several_products_at_once_are_a_variant() -> None:
    gpu = replace(GPU, parameters={"gemm_bf16_batched": {"launch": 1.0}})
    assert price(gemm(16.0, batch=2.0), gpu).seconds > 1.0
    assert price(gemm(16.0), gpu).seconds == price(gemm(16.0), GPU).seconds
    mixed = price(gemm(16.0, batch=np.array([1.0, 2.0])), gpu).seconds
    assert mixed.max() < 1.0, "a kernel whose rows are of both kinds is of neither"


def test_products_on_the_vector_units_have_larger_tiles() -> None:
    plain = lookup.resolve(parameters.Gemm(), GPU, "gemm", "fp32")
    assert plain.least_tile == variant_defaults.VARIANTS["gemm_fp32"]["least_tile"] > parameters.Gemm().least_tile


def test_narrow_weights_are_widened_at_the_rate_of_the_units() -> None:
    """One tile of 16 x 64 on a unit, all else free: 4096 rows of 64 weights at one per clock."""
    fast = {"memory_efficiency": 1e6, "load_bytes_per_clock_per_unit": 1e12, "slice_latency": 0.0, "memory_ramp": 0.0}
    gpu = with_parameters(
        "gemm", **fast, unpack_per_clock_per_unit=1.0, wave_overhead=0.0, compute_efficiency=1e6, split_overhead=1.0
    )
    kernel = replace(gemm(16.0, 6400.0, 4096.0), b_bytes=0.5)
    assert price(kernel, gpu).seconds == pytest.approx(parameters.Gemm().launch + 4096 * 64 / 2e9, rel=1e-3)


def test_the_switch_reduces_from_four_members() -> None:
    p = collective_default(NVLINK, "all_reduce")
    fast = replace(GPU, parameters={"collective_nvlink": {"in_network_efficiency": 1.0}})
    switch = p.ring_launch + 2 * p.ring_hop + ramped((1 + 1 / 8) * 8e9, 400e9, p.ramp)
    assert price(transfer(8e9, 8.0), fast).seconds == pytest.approx(switch)
    wire = ramped((2 * 1 / 2 + p.local_passes) * 8e9, p.ring_efficiency * 400e9, p.ramp)
    ring = p.ring_launch + p.ring_hop + wire
    assert price(transfer(8e9, 2.0), fast).seconds == pytest.approx(ring)


def test_a_hierarchical_collective_is_the_sum_of_its_levels() -> None:
    both = price(transfer(1e9, 16.0, "all_gather"), GPU).seconds
    inner = price(transfer(1e9, 8.0, "all_gather"), GPU).seconds
    outer = price(transfer(1e9 / 8, 2.0, "all_gather", stride=8.0), GPU).seconds
    assert both == pytest.approx(inner + outer)


def test_a_permute_between_boxes_takes_one_hop_of_the_outer_link() -> None:
    p = collective_default(IB, "permute")
    expected = p.ring_launch + 5e-6 + 1e9 / (p.ring_efficiency * 50e9)
    assert price(transfer(1e9, 4.0, "permute", stride=8.0), GPU).seconds == pytest.approx(expected)


def test_devices_that_do_not_fill_a_node_leave_it_early() -> None:
    alone = replace(transfer(1e9, 2.0, "permute"), per_node=1.0)
    assert price(alone, GPU).seconds == price(transfer(1e9, 2.0, "permute", stride=8.0), GPU).seconds
    half = replace(transfer(1e9, 8.0, "all_gather"), per_node=4.0)
    inner = price(transfer(1e9, 4.0, "all_gather"), GPU).seconds
    outer = price(transfer(1e9 / 4, 2.0, "all_gather", stride=8.0), GPU).seconds
    assert price(half, GPU).seconds == pytest.approx(inner + outer)


def test_the_devices_of_a_node_share_its_port() -> None:
    """Over the outer link alone, half as much bandwidth for each of two, a quarter for each of four."""
    shared = replace(GPU, parameters={"collective_ib": {"sharing": 1.0, "local_passes": 0.0}})
    p = collective_default(IB, "all_gather")

    def outer(inside: float) -> float:
        group = replace(transfer(1e10, 2.0 * inside, "all_gather"), per_node=inside)
        return float(price(group, shared).seconds - price(transfer(1e10, inside, "all_gather"), shared).seconds)

    start = p.ring_launch + p.ring_hop
    for inside in (1.0, 2.0, 4.0):
        sent = 1e10 / inside / 2
        assert outer(inside) == pytest.approx(start + sent / (p.ring_efficiency * 50e9 / inside))


def test_cards_on_a_bus_share_host_bridges() -> None:
    bus = replace(GPU, links=(replace(NVLINK, name="pcie", topology="bus"),))
    p = collective_default(bus.links[0], "all_gather")
    assert p.sharing > 1.0
    for members in (2.0, 4.0, 8.0):
        bandwidth = p.ring_efficiency * 400e9 / (members / 2) ** p.sharing
        expected = p.ring_launch + (members - 1) * p.ring_hop
        expected += ((members - 1) / members + p.local_passes) * 1e10 / bandwidth
        assert price(transfer(1e10, members, "all_gather"), bus).seconds == pytest.approx(expected)


def test_roofline_engine_takes_achievable_fractions() -> None:
    tpu = replace(TPU, parameters={"roofline": {"compute_efficiency": 0.5, "memory_efficiency": 0.8, "launch": 1e-6}})
    large, small = gemm(65536.0), gemm(1.0)
    assert price(large, tpu).seconds == 1e-6 + kernel_flops(large) / (0.5 * 1e15)
    assert price(small, tpu).seconds == 1e-6 + kernel_bytes(small) / (0.8 * 4e12)
    assert price(large, TPU).seconds == kernel_flops(large) / 1e15


def test_roofline_engine_has_attention_of_each_phase_apart() -> None:
    phases = {"roofline_attention_prefill": {"launch": 3e-6}, "roofline_attention_decode": {"memory_efficiency": 0.4}}
    tpu = replace(TPU, parameters={"roofline": {"launch": 1e-6}, "roofline_bf16": {"launch": 2e-6}, **phases})
    step, prompt = decode(64.0, 4096.0), prefill(4.0, 4096.0)
    assert price(step, tpu).seconds == pytest.approx(2e-6 + kernel_bytes(step) / (0.4 * 4e12))
    assert price(prompt, tpu).seconds == pytest.approx(3e-6 + kernel_flops(prompt) / 1e15)
