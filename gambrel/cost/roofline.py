"""Plain roofline: peak rates, peak bandwidths and nothing else; the floor that no engine's estimate goes below.

Shapes: every count may be a scalar or an array; they broadcast against each other and against what-if arrays of the
device. Seconds, bytes and FLOPs are SI base units.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.kernel import (
    BOUNDS,
    Attention,
    Convolution,
    Gemm,
    GroupedGemm,
    Kernel,
    KernelCost,
    MemoryBound,
    Number,
    Scan,
    Transfer,
)
from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.hardware.device import Device, Link

COMPUTE, MEMORY, NETWORK, LATENCY = (np.int8(i) for i in range(len(BOUNDS)))


class Level(NamedTuple):
    """One network level that a group crosses.

    Attributes:
        link: The level.
        members: Devices (or inner groups) that exchange over it; 1 where the group does not reach it.
        inner: Devices of the group below one member.
    """

    link: Link
    members: Number
    inner: Number


def kernel_flops(kernel: Kernel) -> Number:
    """FLOPs of one execution on one device; one FMA is 2.

    `2 b m n k`, that of the product that a convolution is, `2 rows n k`,
    `2 batch heads pairs (head_dim + v_head_dim)`, the own count of a recurrence and of a memory-bound kernel, 0 for a
    transfer. Does not count exponentials, epilogues, padding, or the additions of a reduction in flight.
    """
    match kernel:
        case Gemm():
            return 2.0 * kernel.batch * kernel.m * kernel.n * kernel.k
        case Convolution():
            return kernel_flops(kernel.product())
        case GroupedGemm():
            return 2.0 * kernel.rows * kernel.n * kernel.k
        case Attention():
            return 2.0 * kernel.batch * kernel.heads * kernel.pairs * (kernel.head_dim + kernel.v_head_dim)
        case Scan() | MemoryBound():
            return kernel.flops
        case Transfer():
            return 0.0
        case _:
            assert_never(kernel)


def kernel_bytes(kernel: Kernel) -> Number:
    """Unique bytes that one execution moves on one device: device memory, or the wire for a transfer.

    Each operand once: `b (m k a + k n b + m n c)`; images, filters and results of a convolution;
    `rows (k a + n c) + hit_experts n k b`; `kv_bytes_total + batch q_len heads (head_dim + v_head_dim) q`; read plus
    written; what a device sends over a flat ring. Does not count operands that are streamed again, nor a separate
    quantise kernel.
    """
    match kernel:
        case Gemm(m=m, n=n, k=k):
            each = m * k * kernel.a_bytes + k * n * kernel.b_bytes + m * n * kernel.c_bytes
            return kernel.batch * each
        case Convolution():
            filters = kernel.channels_in * kernel.channels_out * kernel.filter * kernel.filter * kernel.b_bytes
            images = kernel.channels_in * kernel.height * kernel.width * kernel.a_bytes
            results = kernel.channels_out * kernel.out_height * kernel.out_width * kernel.c_bytes
            return kernel.images * (images + results) + filters
        case GroupedGemm(n=n, k=k):
            activations = kernel.rows * (k * kernel.a_bytes + n * kernel.c_bytes)
            return activations + kernel.hit_experts * n * k * kernel.b_bytes
        case Attention():
            rows = kernel.batch * kernel.q_len * kernel.heads
            return kernel.kv_bytes_total + rows * (kernel.head_dim + kernel.v_head_dim) * kernel.q_bytes
        case Scan() | MemoryBound():
            return kernel.bytes_read + kernel.bytes_written
        case Transfer():
            return _sent(kernel, kernel.group, 1.0)
        case _:
            assert_never(kernel)


def matrix_rate(device: Device, rate: str) -> Number:
    """Dense peak of a number format in FLOP/s; `fp32` without a matrix rate runs on the vector units.

    Raises:
        PlanError: The device has no rate for the format; callers choose one that it has beforehand.
    """
    if rate in device.matrix_flops_per_s:
        return device.matrix_flops_per_s[rate]
    if rate == "fp32":
        return device.vector_flops_per_s
    raise PlanError(
        Problem(
            where=device.name,
            what=f"no matrix rate for {rate!r}",
            why="a product is priced at the rate of its number format",
            fix=f"Choose a format that the device computes in. {did_you_mean(rate, device.matrix_flops_per_s)}",
        )
    )


def crossed_levels(kernel: Transfer, device: Device) -> Iterator[Level]:
    """The network levels that a group of `group` devices, `stride` ranks apart, exchanges over, inner to outer.

    Members of the group inside a link's domain: `clip(min(size // stride, per_node), 1, group)`; the outermost link
    takes the rest, so a group that is larger than the network is priced as if the outermost level were larger.

    Raises:
        PlanError: The group has several devices and the profile has no link.
    """
    if not device.links:
        if np.any(np.asarray(kernel.group) > 1):
            raise PlanError(
                Problem(
                    where=device.name,
                    what=f"a {kernel.op} over several devices, but the device has no link",
                    fix="Use one device, or add `links` to the profile",
                )
            )
        return
    inner: Number = 1.0
    for index, link in enumerate(device.links):
        reach: Number = kernel.group
        if index < len(device.links) - 1:
            inside = np.minimum(np.floor(link.size / np.maximum(kernel.stride, 1.0)), kernel.per_node)
            reach = np.clip(inside, 1.0, kernel.group)
        reach = np.maximum(reach, inner)
        yield Level(link, np.ceil(reach / inner), inner)
        inner = reach


def widest_link(kernel: Transfer, device: Device) -> Link | None:
    """The outermost link that a group exchanges over, the innermost of the device for a group of one device.

    The group is that of the first row: callers give rows of one layout. None where the device has no links.
    """

    def first(value: Number) -> Number:
        return float(np.ravel(np.asarray(value))[0]) if np.size(value) else 1.0

    numbers = {name: first(getattr(kernel, name)) for name in ("group", "stride", "per_node")}
    if not device.links:
        return None
    levels = crossed_levels(replace(kernel, **numbers), device)
    crossed = [level.link for level in levels if np.all(np.asarray(level.members) > 1.0)]
    return crossed[-1] if crossed else device.links[0]


def _sent(kernel: Transfer, members: Number, inner: Number) -> Number:
    """Bytes that one device sends over a level of `members` peers of `inner` devices each, pipelined ring algorithm.

    With S = message_bytes: all_reduce `2 (n-1)/n S/inner`; all_gather and reduce_scatter `(n-1)/n S/inner`; all_to_all
    `(n-1) inner/group S`; broadcast and permute `S` where the group crosses the level.

    Source: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", 2005,
    sections 4.1 to 4.5 (bandwidth terms of the ring and pairwise algorithms).
    """
    size, share = kernel.message_bytes, (members - 1.0) / np.maximum(members, 1.0)
    match kernel.op:
        case "all_reduce":
            return 2.0 * share * size / inner
        case "all_gather" | "reduce_scatter":
            return share * size / inner
        case "all_to_all":
            return size * (members - 1.0) * inner / np.maximum(kernel.group, 1.0)
        case "broadcast" | "permute":
            return np.where(np.asarray(members) > 1.0, size, 0.0)
        case _:
            assert_never(kernel.op)


def level_bytes(kernel: Transfer, level: Level) -> Number:
    """Bytes that one device sends over one level with the ring (or pairwise) algorithm."""
    return _sent(kernel, level.members, level.inner)


def in_network_bytes(kernel: Transfer, level: Level) -> Number:
    """Bytes that one device sends for an all-reduce that the switch adds up: `(n+1)/n S/inner`.

    Source: NVIDIA, "NVLink SHARP", Hot Chips 34 (2022): reads are reduced and writes multicast in the switch, so each
    device moves its buffer once plus its own 1/n share, against 2 (n-1)/n times for a ring.
    """
    share = np.where(np.asarray(level.members) > 1.0, 1.0 + 1.0 / np.maximum(level.members, 1.0), 0.0)
    return share * kernel.message_bytes / level.inner


def network_seconds(kernel: Transfer, device: Device) -> Number:
    """Seconds of the busiest level at its full bandwidth, without start-up; levels overlap perfectly."""
    seconds: Number = 0.0
    for level in crossed_levels(kernel, device):
        sent = level_bytes(kernel, level)
        if kernel.op == "all_reduce" and level.link.in_network_reduction:
            sent = np.minimum(sent, in_network_bytes(kernel, level))
        seconds = np.maximum(seconds, sent / level.link.bandwidth_bytes_per_s)
    return seconds


def is_empty(kernel: Kernel) -> NDArray[np.bool_]:
    """Whether a kernel has nothing to do (some size is 0, or the group is one device); such a kernel costs 0."""
    match kernel:
        case Gemm():
            work = kernel.m * kernel.n * kernel.k * kernel.batch
        case Convolution():
            work = kernel_flops(kernel)
        case GroupedGemm():
            work = kernel.rows * kernel.n * kernel.k
        case Attention():
            work = kernel.batch * kernel.q_len * kernel.heads * kernel.pairs
        case Scan():
            work = kernel.flops
        case MemoryBound():
            work = kernel.rows * kernel.cols * kernel_bytes(kernel)
        case Transfer():
            work = kernel.message_bytes * np.maximum(kernel.group - 1.0, 0.0)
        case _:
            assert_never(kernel)
    return np.asarray(work) <= 0


def roofline(kernel: Kernel, device: Device) -> KernelCost:
    """Prices a kernel at `max(FLOPs / peak, bytes / bandwidth)`, a transfer at its bytes over the link's bandwidth.

    Counts no launch, no wave or tile quantisation, no achievable fraction, no latency of the network.

    Source: S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
    Architectures", CACM 52(4), 2009.

    Raises:
        PlanError: No rate for the kernel's number format, or a transfer on a device without links.
    """
    if isinstance(kernel, Transfer):
        seconds = np.where(is_empty(kernel), 0.0, network_seconds(kernel, device))
        return KernelCost(seconds, np.full(seconds.shape, NETWORK))
    peak = device.vector_flops_per_s if isinstance(kernel, MemoryBound) else matrix_rate(device, kernel.rate)
    compute, memory = np.broadcast_arrays(
        np.asarray(kernel_flops(kernel) / peak), np.asarray(kernel_bytes(kernel) / device.memory_bandwidth_bytes_per_s)
    )
    seconds = np.where(is_empty(kernel), 0.0, np.maximum(compute, memory))
    return KernelCost(seconds, np.where(compute > memory, COMPUTE, MEMORY))
