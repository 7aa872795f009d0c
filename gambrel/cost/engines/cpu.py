"""The `cpu` engine: closed forms for products, attention and streams on the cores of a host.

A framework's call costs a *launch*; then arithmetic, the bytes that come from memory, and those that come from the
last-level cache. Activations that fit the cache are found there, as the call before left them; weights come from memory
unless the `Residency` says that a loop keeps them. Parameter families have the names of the `gpu` engine's.

Source of every default: near what `gambrel calibrate --this-host` finds on one core of an AMD EPYC (Zen 5) through
PyTorch 2.13 with fp32; they are a start for a fit, not a claim about other machines.
"""

from dataclasses import dataclass, replace

import numpy as np

from gambrel.cost.engines.gpu_scan import CONVOLUTIONS
from gambrel.cost.engines.grouping import grouping
from gambrel.cost.engines.lookup import resolve
from gambrel.cost.engines.parts import COLD, Parts, Residency, cached_share, p_norm
from gambrel.cost.engines.variants import attention_variants, format_variants, stream_variants
from gambrel.cost.kernel import Attention, Convolution, Gemm, GroupedGemm, MemoryBound, Number, Scan
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

ComputeKernel = Gemm | GroupedGemm | Attention | Scan | MemoryBound

FRESH_ABOVE = 2.0**25
"""Bytes of a result above which the allocator maps new pages for each call, and the kernel clears them on first touch.

Source: glibc, malloc/malloc.c, DEFAULT_MMAP_THRESHOLD_MAX on 64-bit machines.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Families `gemm` and `grouped_gemm`.

    Attributes:
        launch: Seconds of the framework's call, and of waking and joining the threads.
        compute_efficiency: Achievable share of the peak of large products.
        rows_half: Rows at which the rate is half of that.
        grain: Elements of the result that one thread takes at least.
        memory_efficiency: Achievable share of the memory bandwidth.
        cache_bytes_per_clock_per_unit: Rate at which one core takes in what the last-level cache holds.
        cache_share: Share of the last-level cache that operands can occupy.
        packing: Passes over the weights to bring them into the order of the kernel, where there is more than one row.
        overlap_norm: Exponent of the norm that joins arithmetic and traffic (1 adds, infinity overlaps).
    """

    launch: Number = 3e-6
    compute_efficiency: Number = 0.6
    rows_half: Number = 0.5
    grain: Number = 4096.0
    memory_efficiency: Number = 0.8
    cache_bytes_per_clock_per_unit: Number = 20.0
    cache_share: Number = 0.5
    packing: Number = 0.7
    overlap_norm: Number = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Attend:
    """Families `attention_prefill` and `attention_decode`.

    Attributes:
        launch, compute_efficiency, memory_efficiency, cache_bytes_per_clock_per_unit, cache_share: As of products.
        exponentials_per_clock_per_unit: Scores that one core takes through the softmax in a clock.
    """

    launch: Number = 10e-6
    compute_efficiency: Number = 0.4
    memory_efficiency: Number = 0.8
    cache_bytes_per_clock_per_unit: Number = 20.0
    cache_share: Number = 0.5
    exponentials_per_clock_per_unit: Number = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Families `memory_bound` and `scan`.

    Attributes:
        launch, memory_efficiency, cache_bytes_per_clock_per_unit, cache_share: As of products.
        flops_per_clock_per_unit: FLOPs of elementwise operations, elements of all others, that one core works off in
            a clock.
        grain: Elements that one thread takes at least.
        fresh_bytes_per_s: Rate at which pages that are new to the process are cleared.
    """

    launch: Number = 2e-6
    memory_efficiency: Number = 0.8
    cache_bytes_per_clock_per_unit: Number = 32.0
    cache_share: Number = 0.6
    flops_per_clock_per_unit: Number = 4.0
    grain: Number = 32768.0
    fresh_bytes_per_s: Number = 4e9


DECODE = Attend(exponentials_per_clock_per_unit=4.0)
"""Of one new token."""

DEFAULTS = {
    "gemm": Product(),
    "grouped_gemm": Product(),
    "attention_prefill": Attend(),
    "attention_decode": DECODE,
    "memory_bound": Stream(),
    "scan": Stream(),
}
"""The parameter families of this engine and their values."""


POINTWISE = "convolution-pointwise"
"""Library of convolutions with a filter of one element and without a stride, which run kernels of their own."""

CONVOLUTION = "convolution"
"""Library of all other convolutions."""


def as_product(kernel: Convolution) -> Gemm:
    """A convolution as the product that a host runs it as, marked as one for its parameters.

    The kind of the filter is that of the first row: callers give rows of one kind.
    """
    pointwise = np.all(np.asarray(kernel.filter) == 1.0) and np.all(np.asarray(kernel.stride) == 1.0)
    return replace(kernel.product(), library=POINTWISE if pointwise else CONVOLUTION)


def cpu(kernel: ComputeKernel, device: Device, residency: Residency = COLD) -> Parts:
    """Prices a kernel on the cores of a host.

    ```
    product    launch + ||flops/(e_c F(m) u/N), cold/B + hot/B_cache + packing [m > 1] weights/B||_p
    attention  launch + max(flops/(e_c F) + scores/(e N f), bytes/B + hot/B_cache)
    stream     launch + max(work/(e u f), cold/B + hot/B_cache) + [written > 32 MiB] written/fresh
    F(m) = F m/(m + rows_half)      u = clip(result elements/grain, 1, N) threads
    ```
    Scans are streams of their bytes that also compute at the peak.

    Does not count: cache levels inside the last one, non-uniform memory, clocks that fall with wide vectors.

    Source: S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009, with a ceiling for the cache; packing:
    K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008, section 4.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    match kernel:
        case Gemm():
            return _product(kernel, device, residency)
        case GroupedGemm():
            rows = kernel.rows / np.maximum(kernel.hit_experts, 1.0)
            each = Gemm(
                m=rows,
                n=kernel.n,
                k=kernel.k,
                batch=kernel.hit_experts,
                rate=kernel.rate,
                a_bytes=kernel.a_bytes,
                b_bytes=kernel.b_bytes,
                c_bytes=kernel.c_bytes,
                library=kernel.library,
            )
            return _product(each, device, COLD, "grouped_gemm")
        case Attention():
            return _attention(kernel, device)
        case MemoryBound() | Scan():
            return _stream(kernel, device)


def floor_device(kernel: ComputeKernel, device: Device, residency: Residency = COLD) -> Device:
    """The device whose roofline no estimate goes below: with a bandwidth that only what is cold has to pay.

    Where everything fits the last-level cache, arithmetic alone is the floor.
    """
    hot, _ = _split(kernel, device, 1.0, residency)
    share = np.minimum(hot / np.maximum(kernel_bytes(kernel), 1.0), 1.0 - 1e-9)
    return replace(device, memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s / (1.0 - share))


def _split(kernel: ComputeKernel, device: Device, cache_share: Number, residency: Residency) -> tuple[Number, Number]:
    """Bytes that the cache has, and bytes that come from memory."""
    cache, moved = cache_share * device.cache_bytes, kernel_bytes(kernel)
    weights: Number = 0.0
    match kernel:
        case Gemm():
            weights = kernel.batch * kernel.k * kernel.n * kernel.b_bytes
            # The second operand of a batched product is an activation, as in attention written out.
            weights = np.where(np.asarray(kernel.batch) > 1.0, 0.0, weights)
        case GroupedGemm():
            weights = kernel.hit_experts * kernel.k * kernel.n * kernel.b_bytes
        case _:
            pass
    activations = moved - weights
    hot = activations * cached_share(activations, cache)
    # Where there are no weights, any number stands for theirs: none times infinitely many copies is not a number.
    looped = np.where(np.asarray(weights) > 0, weights, 1.0) * residency.weight_copies
    kept = weights * cached_share(looped + activations, cache)
    return hot + kept, moved - hot - kept


def _traffic(kernel: ComputeKernel, device: Device, p: Product | Attend | Stream, residency: Residency) -> Number:
    hot, cold = _split(kernel, device, p.cache_share, residency)
    cache = p.cache_bytes_per_clock_per_unit * device.clock_hz * device.num_units
    return cold / (p.memory_efficiency * device.memory_bandwidth_bytes_per_s) + hot / cache


def _product(kernel: Gemm, device: Device, residency: Residency, family: str = "gemm") -> Parts:
    variants = format_variants(kernel.rate, kernel.a_bytes, kernel.b_bytes)
    p = resolve(Product(), device, family, variants, kernel.library)
    m, results = kernel.m, kernel.m * kernel.n * kernel.batch
    units = np.clip(results / p.grain, 1.0, device.num_units)
    peak = p.compute_efficiency * matrix_rate(device, kernel.rate) * units / device.num_units
    compute = kernel_flops(kernel) / peak * (1.0 + p.rows_half / np.maximum(m, 1.0))
    memory = _traffic(kernel, device, p, residency)
    weights = kernel.batch * kernel.k * kernel.n * kernel.b_bytes
    packed = np.where(np.asarray(m) > 1.0, p.packing * weights, 0.0)
    memory = memory + packed / (p.memory_efficiency * device.memory_bandwidth_bytes_per_s)
    return Parts(p.launch + p_norm(compute, memory, p.overlap_norm), compute=compute, memory=memory, latency=p.launch)


def _attention(kernel: Attention, device: Device) -> Parts:
    family = "attention_decode" if kernel.decode else "attention_prefill"
    variant = _grouping(kernel) if kernel.decode else kernel.rate
    default = DECODE if kernel.decode else Attend()
    p = resolve(default, device, family, attention_variants(variant, kernel), kernel.library)
    scores = kernel.batch * kernel.heads * kernel.pairs
    compute = kernel_flops(kernel) / (p.compute_efficiency * matrix_rate(device, kernel.rate))
    compute = compute + scores / (p.exponentials_per_clock_per_unit * device.clock_hz * device.num_units)
    memory = _traffic(kernel, device, p, COLD)
    return Parts(p.launch + np.maximum(compute, memory), compute=compute, memory=memory, latency=p.launch)


def _grouping(kernel: Attention) -> str:
    group = np.max(np.asarray(kernel.heads / np.maximum(kernel.kv_heads, 1.0)), initial=1.0)
    return grouping(float(group), kernel.library)


def _stream(kernel: MemoryBound | Scan, device: Device) -> Parts:
    if isinstance(kernel, Scan):
        p = resolve(Stream(), device, "scan", kernel.variant)
        vector = p.flops_per_clock_per_unit * device.clock_hz * device.num_units
        compute = kernel.flops / (vector if kernel.variant in CONVOLUTIONS else matrix_rate(device, kernel.rate))
    else:
        p = resolve(Stream(), device, "memory_bound", stream_variants(kernel.op))
        elements = kernel.rows * kernel.cols
        units = np.clip(elements / p.grain, 1.0, device.num_units)
        work = np.maximum(elements, kernel.flops) if "elementwise" in stream_variants(kernel.op) else elements
        compute = work / (p.flops_per_clock_per_unit * device.clock_hz * units)
    memory = _traffic(kernel, device, p, COLD)
    written = np.asarray(kernel.bytes_written)
    fresh = np.where(written >= FRESH_ABOVE, written / p.fresh_bytes_per_s, 0.0)
    seconds = p.launch + np.maximum(compute, memory) + fresh
    return Parts(seconds, compute=compute, memory=memory + fresh, latency=p.launch)
