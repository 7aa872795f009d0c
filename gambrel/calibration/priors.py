"""What is known of engine parameters before a fit: where they lie, how far they may spread, what they cannot be."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NamedTuple, TypeGuard, cast

import numpy as np

from gambrel.calibration.families import families
from gambrel.cost.engines import parameters, variant_defaults
from gambrel.cost.engines.collective_defaults import collective_default, known_of_library
from gambrel.cost.engines.cpu import DEFAULTS as CPU_DEFAULTS
from gambrel.cost.engines.lookup import parameter_grade, resolve
from gambrel.cost.engines.variants import achievable_variants
from gambrel.cost.kernel import (
    Array,
    Attention,
    Convolution,
    Gemm,
    GroupedGemm,
    Kernel,
    MemoryBound,
    Scan,
    Transfer,
)
from gambrel.cost.rates import resolve_rate
from gambrel.cost.roofline import widest_link
from gambrel.hardware.device import Device, Number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SPREAD = 0.6
"""Prior spread of ln of a parameter that SPREADS does not name."""

SPREADS = {
    "launch": 0.5,
    "host_call": 0.5,
    "host_lead": 0.5,
    "compute_efficiency": 0.15,
    "memory_efficiency": 0.08,
    "in_network_efficiency": 0.25,
    "ring_efficiency": 0.25,
    "sustained_share": 0.1,
    "overlap_norm": 0.4,
    "memory_ramp": 0.4,
    "low_latency_hop": 1.2,
    "ring_hop": 1.2,
    "load_bytes_per_clock_per_unit": 0.4,
    "exponentials_per_clock_per_unit": 0.4,
    "wave_hardness": 1.0,
    "wave_overhead": 0.7,
    "quantize_row_time": 1.5,
    "quantize_per_clock_per_unit": 1.0,
    "unpack_per_clock_per_unit": 1.0,
    "prologue_passes": 1.2,
    "append_passes": 1.2,
    "result_elements_per_clock_per_unit": 1.0,
    "cut_tiles": 1.0,
    "tail_share": 0.8,
    "local_passes": 1.0,
    "ramp": 1.0,
    "cache_share": 0.4,
    "cache_bytes_per_clock_per_unit": 0.5,
    "pair_time": 1.5,
    "expert_time": 2.0,
    "foreign_passes": 1.5,
    "staging_passes": 1.0,
    "unaligned_load_share": 1.0,
}
"""Prior spread of ln of parameters. Source: the spread between the fitted generations of the shipped profiles."""

CPU_SPREADS = {
    "launch": 1.0,
    "compute_efficiency": 0.5,
    "memory_efficiency": 0.3,
    "overlap_norm": 0.4,
    "flops_per_clock_per_unit": 1.0,
    "exponentials_per_clock_per_unit": 1.0,
    "fresh_bytes_per_s": 1.0,
}
"""The same on hosts, which differ more. Source: assumed."""

CEILINGS = {
    "compute_efficiency": 1.0,
    "memory_efficiency": 0.95,
    "wave_hardness": 1.0,
    "sustained_share": 1.0,
    "low_latency_efficiency": 1.0,
    "ring_efficiency": 1.0,
    "in_network_efficiency": 1.0,
    "cache_share": 1.0,
    "unaligned_load_share": 1.0,
    "kept_share": 1.0,
    "tail_share": 1.0,
    "memory_ramp": 30e-6,
    "split_overhead": 50e-6,
    "block_overhead": 50e-6,
    "wave_overhead": 30e-6,
}
"""Shares cannot exceed one; refresh and row switches keep a memory below 95 %; start-up of a kernel's part is some
microseconds."""

FLOORS = {"overlap_norm": 1.0}
"""Times add at worst."""

HOP_S = 0.7e-6
"""Prior of a hop, where the default is the link's own latency."""

TILES = ("least_tile", "largest_tile", "tile_columns", "tile_margin")
"""Parameters that choose the tile of expert products."""

FIXED = ("sustained_after", "long_row", "rows_in_flight", "rows_at_once", "fused", *TILES)
"""Thresholds and switches, which a few measured points do not place."""

SOME_KINDS = ("regroup_time", "widening_passes", "append_block_time", "sequence_time")
"""Parameters of further kernels, which only some kinds of a library's have."""

ACHIEVABLE = {"compute_efficiency": 0.7, "memory_efficiency": 0.8, "launch": 10e-6}
"""Prior of the engine `roofline`, whose defaults are plain roofline: no device reaches it. Source: between what kernels
of the measured devices reach."""

REACH = 5.0
"""Spreads to either side of the prior that a fit may go."""

WIDE = 4.6
"""Least reach in ln: a factor of 100."""

UNSURE = 1.5
"""How much wider the prior is where it is the engine's defaults, which are no device's of this generation."""


Achievable = Gemm | Convolution | GroupedGemm | Attention | Scan | MemoryBound
"""Kernels that the engine `roofline` prices."""


class Prior(NamedTuple):
    """A log-normal prior over some parameters; all arrays in ln, one value a name."""

    names: tuple[str, ...]
    centre: Array
    spread: Array
    low: Array
    high: Array

    def values(self, z: Array) -> dict[str, float]:
        """Parameters by name."""
        return dict(zip(self.names, np.exp(z).tolist(), strict=True))

    def only(self, names: tuple[str, ...]) -> "Prior":
        """The prior over some of the parameters."""
        kept = np.array([name in names for name in self.names], dtype=np.bool_)
        return Prior(tuple(name for name in self.names if name in names), *(values[kept] for values in self[1:]))

    def joined(self, other: "Prior") -> "Prior":
        """The prior over the parameters of both."""
        pairs = zip(self[1:], other[1:], strict=True)
        return Prior((*self.names, *other.names), *(np.concatenate(pair) for pair in pairs))


def parameter_family(kernel: Kernel, device: Device) -> str:
    """The family under which parameters of such kernels are written: the most specific, for no particular library."""
    if _is_achievable(kernel, device):
        return _achievable_lookup(kernel, device)[-1]
    return next(name for name in reversed(families(kernel, device)) if "@" not in name)


def current_values(kernel: Kernel, device: Device, library: str = "") -> dict[str, float]:
    """The parameters that price a kernel on a device as its profile stands, with defaults for those that it lacks."""
    achieved = _is_achievable(kernel, device)
    names = _achievable_lookup(kernel, device) if achieved else families(kernel, device)
    stem, *rest = (name for name in names if "@" not in name)
    variants = [name.removeprefix(f"{stem}_") for name in rest]
    known = known_of(kernel, device, library) if isinstance(kernel, Transfer) else None
    p = resolve(_defaults(kernel, device), device, stem, variants, "" if achieved else library, known)
    return {name: float(np.asarray(value)) for name, value in asdict(p).items()}


def known_of(kernel: Kernel, device: Device, library: str) -> Mapping[str, Number]:
    """What is known of a library's kernels of that kind on every device; nothing for most."""
    if isinstance(kernel, Transfer):
        link = widest_link(kernel, device)
        return known_of_library(link, kernel.op, library) if link else {}
    return variant_defaults.LIBRARIES.get(f"{parameter_family(kernel, device)}@{library}", {})


def prior_of(kernel: Kernel, device: Device) -> Prior:
    """The prior of a kernel's parameters: the device's present ones, those of its generation where it has no own.

    Parameters of another vendor never take part: a profile without a base of its own vendor has the engine's defaults,
    whose spread is UNSURE times wider.
    """
    values = current_values(kernel, device)
    values = {name: HOP_S if np.isnan(value) else value for name, value in values.items()}
    if _stem(kernel, device) == "roofline":
        plain = current_values(kernel, replace(device, parameters={}))
        values = {name: ACHIEVABLE[name] if value == plain[name] else value for name, value in values.items()}
    # What `packing` is on a host is a rate.
    fixed = FIXED if device.engine == "cpu" else (*FIXED, *variant_defaults.RULES)
    values = {name: value for name, value in values.items() if value > 0 and name not in fixed}
    on_host = device.engine == "cpu"
    spreads = {**(dict.fromkeys(values, 0.8) | CPU_SPREADS if on_host else SPREADS)}
    sure = on_host or parameter_grade(device, _stem(kernel, device)) != "datasheet"
    centre = np.log(list(values.values()))
    spread = np.array([spreads.get(name, SPREAD) for name in values]) * (1.0 if sure else UNSURE)
    reach = np.maximum(REACH * spread, WIDE)
    low = np.maximum(centre - reach, np.log([FLOORS.get(name, 1e-300) for name in values]))
    high = np.minimum(centre + reach, np.log([CEILINGS.get(name, 1e300) for name in values]))
    return Prior(tuple(values), np.clip(centre, low + 1e-6, high - 1e-6), spread, low, high)


def some_kinds(values: Mapping[str, float], known: tuple[str, ...]) -> Prior:
    """The prior of those parameters of SOME_KINDS that are given and not among the known ones."""
    names = tuple(name for name in SOME_KINDS if values.get(name, 0.0) > 0 and name not in known)
    centre = np.log([values[name] for name in names])
    spread = np.full(len(names), SPREAD)
    return Prior(names, centre, spread, centre - WIDE, centre + WIDE)


def _is_achievable(kernel: Kernel, device: Device) -> TypeGuard[Achievable]:
    """Whether the engine `roofline` prices a kernel."""
    return device.engine == "roofline" and not isinstance(kernel, Transfer)


def _stem(kernel: Kernel, device: Device) -> str:
    return "roofline" if _is_achievable(kernel, device) else families(kernel, device)[0]


def _defaults(kernel: Kernel, device: Device) -> "DataclassInstance":
    stem = _stem(kernel, device)
    if isinstance(kernel, Transfer):
        link = widest_link(kernel, device)
        return collective_default(link, kernel.op) if link else parameters.DEFAULTS["collective"]
    if device.engine == "cpu":
        return CPU_DEFAULTS[stem]
    if stem == "gemm":
        return parameters.gemm_defaults(device)
    if isinstance(kernel, Scan) and stem == "scan":
        return parameters.SCANS.get(kernel.variant, parameters.Scan())
    return cast("DataclassInstance", parameters.DEFAULTS[stem])


def _achievable_lookup(kernel: Achievable, device: Device) -> tuple[str, ...]:
    """Families of the engine `roofline`, the specific last."""
    if not isinstance(kernel, MemoryBound):
        kernel = replace(kernel, rate=resolve_rate(device, kernel.rate))
    return ("roofline", *(f"roofline_{each}" for each in achievable_variants(kernel)))
