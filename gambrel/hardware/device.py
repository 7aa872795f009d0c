"""A machine as the plain numbers that cost engines read: SI units, no provenance (that stays in the profile)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Number = float | NDArray[np.float64]
"""A scalar, or an array of what-if values that broadcasts against the design points."""

Topology = Literal["point-to-point", "fully-connected", "switch", "ring", "torus2d", "torus3d", "fat-tree", "bus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One level of the network, as one device sees it.

    Attributes:
        name: For example `nvlink`.
        size: Devices inside this level's domain, inner levels included (8 for an HGX board, 72 for NVL72).
        bandwidth_bytes_per_s: Per device, one direction.
        latency_s: Start-up time of one message.
        topology: How the devices of the domain are joined.
        in_network_reduction: Whether the switch can reduce (NVLink SHARP).
        energy_per_byte_j: To send one byte; None where the profile does not say.
        start_up_share: Start-ups of transfers over those that the engine's parameters give, in a what-if.
    """

    name: str
    size: int
    bandwidth_bytes_per_s: Number
    latency_s: Number
    topology: Topology
    in_network_reduction: bool = False
    energy_per_byte_j: Number | None = None
    start_up_share: Number = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Power and energy of one device; None where the profile does not say.

    Attributes:
        tdp_w: Default power limit, under which the engine's parameters were measured.
        idle_w: With nothing running.
        all_in_w: Share of the facility.
        energy_per_flop_j: Of one FLOP by number format, at the nominal voltage.
        energy_per_byte_j: Of one byte between device memory and the units.
        energy_per_cache_byte_j: Of one byte from the last-level cache.
        static_w: With clocks up, between kernels; idle where None.
        active_w: Under a kernel, before its FLOPs and bytes count; static where None.
        cap_w: A power limit below the default one.
        clock_hz: A clock that the units do not exceed.
        voltage_floor: `v(s) = floor + (1 - floor) s` of voltage over clock, both over their nominal values.
    """

    tdp_w: Number
    idle_w: Number | None = None
    all_in_w: Number | None = None
    energy_per_flop_j: Mapping[str, Number]
    energy_per_byte_j: Number | None = None
    energy_per_cache_byte_j: Number | None = None
    static_w: Number | None = None
    active_w: Number | None = None
    cap_w: Number | None = None
    clock_hz: Number | None = None
    voltage_floor: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device and the network around it, ready to be priced.

    Attributes:
        name: Name of the profile, `h100-sxm`.
        title: For people, `NVIDIA H100 SXM5 80GB`.
        kind: `gpu`, `tpu`, `npu`, ...
        generation: Family that shares engine parameters, such as `hopper`.
        engine: Which engine prices it: `gpu`, `cpu` or `roofline`.
        num_units: SMs, CUs, cores or matrix units that a kernel's tiles are spread over.
        clock_hz: Clock of the units under load.
        matrix_flops_per_s: Dense peak of the whole device by number format (`bf16 fp16 fp8 int8 int4 nvfp4 mxfp4 tf32
            fp32`).
        sparse_flops_per_s: Structured-sparsity peak by number format, where it is sold.
        vector_flops_per_s: FP32 rate outside the matrix units.
        memory_bytes: Capacity of device memory.
        memory_bandwidth_bytes_per_s: Peak bandwidth of device memory.
        cache_bytes: Last-level cache; 0 where there is none.
        cache_bandwidth_bytes_per_s: None where the profile does not say.
        links: Network levels, inner to outer; empty for a single device.
        power: Power and energy.
        price_usd_per_h: Rent (or amortised ownership) of one device; None where the profile does not say.
        parameters: Engine parameters by family and name (`parameters["gemm"]["launch"]`), SI units, from the profile.
        parameter_grades: By family of `parameters`: `calibrated` where this device's own profile gives fitted values,
            `transferred` where it inherits them from its generation; a family missing here counts as transferred.
        profile_hash: First 12 hex digits of the SHA-256 of the merged profile with all overrides.
        uncertainty: By family of `parameters`: how far measured times lie from estimates, as ratios by regime.
        fitted_ranges: By family, and by size of its kernels (`m`): the smallest and largest that parameters and bounds
            were fitted on, where the profile says so.
    """

    name: str
    title: str
    kind: str
    generation: str
    engine: Literal["gpu", "cpu", "roofline"]
    num_units: Number
    clock_hz: Number
    matrix_flops_per_s: Mapping[str, Number]
    sparse_flops_per_s: Mapping[str, Number]
    vector_flops_per_s: Number
    memory_bytes: Number
    memory_bandwidth_bytes_per_s: Number
    cache_bytes: Number
    cache_bandwidth_bytes_per_s: Number | None
    links: tuple[Link, ...]
    power: Power
    price_usd_per_h: Number | None
    parameters: Mapping[str, Mapping[str, Number]]
    profile_hash: str
    parameter_grades: Mapping[str, Literal["transferred", "calibrated"]] = field(
        default_factory=dict[str, Literal["transferred", "calibrated"]]
    )
    uncertainty: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    fitted_ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(
        default_factory=dict[str, Mapping[str, tuple[float, float]]]
    )
