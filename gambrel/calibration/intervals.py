"""How far a measured time may lie from its estimate: quantiles of measured over predicted, by family and grade."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from gambrel.calibration.families import families, family_stem, grade_of
from gambrel.cost.engines import Grade
from gambrel.cost.kernel import Array, Kernel, Transfer
from gambrel.hardware.device import Device
from gambrel.hardware.load import residual_numbers
from gambrel.hardware.read import read_profile
from gambrel.hardware.resolve import find_profile, resolve

SPLIT_S = 30e-6
"""Estimates up to this are small: start-up and host effects are a good part of them."""

TAIL = 0.01
"""Share of the residuals cut off at either end: less than 2.5 %, as other shapes spread more than those at hand."""

POOLED_TAIL = 0.025
"""The same of residuals of other devices, whose bounds are widened instead."""

FEW_SITES, FEW_WIDENED = 24, 1.3
"""Residuals of fewer shape sites than this are widened so much in ln: they show less than all there is."""

LEAST_ROWS = 40
"""Fewest residuals that shape a bound of their own."""

WIDENED = 1.6
"""How much wider, in ln, the interval of a device without measurements is than the pooled residuals of others.

Source: assumed from the errors of leaving a generation out against those of leaving rows out, which differ by 1.5 to 2.
"""


class Band(NamedTuple):
    """Bounds of measured over predicted that 95 % of the calls keep.

    Attributes:
        small_lower, small_upper: Of estimates of at most SPLIT_S seconds.
        large_lower, large_upper: Of longer ones.
    """

    small_lower: float
    small_upper: float
    large_lower: float
    large_upper: float

    def ratios(self, seconds: Array) -> tuple[Array, Array]:
        """Lower and upper ratio for each estimate; the estimate itself is always inside."""
        small = seconds <= SPLIT_S
        lower = np.where(small, self.small_lower, self.large_lower)
        upper = np.where(small, self.small_upper, self.large_upper)
        return np.minimum(lower, 1.0), np.maximum(upper, 1.0)


def band_from(seconds: Array, measured: Array, *, tail: float = TAIL, widened: float = 1.0) -> Band | None:
    """The bounds that residuals show; None where there are too few.

    A regime with fewer than LEAST_ROWS rows has the bounds of all rows.

    Args:
        seconds: Estimates.
        measured: Measurements of the same calls.
        tail: Share of the residuals cut off at either end.
        widened: Factor on the logarithm of the bounds.
    """
    if len(seconds) < LEAST_ROWS:
        return None
    residuals = np.log(measured / seconds) * widened
    small = seconds <= SPLIT_S
    bounds: list[float] = []
    for regime in (small, ~small):
        of = residuals[regime] if np.count_nonzero(regime) >= LEAST_ROWS else residuals
        low, high = np.quantile(of, [tail, 1.0 - tail]).tolist()
        bounds += [float(np.exp(min(low, 0.0))), float(np.exp(max(high, 0.0)))]
    return Band(*bounds)


UNKNOWN = Band(0.25, 4.0, 0.25, 4.0)
"""Bounds of a family that was never measured."""


@cache
def pooled(grade: Grade) -> Mapping[str, Band]:
    """Bounds by family for devices whose profile has none: residuals of other devices, priced at that grade.

    Source: the base profiles `residuals-transferred` and `residuals-datasheet`, written by benchmarks/accuracy.
    """
    name = "residuals-datasheet" if grade == "datasheet" else "residuals-transferred"
    profile, _ = read_profile(resolve(find_profile(name)))
    return {family: Band(**residual_numbers(bounds)) for family, bounds in profile.uncertainty.items()}


def band_of(kernel: Kernel, device: Device) -> Band:
    """The bounds of a kernel: the device's own for the most specific family that it has, else the pooled ones."""
    names = families(kernel, device)
    for name in reversed(names):
        own = device.uncertainty.get(name)
        if own:
            return Band(**own)
    if device.engine == "roofline" and not isinstance(kernel, Transfer):
        return pooled("datasheet").get(device.engine, UNKNOWN)
    others = pooled(grade_of(kernel, device))
    return next((others[name] for name in (*reversed(names), family_stem(kernel)) if name in others), UNKNOWN)
