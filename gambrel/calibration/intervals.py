"""How far a measured time may lie from its estimate: quantiles of measured over predicted, by family and grade."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gambrel.calibration.families import families, family_stem, grade_of
from gambrel.cost.engines import Grade
from gambrel.cost.kernel import Array, Kernel
from gambrel.hardware.device import Device


class Band(NamedTuple):
    """Bounds of measured over predicted that 95 % of the calls keep.

    Attributes:
        small_lower, small_upper: Of estimates of at most `split_s` seconds, where start-up counts.
        large_lower, large_upper: Of longer ones.
        split_s: Where the two meet.
    """

    small_lower: float
    small_upper: float
    large_lower: float
    large_upper: float
    split_s: float

    def ratios(self, seconds: Array) -> tuple[Array, Array]:
        """Lower and upper ratio for each estimate; the estimate itself is always inside."""
        small = seconds <= self.split_s
        lower = np.where(small, self.small_lower, self.large_lower)
        upper = np.where(small, self.small_upper, self.large_upper)
        return np.minimum(lower, 1.0), np.maximum(upper, 1.0)


SPLIT_S = 30e-6
"""Estimates up to this are called small: start-up and host effects are a good part of them."""

POOLED: Mapping[tuple[str, Grade], Band] = {}
"""Bounds for devices whose profile has none, by family and grade."""

UNKNOWN = Band(0.25, 4.0, 0.25, 4.0, SPLIT_S)
"""Bounds of a family that was never measured."""


def band_of(kernel: Kernel, device: Device) -> Band:
    """The bounds of a kernel: the device's own for the most specific family that it has, else the pooled ones."""
    for name in reversed(families(kernel, device)):
        own = device.uncertainty.get(name)
        if own:
            return Band(**own)
    stem = family_stem(kernel)
    grade = grade_of(kernel, device)
    return POOLED.get((stem, grade), POOLED.get((stem, "datasheet"), UNKNOWN))
