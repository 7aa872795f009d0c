"""Where a fit ends: the sizes that parameters were fitted on, and how far a kernel lies outside them."""

from collections.abc import Iterable, Mapping

import numpy as np

from gambrel.calibration.families import families
from gambrel.cost.kernel import (
    Array,
    Attention,
    Convolution,
    Gemm,
    GroupedGemm,
    Kernel,
    MemoryBound,
    Number,
    Scan,
    Transfer,
)
from gambrel.hardware.device import Device

WIDER = 0.25
"""How much further each bound of an interval lies, in ln, for each e-fold that a size lies outside the fitted ones.

Source: assumed: a size ten times too large then widens the interval by a factor of 1.8 to either side.
"""


def sizes_of(kernel: Kernel) -> Mapping[str, Number]:
    """The sizes of a kernel that a fit must have seen, by name."""
    match kernel:
        case Gemm():
            names = ("m", "n", "k", "batch")
        case Convolution():
            names = ("images", "channels_in", "channels_out", "height", "width", "filter", "stride")
        case GroupedGemm():
            names = ("rows", "experts", "n", "k")
        case Attention():
            names = ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim")
        case Scan():
            names = ("tokens", "blocks")
        case MemoryBound():
            names = ("rows", "cols")
        case Transfer():
            names = ("message_bytes", "group")
    return {name: getattr(kernel, name) for name in names}


def size_ranges(kernels: Iterable[Kernel]) -> dict[str, tuple[float, float]]:
    """The smallest and the largest of each size over some kernels."""
    ranges: dict[str, tuple[float, float]] = {}
    for kernel in kernels:
        for name, values in sizes_of(kernel).items():
            least, most = float(np.min(values)), float(np.max(values))
            low, high = ranges.get(name, (least, most))
            ranges[name] = (min(low, least), max(high, most))
    return ranges


def beyond_fitted(kernel: Kernel, device: Device) -> Array:
    """How far each row lies outside the sizes of the fit that prices it: the sum of `ln(size/limit)` over its sizes.

    0 inside them, and everywhere on a device whose profile does not say what it was fitted on.
    """
    if not device.fitted_ranges:
        return np.asarray(0.0)
    names = families(kernel, device)
    ranges = next((device.fitted_ranges[name] for name in reversed(names) if name in device.fitted_ranges), None)
    total = np.asarray(0.0)
    if ranges is None:
        return total
    for name, size in sizes_of(kernel).items():
        if name in ranges:
            least, most = ranges[name]
            known = np.clip(size, least, most)
            total = total + np.abs(np.log(np.maximum(size, 1e-9) / np.maximum(known, 1e-9)))
    return total
