"""Streaming kernels on a GPU: the traffic, what is read again, the instructions that move it, and the host."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, gemm, stream

from gambrel.cost.engines import Residency, lookup, parameters, price, variant_defaults
from gambrel.cost.engines.parts import issued, p_norm
from gambrel.cost.engines.variants import stream_variants
from gambrel.cost.kernel import MemoryBound
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

P = parameters.MemoryBound()
BANDWIDTH = P.memory_efficiency * 4e12
LOOP = Residency(activations_hot=True)


def with_parameters(**families: dict[str, float]) -> Device:
    return replace(GPU, parameters=families)


def test_a_stream_is_its_launch_and_the_norm_of_traffic_and_instructions() -> None:
    size = 4096 * 8192 * 2 * 3
    traffic = size / BANDWIDTH + P.memory_ramp * size / (size + BANDWIDTH * P.memory_ramp)
    instructions = size / (P.access_bytes_per_clock_per_unit * 2e9 * 100)
    expected = P.launch + p_norm(traffic, instructions, P.overlap_norm)
    assert price(stream(4096.0), GPU).seconds == pytest.approx(expected)


def test_a_kernel_of_narrow_accesses_is_bound_by_its_instructions() -> None:
    slow = with_parameters(memory_bound={"access_bytes_per_clock_per_unit": 1.0, "overlap_norm": 50.0})
    size = 4096 * 8192 * 2 * 3
    assert price(stream(4096.0), slow).seconds == pytest.approx(P.launch + size / (1.0 * 2e9 * 100))
    hot = price(stream(64.0), slow, LOOP).seconds
    assert hot == pytest.approx(price(stream(64.0), slow).seconds, rel=1e-3), "wherever the bytes are"


def test_only_the_reduced_tensor_is_read_again() -> None:
    """From memory where the rows in flight, 16 of 16 MiB on each of 132 units, exceed any cache."""
    device = load_device("h100-sxm")
    flat = {**device.parameters, "memory_bound_norm": {"second_pass": 1.0, "access_bytes_per_clock_per_unit": 1e9}}
    device = replace(device, parameters=flat, cache_bytes=1.0)
    rows, cols, element = 1024.0, 2.0**23, 2.0
    tensor = rows * cols * element
    sizes = {"rows": rows, "cols": cols, "bytes_read": 2 * tensor, "bytes_written": 2 * tensor, "flops": 0.0}
    every = price(MemoryBound(op="norm", **sizes), device).seconds
    one = price(MemoryBound(op="norm", **sizes, reduced_bytes=tensor), device).seconds
    bandwidth = device.parameters["memory_bound"]["memory_efficiency"] * device.memory_bandwidth_bytes_per_s
    assert float(every - one) == pytest.approx(tensor / bandwidth, rel=1e-3)


def test_rows_in_flight_that_fit_the_cache_are_read_again_from_there() -> None:
    free = {"access_bytes_per_clock_per_unit": 1e9, "row_time": 0.0, "kept_share": 1.0, "rows_in_flight": 1.0}
    gpu = with_parameters(memory_bound_norm={**free, "second_pass": 1.0})
    once = with_parameters(memory_bound_norm={**free, "second_pass": 0.0})
    cache = P.cache_bytes_per_clock_per_unit * 2e9 * 100

    def again(cols: float) -> float:
        kernel = stream(8192.0, cols, op="norm")
        return float(price(kernel, gpu).seconds - price(kernel, once).seconds)

    # A row of `cols` elements is 4 B cols long (two operands), 100 of them are in flight, and the cache has 50 MB.
    short, long = 2.0**14, 2.0**18
    assert again(short) == pytest.approx(8192 * short * 4 / cache, rel=1e-6)
    kept = 50e6 / (100 * long * 4)
    assert again(long) == pytest.approx(8192 * long * 4 * (kept / cache + (1 - kept) / BANDWIDTH), rel=1e-6)


@pytest.mark.parametrize(("rows", "rounds"), [(1.0, 1), (200.0, 1), (201.0, 2), (1000.0, 5)])
def test_a_row_is_a_blocks_of_which_a_unit_takes_two_at_a_time(rows: float, rounds: int) -> None:
    """On 100 units; a row of 4096 elements is 16 kB there and back, at 10 bytes a clock of 2 GHz."""
    free = {"memory_efficiency": 1e9, "memory_ramp": 0.0, "access_bytes_per_clock_per_unit": 10.0}
    gpu = with_parameters(memory_bound_activation={**free, "row_time": 1e-6, "launch": 0.0, "rows_at_once": 2.0})
    kernel = replace(stream(rows, 4096.0, op="activation"), flops=0.0)
    row = (kernel.bytes_read + kernel.bytes_written) / rows
    assert price(kernel, gpu).seconds == pytest.approx(rounds * (1e-6 + 2 * row / (10 * 2e9)))


@pytest.mark.parametrize("op", ["norm", "activation"])
def test_more_rows_that_share_weights_never_take_less(op) -> None:
    rows, cols = np.arange(1.0, 700.0), 4096.0
    kernel = MemoryBound(
        op=op,
        rows=rows,
        cols=cols,
        bytes_read=2.0 * cols * (rows + 1.0),
        bytes_written=2.0 * cols * rows,
        flops=0.0,
        reduced_bytes=2.0 * cols * rows,
        shared_bytes=2.0 * cols,
    )
    for name in ("b200-sxm", "h100-sxm", "a100-sxm-80gb"):
        assert np.all(np.diff(price(kernel, load_device(name)).seconds) >= 0.0), name


def test_a_short_row_of_a_softmax_is_read_once() -> None:
    free = {"access_bytes_per_clock_per_unit": 1e9, "row_time": 0.0}
    gpu = with_parameters(memory_bound_softmax=free)
    once = with_parameters(memory_bound_softmax={**free, "second_pass": 0.0})
    for cols, longer in ((1024.0, False), (1025.0, True)):
        kernel = stream(65536.0, cols, op="softmax")
        assert (price(kernel, gpu).seconds > price(kernel, once).seconds) == longer


def test_arithmetic_counts_where_it_is_slower_than_the_stream() -> None:
    kernel = replace(stream(4096.0), flops=1e12)
    assert price(kernel, GPU).seconds == pytest.approx(P.launch + 1e12 / (P.compute_efficiency * 5e13))


def test_what_the_engine_takes_for_a_variant_stands_between_the_family_and_the_variant() -> None:
    gpu = with_parameters(memory_bound={"launch": 1.0, "second_pass": 7.0}, memory_bound_softmax={"launch": 2.0})
    found = lookup.resolve(P, gpu, "memory_bound", "softmax")
    assert (found.launch, found.second_pass) == (2.0, variant_defaults.VARIANTS["memory_bound_softmax"]["second_pass"])
    assert lookup.resolve(P, gpu, "memory_bound", "elementwise").second_pass == 7.0


def test_an_activation_is_an_elementwise_operation_too() -> None:
    assert stream_variants("activation") == ("elementwise", "activation")
    gpu = with_parameters(memory_bound_elementwise={"compute_efficiency": 1e-10})
    assert price(stream(16.0, op="activation"), gpu).seconds > 1.0
    assert price(stream(16.0, op="norm"), gpu).seconds < 1.0


def test_a_host_that_issues_a_call_by_itself_is_waited_for() -> None:
    assert issued(1e-6, 0.0, 30e-6, 10e-6) == 1e-6, "a captured graph"
    assert issued(1e-6, 1.5, 30e-6, 10e-6) == 1.5 * 30e-6, "a short kernel"
    assert issued(1e-3, 1.5, 30e-6, 10e-6) == pytest.approx(15e-6 + 1e-3), "a long kernel starts late"


@pytest.mark.parametrize("kernel", [stream(1.0, 8.0), gemm(1.0, 16.0, 16.0)])
def test_a_small_call_takes_as_long_as_its_host(kernel) -> None:
    family = "gemm" if kernel.__class__.__name__ == "Gemm" else "memory_bound"
    gpu = with_parameters(**{family: {"host_call": 40e-6, "host_lead": 20e-6}})
    assert price(replace(kernel, host_work=2.0), gpu).seconds == 80e-6
    assert price(kernel, gpu).seconds == price(kernel, GPU).seconds


def test_arrays_and_scalars_give_the_same_bits() -> None:
    rows = np.array([1.0, 100.0, 65536.0])
    for op in ("elementwise", "activation", "norm", "softmax", "embedding"):
        each = [float(price(stream(x, op=op), GPU, LOOP).seconds) for x in rows]
        assert price(stream(rows, op=op), GPU, LOOP).seconds.tolist() == each
