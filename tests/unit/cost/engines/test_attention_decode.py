"""Decode attention: how each rule of a library shows in the time, written as the formula."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, decode

from gambrel.cost.engines import COLD, Residency, price
from gambrel.cost.engines.grouping import grouping
from gambrel.cost.engines.parts import looped_share
from gambrel.cost.kernel import Attention
from gambrel.cost.roofline import kernel_bytes, roofline
from gambrel.hardware.device import Device

LAUNCH, OVERHEAD, COMBINE, EACH, RATE = 5e-6, 2e-6, 3e-6, 0.1e-6, 64e9
TILE = 128 * 256 * 2 / RATE
"""Seconds that a block takes for 128 keys of one key head, 256 elements of two bytes each."""

LOOP = Residency(activations_hot=True)

MQA = "attention_decode_mqa"


def with_rules(**rules: float) -> Device:
    """A GPU whose memory, arithmetic and cache are free, so that blocks and splits are all there is."""
    free = {"memory_efficiency": 1e6, "memory_ramp": 0.0, "compute_efficiency": 1e6}
    given = {
        "launch": LAUNCH,
        "block_overhead": OVERHEAD,
        "result_elements_per_clock_per_unit": 1e12,
        "split_overhead": COMBINE,
        "split_time": EACH,
        "block_bytes_per_s": RATE,
        "split_search": 0.0,
        "cache_bytes_per_clock_per_unit": 1e12,
    }
    every = {f"attention_decode_{name}": {**free, **given, **rules} for name in ("mha", "gqa", "mqa")}
    return replace(GPU, parameters=every, memory_bandwidth_bytes_per_s=1e18)


def seconds(kernel: Attention, device: Device, residency: Residency = COLD) -> float:
    return float(price(kernel, device, residency).seconds)


def test_splits_fill_the_idle_units() -> None:
    """Five blocks on 100 units: 20 splits of the 64 tiles, 4 tiles at most for each."""
    expected = LAUNCH + OVERHEAD + 4 * TILE + COMBINE + 20 * EACH
    assert seconds(decode(5.0, 8192.0, kv_heads=1.0), with_rules()) == pytest.approx(expected)


def test_no_split_is_shorter_than_a_tile() -> None:
    expected = LAUNCH + OVERHEAD + TILE + COMBINE + 3 * EACH
    assert seconds(decode(1.0, 384.0, kv_heads=1.0), with_rules()) == pytest.approx(expected)
    assert seconds(decode(1.0, 128.0, kv_heads=1.0), with_rules()) == pytest.approx(LAUNCH + OVERHEAD + TILE)


def test_a_library_has_a_largest_number_of_splits() -> None:
    expected = LAUNCH + OVERHEAD + 8 * TILE + COMBINE + 8 * EACH
    assert seconds(decode(1.0, 8192.0, kv_heads=1.0), with_rules(most_splits=8.0)) == pytest.approx(expected)


def test_a_library_that_never_splits_walks_over_all_keys() -> None:
    expected = LAUNCH + OVERHEAD + 64 * TILE
    assert seconds(decode(5.0, 8192.0, kv_heads=1.0), with_rules(split_waves=0.0)) == pytest.approx(expected)


def test_blocks_beyond_the_units_take_another_round() -> None:
    """101 blocks on 100 units: two rounds."""
    expected = LAUNCH + 2 * (OVERHEAD + 4 * TILE)
    assert seconds(decode(101.0, 512.0, kv_heads=1.0), with_rules()) == pytest.approx(expected)


def test_several_rounds_of_splits_count_the_whole_cache() -> None:
    """64 cached tiles ask for 8 splits of each of 100 blocks, so for 8 rounds; one tile and the cut one are read."""
    kernel = replace(decode(100.0, 128.0, kv_heads=1.0), window=128.0, cached_len=8192.0)
    expected = LAUNCH + 8 * (OVERHEAD + 2 * TILE) + COMBINE + 8 * EACH
    assert seconds(kernel, with_rules(split_waves=8.0, split_history=1.0)) == pytest.approx(expected)
    few = replace(kernel, batch=1.0, kv_bytes_total=kernel.kv_bytes_total / 100)
    expected = LAUNCH + OVERHEAD + 2 * TILE + COMBINE + np.sqrt(8 * 64) * EACH
    assert seconds(few, with_rules(split_waves=8.0, split_history=1.0)) == pytest.approx(expected)


def test_splits_that_find_no_keys_start_all_the_same() -> None:
    """Eight splits of each of 25 blocks on 100 units: two rounds, although there is one tile of keys for each."""
    always = with_rules(most_splits=8.0, split_always=1.0)
    expected = LAUNCH + 2 * (OVERHEAD + TILE) + COMBINE + 8 * EACH
    assert seconds(decode(25.0, 128.0, kv_heads=1.0), always) == pytest.approx(expected)
    expected = LAUNCH + 2 * (OVERHEAD + 8 * TILE) + COMBINE + 8 * EACH
    assert seconds(decode(25.0, 8192.0, kv_heads=1.0), always) == pytest.approx(expected)


def test_a_latent_block_computes_no_more_rows_than_it_holds() -> None:
    """16 heads of a latent cache: 64 rows of the matrix unit, or 16 where a block holds no more heads."""
    latent = replace(decode(1.0, 128.0, kv_heads=1.0, heads=16.0), head_dim=576.0, v_head_dim=512.0)
    free = {"block_bytes_per_s": 1e18, "compute_efficiency": 1e-3, "heads_per_block": 16.0}
    few = replace(with_rules(), parameters={"attention_decode_mla": {**with_rules(**free).parameters[MQA]}})
    many = {**few.parameters["attention_decode_mla"], "heads_per_block": 64.0}
    row = 128 * 2 * (576 + 512) / (1e-3 * GPU.matrix_flops_per_s["bf16"] / GPU.num_units)
    assert seconds(latent, few) == pytest.approx(LAUNCH + OVERHEAD + 16 * row)
    many_rows = replace(few, parameters={"attention_decode_mla": many})
    assert seconds(latent, many_rows) == pytest.approx(LAUNCH + OVERHEAD + 64 * row)


def test_a_window_that_cuts_the_cache_cuts_a_tile() -> None:
    whole = replace(decode(100.0, 128.0, kv_heads=1.0), window=128.0, cached_len=128.0)
    assert seconds(whole, with_rules()) == pytest.approx(LAUNCH + OVERHEAD + TILE)
    cut = replace(whole, cached_len=129.0)
    assert seconds(cut, with_rules()) == pytest.approx(LAUNCH + OVERHEAD + 2 * TILE)
    assert seconds(cut, with_rules(cut_tiles=2.5)) == pytest.approx(LAUNCH + OVERHEAD + 3.5 * TILE)


def test_a_block_reads_its_queries_and_writes_its_results() -> None:
    """Three rounds of blocks of four query heads of 128 elements, which the matrix unit pads to eight or to 64."""
    kernel = decode(300.0, 128.0, kv_heads=1.0, heads=4.0)
    for padded in (8.0, 64.0):
        gpu = with_rules(padded_heads=padded, result_elements_per_clock_per_unit=2.0)
        results = padded * 128 / (2.0 * gpu.clock_hz)
        assert seconds(kernel, gpu) == pytest.approx(LAUNCH + 3 * (OVERHEAD + results + TILE))


def test_padded_query_heads_cost_arithmetic() -> None:
    """Seventeen query heads are 32 or 64 rows of the matrix unit."""
    kernel = decode(100.0, 128.0, kv_heads=1.0, heads=17.0)
    for padded, rows in ((16.0, 32), (64.0, 64)):
        gpu = with_rules(padded_heads=padded, block_bytes_per_s=1e18, compute_efficiency=0.01)
        tile = 128 * 2 * 256 * rows / (0.01 * gpu.matrix_flops_per_s["bf16"] / gpu.num_units)
        assert seconds(kernel, gpu) == pytest.approx(LAUNCH + OVERHEAD + tile)


def test_units_may_pass_over_every_sequence() -> None:
    plain, gpu = with_rules(), with_rules(sequence_time=10e-9)
    for batch in (1.0, 100.0, 1000.0):
        kernel = decode(batch, 128.0, kv_heads=1.0)
        assert seconds(kernel, gpu) == pytest.approx(seconds(kernel, plain) + batch * 10e-9)


def test_under_a_window_each_query_head_may_have_a_block() -> None:
    """25 sequences of four query heads to the one key head: 25 blocks in four splits, or 100 blocks without any."""
    kernel = decode(25.0, 512.0, kv_heads=1.0, heads=4.0)
    apart = with_rules(window_apart=1.0)
    assert seconds(kernel, apart) == pytest.approx(LAUNCH + OVERHEAD + TILE + COMBINE + 4 * EACH)
    assert seconds(replace(kernel, window=4096.0), apart) == pytest.approx(LAUNCH + OVERHEAD + 4 * TILE)


def test_heads_that_share_no_block_read_the_cache_again() -> None:
    """100 sequences of 64 query heads, one key head: 64 rounds of blocks, and 63 readings from the cache."""
    kernel = decode(100.0, 128.0, kv_heads=1.0, heads=64.0)
    assert seconds(kernel, with_rules()) == pytest.approx(LAUNCH + OVERHEAD + TILE)
    assert seconds(kernel, with_rules(heads_per_block=1.0)) == pytest.approx(LAUNCH + 64 * (OVERHEAD + TILE))
    slow = with_rules(
        heads_per_block=1.0, block_bytes_per_s=1e18, block_overhead=0.0, cache_bytes_per_clock_per_unit=1.0
    )
    again = 63 * kernel.kv_bytes_total / (GPU.clock_hz * GPU.num_units)
    assert seconds(kernel, slow) == pytest.approx(LAUNCH + again)


def test_a_search_splits_only_where_that_is_faster() -> None:
    kernel = decode(1.0, 256.0, kv_heads=1.0)
    searching = with_rules(split_search=1.0, split_overhead=2 * TILE)
    assert seconds(kernel, searching) == pytest.approx(LAUNCH + OVERHEAD + 2 * TILE)
    assert seconds(kernel, with_rules(split_overhead=2 * TILE)) > seconds(kernel, searching)


def test_a_search_balances_tiles_and_combining() -> None:
    """256 tiles and splits that cost a quarter of one each: 32 splits of 8 tiles, though 100 units are idle."""
    device = with_rules(split_search=1.0, split_time=TILE / 4)
    expected = LAUNCH + OVERHEAD + 8 * TILE + COMBINE + 32 * TILE / 4
    assert seconds(decode(1.0, 32768.0, kv_heads=1.0), device) == pytest.approx(expected)


def test_several_key_heads_may_need_their_results_in_order() -> None:
    device, plain = with_rules(regroup_time=7e-6), with_rules()
    grouped, one_head, alone = decode(4.0, 512.0), decode(4.0, 512.0, kv_heads=1.0), decode(4.0, 512.0, kv_heads=32.0)
    assert seconds(grouped, device) - seconds(grouped, plain) == pytest.approx(7e-6)
    assert seconds(one_head, device) == seconds(one_head, plain)
    assert seconds(alone, device) == seconds(alone, plain)


def test_a_narrow_cache_may_be_widened_first() -> None:
    kernel = replace(decode(4.0, 512.0), kv_bytes=1.0, kv_bytes_total=4 * 512 * 8 * 256.0)
    device = replace(with_rules(widening_passes=1.5, memory_efficiency=1.0), memory_bandwidth_bytes_per_s=1e9)
    plain = replace(with_rules(memory_efficiency=1.0), memory_bandwidth_bytes_per_s=1e9)
    extra = 1.5 * 2 * 2 * 4 * 512 * 8 * 256 / 1e9
    assert seconds(kernel, device) - seconds(kernel, plain) == pytest.approx(extra)


def test_a_loop_finds_a_small_cache_of_keys_in_the_last_level_cache() -> None:
    """It streams at the cache's rate, faster than the roofline of the memory; an estimate never does."""
    small, large = decode(16.0, 512.0), decode(16.0, 65536.0)
    device = replace(GPU, memory_bandwidth_bytes_per_s=5e11)
    assert kernel_bytes(small) < 0.75 * device.cache_bytes
    hot = seconds(small, device, LOOP)
    assert hot < float(roofline(small, device).seconds) < seconds(small, device)
    assert hot > kernel_bytes(small) / (15.0 * device.clock_hz * device.num_units)
    assert seconds(large, device, LOOP) == pytest.approx(seconds(large, device), rel=1e-6)


def test_a_loop_over_more_than_the_cache_loses_it() -> None:
    assert looped_share(50.0, 100.0) == 1.0
    assert looped_share(200.0, 100.0) == pytest.approx(1 / 256)


def test_heads_of_latent_attention_fill_a_larger_tile() -> None:
    """Arithmetic alone: 16 and 64 heads take the same time, but 16 heads of the other kernels a quarter."""
    latent = replace(
        decode(100.0, 4096.0, kv_heads=1.0, heads=16.0),
        head_dim=576.0,
        v_head_dim=512.0,
        kv_bytes_total=100.0 * 4096 * 576 * 2,
    )
    given = {"compute_efficiency": 0.5, "block_bytes_per_s": 1e18, "launch": LAUNCH, "memory_ramp": 0.0}
    every = {f"attention_decode_{name}": given for name in ("gqa", "mqa", "mla")}
    device = replace(GPU, parameters=every, memory_bandwidth_bytes_per_s=1e18)
    few, many = seconds(latent, device), seconds(replace(latent, heads=64.0), device)
    assert few == pytest.approx(many)
    shared = replace(latent, v_head_dim=576.0)
    assert seconds(replace(shared, heads=64.0), device) > 2.0 * seconds(shared, device)


def test_flashinfer_takes_its_tensor_core_kernels_from_four_heads_on() -> None:
    assert [grouping(group) for group in (1.0, 3.0, 32.0, 33.0)] == ["mha", "gqa", "gqa", "mqa"]
    assert [grouping(group, "sglang-flashinfer") for group in (3.0, 4.0)] == ["mha", "gqa"]
