"""What-ifs on a device: several as one with arrays, a function of every array among its numbers, another clock."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gambrel.hardware.device import Device, Link, Number, Power

Record = TypeVar("Record", Device, Link, Power)


def map_numbers(device: Device, change: Callable[[Number], Number]) -> Device:
    """The device with every array among its numbers changed; plain scalars stay as they are."""
    return _map(device, change)


SWITCHES = frozenset({"tile_search"})
"""Numbers that choose a formula, which all design points of one evaluation share."""

_IDENTITY = frozenset(
    {"name", "title", "generation", "profile_hash", "parameter_grades", "uncertainty", "fitted_ranges"}
)
"""What says where a device's numbers come from, and is priced nowhere."""


def layout(device: Device) -> Hashable:
    """All that is priced of a device, but for its numbers; devices of one layout can be stacked."""
    return _layout(device)


def stack(devices: Sequence[Device], index: NDArray[np.intp]) -> Device:
    """Devices of one layout as one, an array in place of each number that differs; the rest is the first's.

    Args:
        devices: At least one; of one `layout`.
        index: Which of them each design point has, in a shape that broadcasts against the points.
    """
    return cast(Device, _stack(devices, index))


def _layout(value: object, name: str = "") -> Hashable:
    if isinstance(value, float):
        return float if name not in SWITCHES else value
    if is_dataclass(value):
        return tuple(_layout(getattr(value, f.name), f.name) for f in fields(value) if f.name not in _IDENTITY)
    if isinstance(value, tuple):
        return tuple(_layout(item) for item in cast(tuple[object, ...], value))
    if isinstance(value, Mapping):
        table = cast(Mapping[str, object], value)
        if _is_plain(table) and SWITCHES.isdisjoint(table):
            return tuple(table)
        return tuple((key, _layout(item, key)) for key, item in table.items())
    return cast(Hashable, value)


def _stack(values: Sequence[object], index: NDArray[np.intp]) -> object:
    first = values[0]
    if all(value is first for value in values):
        return first
    if isinstance(first, float):
        numbers = np.array(values, dtype=np.float64)
        return first if np.all(numbers == first) else numbers[index]
    if isinstance(first, Device | Power | Link):
        names = [field.name for field in fields(first) if field.name not in _IDENTITY]
        return replace(first, **{name: _stack([getattr(value, name) for value in values], index) for name in names})
    if isinstance(first, tuple):
        return tuple(_stack(items, index) for items in zip(*cast(Sequence[tuple[object, ...]], values), strict=True))
    if isinstance(first, Mapping):
        tables = cast(Sequence[Mapping[str, object]], values)
        if _is_plain(tables[0]) and all(table == tables[0] for table in tables):
            return tables[0]
        return {key: _stack([table[key] for table in tables], index) for key in tables[0]}
    return first


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
    if isinstance(value, float | int | str):
        return value
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
        if _is_plain(table):
            return table
        items = {key: _value(item, change) for key, item in table.items()}
        return items if any(items[key] is not table[key] for key in items) else table
    return value


def _is_plain(table: Mapping[str, object]) -> bool:
    """Whether a table has only scalars, as nearly all of a device have: a thousand numbers are passed over quickly."""
    return all(isinstance(item, float) for item in table.values())
