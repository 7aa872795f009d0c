"""The numbers of a device by name, each with its unit, and the device with some of them changed.

Not among them: the number of units, which a device does not have more of at the same peaks, and the parameters of the
engines. A link's start-up time stands for all of a transfer's: with it scale what the engine's launches and hops over
that link were fitted to, since they are what a message waits for before its first byte.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gambrel.hardware.device import Device, Link, Number
from gambrel.units import Dimension

TIME_POWERS: Mapping[str, int] = {"s": 1, "B/s": -1, "FLOP/s": -1, "Hz": -1, "W": -1, "USD/h": -1}
"""The power of time in a unit; 0 where a unit has none. Scaling all times by f and all rates by 1/f slows all by f."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNumber:
    """One number of a device.

    Attributes:
        name: For example `links.nvlink.bandwidth`.
        title: For people.
        unit: What it is measured in.
        value: In that unit.
    """

    name: str
    title: str
    unit: Dimension
    value: Number


def device_numbers(device: Device) -> dict[str, DeviceNumber]:
    """Every number of a device that its profile gives, by name."""
    found = (*_rates(device), *_memory(device), *_links(device), *_power(device))
    return {
        name: DeviceNumber(name=name, title=title, unit=unit, value=value)
        for name, title, unit, value in found
        if value is not None
    }


def with_numbers(device: Device, values: Mapping[str, Number]) -> Device:
    """The device with other values of some numbers; they may be what-if arrays.

    Raises:
        KeyError: The device has no such number.
    """
    unknown = set(values) - set(device_numbers(device))
    if unknown:
        raise KeyError(f"{device.name} has no {', '.join(sorted(unknown))}")
    links = tuple(_changed_link(link, values) for link in device.links)
    power = device.power
    return replace(
        device,
        clock_hz=values.get("clock", device.clock_hz),
        matrix_flops_per_s={k: values.get(f"matrix.{k}", v) for k, v in device.matrix_flops_per_s.items()},
        vector_flops_per_s=values.get("vector", device.vector_flops_per_s),
        memory_bytes=values.get("memory.capacity", device.memory_bytes),
        memory_bandwidth_bytes_per_s=values.get("memory.bandwidth", device.memory_bandwidth_bytes_per_s),
        cache_bytes=values.get("cache.capacity", device.cache_bytes),
        cache_bandwidth_bytes_per_s=values.get("cache.bandwidth", device.cache_bandwidth_bytes_per_s),
        price_usd_per_h=values.get("price", device.price_usd_per_h),
        links=links,
        power=replace(
            power,
            tdp_w=values.get("power.limit", power.tdp_w),
            idle_w=values.get("power.idle", power.idle_w),
            static_w=values.get("power.static", power.static_w),
            active_w=values.get("power.active", power.active_w),
            energy_per_flop_j={k: values.get(f"energy.{k}", v) for k, v in power.energy_per_flop_j.items()},
            energy_per_byte_j=values.get("energy.memory", power.energy_per_byte_j),
            energy_per_cache_byte_j=values.get("energy.cache", power.energy_per_cache_byte_j),
        ),
    )


_Found = tuple[str, str, Dimension, Number | None]


def _rates(device: Device) -> Iterator[_Found]:
    for name, value in device.matrix_flops_per_s.items():
        yield f"matrix.{name}", f"matrix peak, {name}", "FLOP/s", value
    yield "vector", "vector peak", "FLOP/s", device.vector_flops_per_s
    yield "clock", "clock of loads and cache", "Hz", device.clock_hz


def _memory(device: Device) -> Iterator[_Found]:
    yield "memory.bandwidth", "memory bandwidth", "B/s", device.memory_bandwidth_bytes_per_s
    yield "memory.capacity", "memory capacity", "B", device.memory_bytes
    yield "cache.capacity", "last-level cache", "B", device.cache_bytes if np.any(device.cache_bytes) else None
    yield "cache.bandwidth", "cache bandwidth", "B/s", device.cache_bandwidth_bytes_per_s


def _links(device: Device) -> Iterator[_Found]:
    for link in device.links:
        yield f"links.{link.name}.bandwidth", f"{link.name} bandwidth", "B/s", link.bandwidth_bytes_per_s
        yield f"links.{link.name}.latency", f"{link.name} start-up time", "s", link.latency_s
        yield f"links.{link.name}.energy", f"{link.name} energy", "J/B", link.energy_per_byte_j


def _power(device: Device) -> Iterator[_Found]:
    power = device.power
    yield "power.limit", "power limit", "W", power.tdp_w
    yield "power.idle", "idle power", "W", power.idle_w
    yield "power.static", "power with clocks up", "W", power.static_w
    yield "power.active", "power under a kernel", "W", power.active_w
    for name, value in power.energy_per_flop_j.items():
        yield f"energy.{name}", f"energy of a FLOP, {name}", "J/FLOP", value
    yield "energy.memory", "energy of a byte of memory", "J/B", power.energy_per_byte_j
    yield "energy.cache", "energy of a byte of the cache", "J/B", power.energy_per_cache_byte_j
    yield "price", "price", "USD/h", device.price_usd_per_h


def _changed_link(link: Link, values: Mapping[str, Number]) -> Link:
    name = f"links.{link.name}"
    latency = values.get(f"{name}.latency", link.latency_s)
    return replace(
        link,
        bandwidth_bytes_per_s=values.get(f"{name}.bandwidth", link.bandwidth_bytes_per_s),
        latency_s=latency,
        start_up_share=link.start_up_share * latency / link.latency_s,
        energy_per_byte_j=values.get(f"{name}.energy", link.energy_per_byte_j),
    )
