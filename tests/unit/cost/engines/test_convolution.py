"""Convolutions: what they compute and move, the two algorithms, and what a host makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, TPU, convolution

from gambrel.cost.engines import parameters, price
from gambrel.cost.engines.cpu import CONVOLUTION, POINTWISE, as_product
from gambrel.cost.engines.gpu_convolution import SAVED, floor_device
from gambrel.cost.kernel import BOUNDS
from gambrel.cost.roofline import kernel_bytes, kernel_flops, roofline

FREE = {
    "launch": 0.0,
    "winograd_launch": 0.0,
    "slice_latency": 0.0,
    "wave_hardness": 0.0,
    "least_tile": 1.0,
    "memory_efficiency": 1e6,
    "compute_efficiency": 0.5,
    "winograd_efficiency": 1e-6,
}


def on(**values: float):
    return replace(GPU, parameters={"convolution": {**FREE, **values}})


def test_flops_and_bytes_are_those_of_the_tensors() -> None:
    kernel = convolution(2.0, (3.0, 64.0), 224.0, side=7.0, stride=2.0)
    assert (kernel.out_height, kernel.out_width) == (112.0, 112.0)
    assert kernel_flops(kernel) == 2 * 2 * 112 * 112 * 64 * 3 * 49
    assert kernel_bytes(kernel) == 4 * (2 * 3 * 224 * 224 + 3 * 64 * 49 + 2 * 64 * 112 * 112)


def test_the_direct_algorithm_is_a_product_over_tiles() -> None:
    """100 tiles of 128 x 128 on 100 units, 9 x 64 deep: 100 images of 128 results, and 128 channels."""
    kernel = replace(convolution(100.0), height=8.0, width=16.0)
    expected = 9 * 64 * 2 * 128 * 128 / (0.5 * 5e13 / 100)
    assert price(kernel, on(least_tile=128.0)).seconds == pytest.approx(expected, rel=1e-3)


def test_winograds_algorithm_multiplies_a_quarter() -> None:
    """With free transforms: 36 products of 800 squares, 64 channels and 128 results, in hundreds of full tiles."""
    kernel = replace(convolution(100.0), height=8.0, width=16.0)
    gpu = on(compute_efficiency=1e-6, winograd_efficiency=1.0, least_tile=32.0)
    expected = kernel_flops(kernel) / SAVED / 5e13
    assert price(kernel, gpu).seconds == pytest.approx(expected, rel=0.03)
    assert price(kernel, gpu).seconds < roofline(kernel, gpu).seconds
    assert price(kernel, gpu).seconds >= roofline(kernel, floor_device(kernel, gpu)).seconds


def test_transforms_stream_what_they_write() -> None:
    kernel = convolution(100.0, (256.0, 256.0), 32.0)
    gpu = on(compute_efficiency=1e-6, winograd_efficiency=1.0, memory_efficiency=0.01)
    squares = 100 * 8 * 8
    moved = 36 * 4 * (squares * 256 + 256 * 256 + squares * 256)
    # Written by the transforms and read by the products, or the other way about.
    assert price(kernel, gpu).seconds == pytest.approx((2 * moved + kernel_bytes(kernel)) / 4e10, rel=0.02)


@pytest.mark.parametrize("kernel", [convolution(8.0, side=5.0), convolution(8.0, stride=2.0)])
def test_winograds_algorithm_wants_a_filter_of_three_and_no_stride(kernel) -> None:
    slow, fast = on(compute_efficiency=1e-3, winograd_efficiency=1.0), on(compute_efficiency=1e-3)
    assert price(kernel, slow).seconds == price(kernel, fast).seconds
    assert floor_device(kernel, GPU) is GPU


def test_matrix_units_compute_directly() -> None:
    kernel = replace(convolution(8.0), rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0)
    assert price(kernel, on(winograd_efficiency=1.0)).seconds == price(kernel, on()).seconds


def test_rows_of_both_kinds_are_priced_each_by_its_own_algorithm() -> None:
    kernels = [convolution(8.0, side=side) for side in (1.0, 3.0)]
    both = replace(kernels[0], filter=np.array([1.0, 3.0]), padding=np.array([0.0, 1.0]))
    assert price(both, GPU).seconds.tolist() == [float(price(each, GPU).seconds) for each in kernels]


def test_a_small_convolution_is_bound_by_its_launch() -> None:
    cost = price(convolution(1.0, (3.0, 8.0), 8.0), GPU)
    assert BOUNDS[int(cost.bound)] == "latency"
    assert cost.seconds > parameters.Convolution().launch
    assert price(convolution(0.0), GPU).seconds == 0.0


def test_other_engines_price_the_product() -> None:
    kernel = convolution(64.0)
    assert price(kernel, TPU).seconds == roofline(kernel, TPU).seconds
    host = replace(GPU, engine="cpu", kind="cpu", num_units=8.0, matrix_flops_per_s={"fp32": 1e12})
    assert price(kernel, host).seconds == price(as_product(kernel), host).seconds


def test_a_host_has_kernels_of_their_own_for_pointwise_filters() -> None:
    assert as_product(convolution(2.0, side=1.0)).library == POINTWISE
    assert as_product(convolution(2.0, side=1.0, stride=2.0)).library == CONVOLUTION
    assert as_product(convolution(2.0)).library == CONVOLUTION
