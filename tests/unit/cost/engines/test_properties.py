"""What must hold for every kernel on every device: hypothesis looks for counterexamples."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, TPU, convolution, decode, gemm, grouped, prefill, stream, transfer
from hypothesis import given
from hypothesis import strategies as st

from gambrel.cost.engines import Residency, price
from gambrel.cost.kernel import BOUNDS, Collective, Kernel, Transfer
from gambrel.cost.roofline import roofline
from gambrel.hardware.device import Device

TOLERANCE = 1 + 1e-12

sizes = st.integers(min_value=1, max_value=65536).map(float)
factors = st.floats(min_value=1.0, max_value=8.0)
groups = st.sampled_from([1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 64.0])
OPS: tuple[Collective, ...] = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "permute", "broadcast")


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    a, b, c = draw(sizes), draw(sizes), draw(sizes)
    kind = draw(st.sampled_from(["gemm", "grouped", "prefill", "decode", "stream", "transfer"]))
    match kind:
        case "gemm":
            return gemm(a, b, c, draw(st.sampled_from([1.0, 3.0, 64.0])))
        case "grouped":
            return grouped(a, hit=min(a, 64.0), n=b, k=c)
        case "prefill":
            return prefill(min(a, 64.0), b)
        case "decode":
            heads = draw(st.sampled_from([(32.0, 32.0), (32.0, 8.0), (128.0, 1.0)]))
            return decode(min(a, 512.0), b, kv_heads=heads[1], heads=heads[0])
        case "stream":
            return stream(a, b, op=draw(st.sampled_from(["elementwise", "activation", "norm", "softmax"])))
        case _:
            return transfer(
                a * b, draw(groups), op=draw(st.sampled_from(OPS)), stride=draw(st.sampled_from([1.0, 8.0]))
            )


@given(kernels(), st.sampled_from([GPU, TPU]))
def test_never_below_the_roofline(kernel: Kernel, device: Device) -> None:
    assert price(kernel, device).seconds >= roofline(kernel, device).seconds


@given(kernels(), factors, st.sampled_from(["memory", "matrix", "vector", "links", "clock", "cache"]))
def test_a_better_device_is_never_slower(kernel: Kernel, factor: float, what: str) -> None:
    better = {
        "memory": {"memory_bandwidth_bytes_per_s": GPU.memory_bandwidth_bytes_per_s * factor},
        "matrix": {"matrix_flops_per_s": {"bf16": 1e15 * factor}},
        "vector": {"vector_flops_per_s": GPU.vector_flops_per_s * factor},
        "links": {
            "links": tuple(replace(x, bandwidth_bytes_per_s=x.bandwidth_bytes_per_s * factor) for x in GPU.links)
        },
        "clock": {"clock_hz": GPU.clock_hz * factor},
        "cache": {"cache_bytes": GPU.cache_bytes * factor},
    }[what]
    assert price(kernel, replace(GPU, **better)).seconds <= price(kernel, GPU).seconds * TOLERANCE


@given(kernels(), st.integers(min_value=100, max_value=800))
def test_more_units_of_the_same_kind_are_never_slower(kernel: Kernel, units: int) -> None:
    """The peak grows with the units: each keeps its own speed."""
    larger = replace(GPU, num_units=float(units), matrix_flops_per_s={"bf16": 1e15 * units / 100})
    assert price(kernel, larger).seconds <= price(kernel, GPU).seconds * TOLERANCE


@given(sizes, sizes, sizes, factors, st.sampled_from("mnk"))
def test_a_larger_gemm_is_never_faster(m: float, n: float, k: float, factor: float, side: str) -> None:
    """Strictly so, quantisation included: each tiling's time is monotone, and so is the least of them."""
    small = gemm(m, n, k)
    large = replace(small, **{side: np.ceil(getattr(small, side) * factor)})
    assert price(large, GPU).seconds * TOLERANCE >= price(small, GPU).seconds


@given(st.integers(1, 256).map(float), sizes, sizes, st.integers(4, 256).map(float), factors)
def test_a_larger_convolution_is_never_faster(images: float, c: float, d: float, size: float, factor: float) -> None:
    seconds = price(convolution(images, (c, d), size), GPU).seconds
    for larger in (
        convolution(np.ceil(images * factor), (c, d), size),
        convolution(images, (np.ceil(c * factor), d), size),
        convolution(images, (c, np.ceil(d * factor)), size),
        convolution(images, (c, d), np.ceil(size * factor)),
    ):
        assert price(larger, GPU).seconds * TOLERANCE >= seconds


@given(sizes, sizes, factors)
def test_more_rows_or_bytes_are_never_faster(rows: float, cols: float, factor: float) -> None:
    more = np.ceil(rows * factor)
    for build in (lambda x: stream(x, cols), lambda x: stream(x, cols, op="norm")):
        assert price(build(more), GPU).seconds * TOLERANCE >= price(build(rows), GPU).seconds


@given(sizes, factors, st.booleans())
def test_more_rows_of_experts_are_never_faster_with_the_same_tile(rows: float, factor: float, even: bool) -> None:
    """A larger tile may be: libraries choose it by the mean rows, and what is left of it is padding."""
    gpu = replace(GPU, parameters={"grouped_gemm": {"least_tile": 64.0, "largest_tile": 64.0}})
    few, many = (replace(grouped(x), even=even) for x in (rows, np.ceil(rows * factor)))
    assert price(many, gpu).seconds * TOLERANCE >= price(few, gpu).seconds


@given(st.integers(1, 512).map(float), sizes, factors)
def test_a_longer_or_larger_decode_is_never_faster(batch: float, kv_len: float, factor: float) -> None:
    seconds = price(decode(batch, kv_len), GPU).seconds
    assert price(decode(batch, np.ceil(kv_len * factor)), GPU).seconds * TOLERANCE >= seconds
    assert price(decode(np.ceil(batch * factor), kv_len), GPU).seconds * TOLERANCE >= seconds


@given(st.integers(1, 64).map(float), sizes, factors)
def test_a_larger_prefill_is_never_faster(batch: float, length: float, factor: float) -> None:
    seconds = price(prefill(batch, length), GPU).seconds
    assert price(prefill(np.ceil(batch * factor), length), GPU).seconds * TOLERANCE >= seconds
    assert price(prefill(batch, np.ceil(length * factor)), GPU).seconds * TOLERANCE >= seconds


@given(st.floats(1.0, 1e10), factors, groups, st.sampled_from(OPS))
def test_a_larger_message_is_never_faster(size: float, factor: float, group: float, op: Collective) -> None:
    seconds = price(transfer(size, group, op), GPU).seconds
    assert price(transfer(size * factor, group, op), GPU).seconds * TOLERANCE >= seconds


@given(st.sampled_from(OPS), st.sampled_from([1.0, 8.0]), st.floats(0.0, 1e10))
def test_a_group_of_one_device_costs_nothing(op: Collective, stride: float, size: float) -> None:
    assert price(transfer(size, 1.0, op, stride), GPU).seconds == 0.0


@pytest.mark.parametrize("device", [GPU, TPU])
@pytest.mark.parametrize(
    "kernel",
    [
        gemm(0.0),
        gemm(16.0, 0.0),
        gemm(16.0, 16.0, 0.0),
        grouped(0.0),
        prefill(0.0, 64.0),
        prefill(4.0, 0.0),
        decode(0.0, 64.0),
        decode(4.0, 0.0),
        stream(0.0),
        stream(8.0, 0.0),
        transfer(0.0, 8.0),
    ],
)
def test_nothing_to_do_costs_nothing(kernel: Kernel, device: Device) -> None:
    assert price(kernel, device).seconds == 0.0


@given(st.lists(st.tuples(sizes, sizes, sizes), min_size=1, max_size=8))
def test_arrays_and_scalars_give_the_same_bits(points: list[tuple[float, float, float]]) -> None:
    a, b, c = (np.array(column) for column in zip(*points, strict=True))
    hot = Residency(activations_hot=True, weight_copies=5.0, working_set_bytes=1e8)
    builders = [
        gemm,
        lambda x, y, z: grouped(x, hit=np.minimum(x, 64.0), n=y, k=z),
        lambda x, y, _: prefill(x, y),
        lambda x, y, z: decode(x, y, kv_heads=np.where(z % 2 == 0, 8.0, 32.0)),
        lambda x, y, z: stream(x, y, op="norm"),
        lambda x, y, z: transfer(x * y, np.where(z % 2 == 0, 8.0, 16.0)),
    ]
    for build in builders:
        for residency in (Residency(), hot):
            together = price(build(a, b, c), GPU, residency)
            alone = [price(build(*point), GPU, residency) for point in points]
            assert together.seconds.tolist() == [float(x.seconds) for x in alone]
            assert together.bound.tolist() == [int(x.bound) for x in alone]


def test_shapes_broadcast_and_chunks_do_not_show() -> None:
    m = np.arange(1.0, 301.0).reshape(-1, 1)
    n = np.arange(64.0, 64.0 * 101, 64.0).reshape(1, -1)
    seconds = price(gemm(m, n), GPU).seconds
    assert seconds.shape == (300, 100)
    assert seconds[123, 45] == price(gemm(float(m[123, 0]), float(n[0, 45])), GPU).seconds


def test_device_numbers_may_be_arrays() -> None:
    bandwidths = np.array([2e12, 4e12, 8e12])
    swept = price(gemm(np.array([[1.0], [512.0]])), replace(GPU, memory_bandwidth_bytes_per_s=bandwidths)).seconds
    assert swept.shape == (2, 3)
    assert swept[1, 2] == price(gemm(512.0), replace(GPU, memory_bandwidth_bytes_per_s=8e12)).seconds


@given(kernels())
def test_bounds_name_a_resource_that_the_kernel_uses(kernel: Kernel) -> None:
    bound = BOUNDS[int(price(kernel, GPU).bound)]
    assert bound in (("network", "latency") if isinstance(kernel, Transfer) else ("compute", "memory", "latency"))
