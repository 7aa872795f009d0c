"""What the engines share: where operands are, the memory path, and how parts become a cost with a bound."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gambrel.cost.kernel import Kernel, KernelCost, Number
from gambrel.cost.roofline import COMPUTE, LATENCY, MEMORY, NETWORK, is_empty, roofline
from gambrel.hardware.device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """Where operands are when a kernel starts.

    Attributes:
        activations_hot: Whether activations and results that fit were left in the last-level cache.
        weight_copies: Copies of the weights that a measuring loop rotates over; infinity for weights that come from
            device memory each time, as in a model that does not fit the cache.
        working_set_bytes: What the loop of several kernels touches before it comes back to the same weights; infinity
            for weights that come from device memory each time. Expert products read it in place of the copies.
    """

    activations_hot: bool = False
    weight_copies: float = math.inf
    working_set_bytes: Number = math.inf


COLD = Residency()
"""Everything comes from device memory: what an estimate assumes."""


class Parts(NamedTuple):
    """An engine's answer: the seconds, and what each resource alone would take (for the bound).

    `cached` is the share of the kernel's bytes that a measuring loop left in the cache: the floor counts the others.
    """

    seconds: Number
    compute: Number = 0.0
    memory: Number = 0.0
    network: Number = 0.0
    latency: Number = 0.0
    cached: Number = 0.0


def memory_seconds(cold: Number, hot: Number, bytes_per_s: Number, ramp: Number, cache_bytes_per_s: Number) -> Number:
    """Time of a stream: `cold/B + ramp cold/(cold + B ramp) + hot/B_cache`, B the achievable memory bandwidth.

    A short stream cannot fill the memory pipeline: bytes in flight are bandwidth times latency, so the effective
    bandwidth rises with the size and the loss saturates at `ramp`. Does not count row conflicts, refresh or contention.

    Source: J. D. C. Little, "A Proof for the Queuing Formula L = lambda W", Operations Research 9(3), 1961, applied to
    outstanding memory requests; the rational ramp is this project's closed form.
    """
    return cold / bytes_per_s + ramp * cold / np.maximum(cold + bytes_per_s * ramp, 1e-300) + hot / cache_bytes_per_s


def issued(seconds: Number, work: Number, call: Number, lead: Number) -> Number:
    """Time of a call that a host issues by itself: `max(work call, work lead + seconds)`; the seconds where work is 0.

    A framework that issues each operator by itself keeps the device waiting: the kernel starts `work lead` after the
    call before, and a short one ends before the host, which takes `work call`, is ready for the next.

    Args:
        seconds: Of the kernel alone.
        work: The host's, relative to a call of work 1.
        call: Seconds of the host for a call of work 1.
        lead: Seconds of these before the kernel starts.
    """
    return np.maximum(work * call, work * lead + seconds)


def p_norm(x: Number, y: Number, p: Number) -> Number:
    """`(x^p + y^p)^(1/p)` of two times, without overflow: the longer one, lengthened by what does not overlap."""
    longer, shorter = np.maximum(x, y), np.minimum(x, y)
    return longer * np.power(1.0 + np.power(shorter / np.maximum(longer, 1e-300), p), 1.0 / p)


def cache_bytes_per_s(device: Device, bytes_per_clock_per_unit: Number) -> Number:
    """Streaming rate of the last-level cache over all units."""
    return bytes_per_clock_per_unit * device.clock_hz * device.num_units


def cached_share(needed: Number, available: Number) -> Number:
    """Share of `needed` bytes that a loop finds in a cache of `available` bytes: `min(1, available/needed)^2`.

    The square models least-recently-used replacement: a working set that exceeds the cache loses more than the excess.
    """
    return np.square(np.minimum(1.0, available / np.maximum(needed, 1.0)))


def looped_share(needed: Number, available: Number) -> Number:
    """Share of `needed` bytes that a loop over them finds in a cache of `available`: `min(1, available/needed)^8`.

    A loop that reads the same bytes in the same order loses nearly all of them once they exceed the cache, as the least
    recently used ones are those that it needs next. The exponent follows measured steps of decode attention on five
    devices: bytes at the cache's rate up to three quarters of it, at the memory's from 1.3 times it.
    """
    return np.power(np.minimum(1.0, available / np.maximum(needed, 1.0)), 8.0)


def to_cost(kernel: Kernel, device: Device, parts: Parts) -> KernelCost:
    """Seconds not below the roofline floor, 0 for an empty kernel; the bound is the largest part."""
    if np.any(np.asarray(parts.cached) > 0.0):
        cold = np.maximum(1.0 - parts.cached, 1e-9)
        device = replace(device, memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s / cold)
    floor = roofline(kernel, device)
    seconds = np.maximum(parts.seconds, floor.seconds)
    largest = np.maximum(np.maximum(parts.compute, parts.memory), np.maximum(parts.network, parts.latency))
    bound = np.where(
        parts.latency >= largest,
        LATENCY,
        np.where(parts.network >= largest, NETWORK, np.where(parts.memory >= largest, MEMORY, COMPUTE)),
    )
    bound = np.where(parts.seconds < floor.seconds, floor.bound, bound)
    seconds, bound = np.broadcast_arrays(np.where(is_empty(kernel), 0.0, seconds), bound)
    return KernelCost(seconds, bound)
