"""What-ifs on a device: a function of every number that is an array, another clock of its units."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gambrel.hardware.device import Device, Link, Number, Power

Record = TypeVar("Record", Device, Link, Power)


def map_numbers(device: Device, change: Callable[[Number], Number]) -> Device:
    """The device with every array among its numbers changed; plain scalars stay as they are."""
    return _map(device, change)


def scale_clock(device: Device, share: Number) -> Device:
    """The device with its units and its cache at a share of their clock; memory, links and launches keep theirs."""
    cache = device.cache_bandwidth_bytes_per_s
    return replace(
        device,
        clock_hz=device.clock_hz * share,
        matrix_flops_per_s={name: rate * share for name, rate in device.matrix_flops_per_s.items()},
        sparse_flops_per_s={name: rate * share for name, rate in device.sparse_flops_per_s.items()},
        vector_flops_per_s=device.vector_flops_per_s * share,
        cache_bandwidth_bytes_per_s=None if cache is None else cache * share,
    )


def _map(record: Record, change: Callable[[Number], Number]) -> Record:
    changes: dict[str, object] = {}
    for field in fields(record):
        old: object = getattr(record, field.name)
        new = _value(old, change)
        if new is not old:
            changes[field.name] = new
    return replace(record, **changes) if changes else record


def _value(value: object, change: Callable[[Number], Number]) -> object:
    if isinstance(value, np.ndarray):
        return change(cast(NDArray[np.float64], value))
    if isinstance(value, Power):
        return _map(value, change)
    if isinstance(value, tuple):
        old = cast(tuple[object, ...], value)
        links = tuple(_map(item, change) if isinstance(item, Link) else item for item in old)
        return links if any(new is not item for new, item in zip(links, old, strict=True)) else old
    if isinstance(value, Mapping):
        table = cast(Mapping[str, object], value)
        items = {key: _value(item, change) for key, item in table.items()}
        return items if any(items[key] is not table[key] for key in items) else table
    return value
