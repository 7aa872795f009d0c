"""Convolutions on a GPU: the direct product over tiles, and Winograd's algorithm for filters of 3 x 3 elements."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.gpu_gemm import Points, Rates, tiled_seconds
from gambrel.cost.engines.parts import COLD, Parts, Residency, cache_bytes_per_s, cached_share, issued
from gambrel.cost.kernel import Array, Convolution, Gemm, Number
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

TILE = 4.0
"""Side of the square of results that one transform of Winograd's algorithm covers: F(4 x 4, 3 x 3)."""

POINTS = 36.0
"""Products of each channel that such a square takes, (4 + 3 - 1)^2, where the direct algorithm takes 16 x 9."""

SAVED = TILE**2 * 9.0 / POINTS
"""Multiplications of the direct algorithm for one of Winograd's."""


def convolution(kernel: Convolution, device: Device, residency: Residency = COLD) -> Parts:
    """Prices a convolution as the faster of two algorithms.

    ```
    direct    tiles of m = images out_h out_w, n = channels_out, k = channels_in filter^2; images are read once
    winograd  [filter = 3, stride = 1, fp32] 36 products of m = images ceil(out_h/4) ceil(out_w/4), n, k = channels_in,
              and the transforms: (images + filters + results + 36 (m k + k n + m n) elements)/B + winograd_launch
    T = launch + min(direct, winograd)
    ```
    Tiles, waves and the norm are those of `gemm`, without splits of the depth. Winograd's algorithm is taken in fp32
    only: on matrix units its transforms cost more than the products that it saves. Of a call that the host issues by
    itself, `issued` gives the time.

    Does not count: fused Winograd kernels and transforms of Fourier, which libraries choose for a third of the shapes
    and which gained nothing in a fit; groups, dilation.

    Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, sections 4 and 5;
    implicit products: S. Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", arXiv 1410.0759, section 3;
    parameters are fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    p = lookup.resolve(parameters.Convolution(), device, "convolution", kernel.rate, kernel.library)
    peak = matrix_rate(device, kernel.rate)
    seconds = _direct(kernel, device, p, residency)
    compute = kernel_flops(kernel) / (p.compute_efficiency * peak)
    fits = _transformable(kernel)
    if fits.any():
        winograd = np.where(fits, _winograd(kernel, device, p), np.inf)
        compute = np.where(winograd < seconds, kernel_flops(kernel) / (SAVED * p.winograd_efficiency * peak), compute)
        seconds = np.minimum(seconds, winograd)
    seconds = issued(p.launch + seconds, kernel.host_work, p.host_call, p.host_lead)
    memory = kernel_bytes(kernel) / (p.memory_efficiency * device.memory_bandwidth_bytes_per_s)
    return Parts(seconds, compute=compute, memory=memory, latency=np.maximum(p.launch, kernel.host_work * p.host_call))


def floor_device(kernel: Convolution, device: Device) -> Device:
    """The device whose roofline no estimate goes below: it multiplies faster where an algorithm multiplies less."""
    fits = _transformable(kernel)
    if not fits.any():
        return device
    rate = np.where(fits, SAVED, 1.0) * matrix_rate(device, "fp32")
    return replace(device, matrix_flops_per_s={**device.matrix_flops_per_s, "fp32": rate})


def _transformable(kernel: Convolution) -> NDArray[np.bool_]:
    """Where Winograd's algorithm applies."""
    square = (np.asarray(kernel.filter) == 3.0) & (np.asarray(kernel.stride) == 1.0)
    return square & (kernel.rate == "fp32")


def _direct(kernel: Convolution, device: Device, p: parameters.Convolution, residency: Residency) -> Array:
    product = kernel.product()
    filters = product.k * product.n * kernel.b_bytes
    moved = kernel_bytes(kernel)
    share: Number = 0.0
    if residency.activations_hot:
        share = cached_share(moved, device.cache_bytes)
    points = Points(
        m=np.asarray(product.m, dtype=np.float64),
        n=np.asarray(product.n, dtype=np.float64),
        k=np.asarray(product.k, dtype=np.float64),
        batch=np.asarray(1.0),
        a=kernel.images * kernel.channels_in * kernel.height * kernel.width * kernel.a_bytes,
        b=filters,
        cold=moved * (1.0 - share),
        hot=moved * share,
    )
    return _tiled(points, product, device, p, p.compute_efficiency)


def _winograd(kernel: Convolution, device: Device, p: parameters.Convolution) -> Array:
    squares = kernel.images * np.ceil(kernel.out_height / TILE) * np.ceil(kernel.out_width / TILE)
    product = replace(kernel.product(), m=squares, k=kernel.channels_in, batch=POINTS)
    a, b, c = (
        squares * product.k * kernel.a_bytes,
        product.k * product.n * kernel.b_bytes,
        squares * product.n * kernel.c_bytes,
    )
    transformed = POINTS * (a + b + c)
    points = Points(
        m=np.asarray(squares, dtype=np.float64),
        n=np.asarray(product.n, dtype=np.float64),
        k=np.asarray(product.k, dtype=np.float64),
        batch=np.asarray(POINTS),
        a=a,
        b=b,
        cold=transformed,
        hot=np.asarray(0.0),
    )
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    transforms = (kernel_bytes(kernel) + transformed) / bandwidth + p.winograd_launch
    return _tiled(points, product, device, p, p.winograd_efficiency) + transforms


def _tiled(points: Points, product: Gemm, device: Device, p: parameters.Convolution, efficiency: Number) -> Array:
    tiles = parameters.Gemm(
        wave_overhead=0.0,
        compute_efficiency=efficiency,
        memory_efficiency=p.memory_efficiency,
        memory_ramp=0.0,
        slice_latency=p.slice_latency,
        split_overhead=np.inf,
        overlap_norm=p.overlap_norm,
        wave_hardness=p.wave_hardness,
        least_tile=p.least_tile,
        sustained_share=1.0,
    )
    rates = Rates(
        units=device.num_units,
        flops=efficiency * matrix_rate(device, product.rate) / device.num_units,
        load=tiles.load_bytes_per_clock_per_unit * device.clock_hz,
        unpack=np.inf,
        memory=p.memory_efficiency * device.memory_bandwidth_bytes_per_s,
        cache=cache_bytes_per_s(device, tiles.cache_bytes_per_clock_per_unit),
        cache_bytes=tiles.cache_share * device.cache_bytes,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return tiled_seconds(points, product, tiles, rates)
