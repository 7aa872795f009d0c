"""Prefill attention: what a library's rules and a measuring loop change."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, prefill

from gambrel.cost.engines import COLD, Residency, price
from gambrel.cost.kernel import Attention
from gambrel.cost.roofline import kernel_bytes
from gambrel.hardware.device import Device

PER_KEY = 2 * 128 * 256 / (0.5 * 1e15 / 100)
"""Seconds that a tile of 128 queries takes for a key at half the peak of one of 100 units."""


def device(**values: float) -> Device:
    """A GPU whose exponentials, start-up and memory are free."""
    free = {"launch": 0.0, "tile_overhead": 0.0, "exponentials_per_clock_per_unit": 1e9, "compute_efficiency": 0.5}
    given = {"attention_prefill": {**free, "memory_efficiency": 1e6, "packing": 1.0, "mask_keys": 128.0, **values}}
    return replace(GPU, parameters=given, memory_bandwidth_bytes_per_s=1e18)


def seconds(kernel: Attention, gpu: Device, residency: Residency = COLD) -> float:
    return float(price(kernel, gpu, residency).seconds)


def test_a_kernel_that_only_masks_a_window_walks_over_all_keys() -> None:
    whole = prefill(16.0, 4096.0)
    cut = replace(whole, pairs=4096.0 * 512.0, window=512.0)
    assert seconds(cut, device()) < 0.5 * seconds(whole, device())
    assert seconds(cut, device(window_skipped=0.0)) == pytest.approx(seconds(whole, device(window_skipped=0.0)))


def test_wide_tiles_of_keys_mask_more() -> None:
    """4096 queries that see 512 keys each: a tile touches those and half of what it masks at either end."""
    kernel = replace(prefill(16.0, 4096.0), pairs=4096.0 * 512.0)
    for masked in (128.0, 512.0):
        mean = 512.0 + masked - 1.0
        expected = 16 * 32 * 32 * PER_KEY * mean / 100 + 0.5 * PER_KEY * 2 * mean
        assert seconds(kernel, device(mask_keys=masked)) == pytest.approx(expected)


def test_a_loop_rewrites_small_operands_in_the_cache() -> None:
    """Rotation and append run at the rate of whichever holds the operands."""
    kernel = prefill(1.0, 512.0, prologue=True)
    gpu = replace(device(memory_efficiency=1.0, cache_bytes_per_clock_per_unit=0.5), memory_bandwidth_bytes_per_s=1e10)
    assert kernel_bytes(kernel) < 0.5 * gpu.cache_bytes
    fast, slow = seconds(kernel, gpu, Residency(activations_hot=True)), seconds(kernel, gpu)
    assert fast * (0.5 * gpu.clock_hz * gpu.num_units) == pytest.approx(slow * 1e10)


def test_the_tail_is_a_share_of_the_longest_tile() -> None:
    """1024 queries of 25 heads: 200 tiles on 100 units, the longest of all 1024 keys."""
    kernel = replace(prefill(1.0, 1024.0), heads=25.0, kv_heads=25.0)
    work = 200 * PER_KEY * (1025.0 / 2.0) / 100
    for share in (0.1, 0.5):
        gpu = device(tail_share=share, mask_keys=1.0)
        assert seconds(kernel, gpu) == pytest.approx(max(work, PER_KEY * 1024.0) + share * PER_KEY * 1024.0)


def test_tiles_of_fewer_queries_fill_more_units() -> None:
    """Each of ten heads has 256 queries: 20 tiles of 128, or 40 of 64, and the longest takes half."""
    kernel = replace(prefill(1.0, 256.0), heads=10.0, kv_heads=10.0)
    wide, narrow = (seconds(kernel, device(tile_queries=queries)) for queries in (128.0, 64.0))
    assert narrow == pytest.approx(wide / 2.0)


def test_each_new_token_may_have_a_block_that_fills_the_cache() -> None:
    """Two key heads of 128 elements are 256 threads of the 2048 that a unit holds, eight are 512 at most."""
    for kv_heads, threads in ((2.0, 256.0), (8.0, 512.0)):
        kernel = replace(prefill(1.0, 512.0, prologue=True), heads=8.0, kv_heads=kv_heads)
        plain, gpu = device(), device(append_block_time=3e-6)
        blocks = 512 * 3e-6 / (gpu.num_units * 2048.0 / threads)
        assert seconds(kernel, gpu) == pytest.approx(seconds(kernel, plain) + blocks)


def test_sizes_are_arrays_and_scalars_alike() -> None:
    lengths = np.array([1.0, 100.0, 5000.0])
    hot = Residency(activations_hot=True)
    together = price(prefill(2.0, lengths), GPU, hot).seconds
    assert [seconds(prefill(2.0, float(x)), GPU, hot) for x in lengths] == together.tolist()
