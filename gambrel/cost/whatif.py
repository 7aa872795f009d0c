"""What-if arrays in a device: apply a function to every number that is an array."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from gambrel.hardware.device import Device, Link, Number, Power

Record = TypeVar("Record", Device, Link, Power)


def map_numbers(device: Device, change: Callable[[Number], Number]) -> Device:
    """The device with every array among its numbers changed; plain scalars stay as they are."""
    return _map(device, change)


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
        return change(value)
    if isinstance(value, Power):
        return _map(value, change)
    if isinstance(value, tuple):
        links = tuple(_map(item, change) if isinstance(item, Link) else item for item in value)  # pyright: ignore
        return links if any(new is not old for new, old in zip(links, value, strict=True)) else value  # pyright: ignore
    if isinstance(value, Mapping):
        items = {key: _value(item, change) for key, item in value.items()}  # pyright: ignore
        return items if any(items[key] is not value[key] for key in items) else value  # pyright: ignore
    return value
