"""Price each distinct shape once: many design points share a product of batch and length."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array
from gambrel.hardware.device import Device

WORTH_POINTS = 4000
"""Below this many points pricing all of them is cheaper than looking for repeats."""

SAMPLE = 2048
"""Points that are looked at before all are sorted."""

WORTH_SHARE = 0.7
"""Repeats must save at least 30 % of the points."""


Scalar = TypeVar("Scalar", bound=np.generic)


class Compressed(NamedTuple):
    """Sizes of the distinct shapes, and where each point's shape is on their grid."""

    sizes: Mapping[str, Array]
    indices: tuple[NDArray[np.intp], ...]

    def spread(self, priced: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values of the distinct shapes at all points."""
        return np.broadcast_to(priced, _grid(self.sizes))[self.indices]


def compress(sizes: Mapping[str, Array]) -> Compressed | None:
    """Distinct combinations of sizes on independent axes; None where there is little to save.

    Sizes that vary along the same axes are taken together; sizes along other axes stay independent, so that the
    distinct shapes form a small grid.
    """
    shape = np.broadcast_shapes(*(size.shape for size in sizes.values()))
    if math.prod(shape) < WORTH_POINTS:
        return None
    groups = _groups({name: size.reshape((1,) * (len(shape) - size.ndim) + size.shape) for name, size in sizes.items()})
    if not any(len(axes) > 1 or _repeats(members) for axes, members in groups.items()):
        return None
    out: dict[str, Array] = {}
    indices: list[NDArray[np.intp]] = []
    for number, (axes, members) in enumerate(groups.items()):
        values, index = _distinct(list(members.values()))
        layout = [1] * len(groups)
        layout[number] = values.shape[1]
        out.update({name: values[row].reshape(layout) for row, name in enumerate(members)})
        whole = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
        indices.append(index.reshape(whole))
    if math.prod(_grid(out)) > WORTH_SHARE * math.prod(shape):
        return None
    return Compressed(out, tuple(indices))


def _repeats(members: Mapping[str, Array]) -> bool:
    """Whether a sample of the points of one axis holds the same shape again and again."""
    flat = np.broadcast_arrays(*(size.ravel() for size in members.values()))
    sample = [array[:: max(array.size // SAMPLE, 1)][:SAMPLE] for array in flat]
    return _distinct(sample)[0].shape[1] < WORTH_SHARE * sample[0].size


def _grid(sizes: Mapping[str, Array]) -> tuple[int, ...]:
    """Shape of the grid of distinct shapes."""
    return np.broadcast_shapes(*(size.shape for size in sizes.values()))


class _Seen(NamedTuple):
    """A device, and whether it holds arrays."""

    device: Device | None
    arrays: bool


_seen = _Seen(None, False)
"""The device that was looked at last: an evaluation asks for one again and again, and it has a thousand numbers."""


def has_arrays(device: Device) -> bool:
    """Whether a device holds what-if arrays, which must keep their axes."""
    global _seen  # noqa: PLW0603  (replaced whole, so that threads see one or the other)
    seen = _seen
    if seen.device is not device:
        _seen = seen = _Seen(device, _holds_array(device))
    return seen.arrays


def _holds_array(record: object) -> bool:
    if isinstance(record, float):
        return False
    if isinstance(record, np.ndarray):
        return True
    if isinstance(record, Mapping):
        return any(map(_holds_array, cast(Mapping[str, object], record).values()))
    if isinstance(record, tuple):
        return any(map(_holds_array, cast(tuple[object, ...], record)))
    return is_dataclass(record) and any(_holds_array(getattr(record, field.name)) for field in fields(record))


def _groups(sizes: Mapping[str, Array]) -> dict[tuple[int, ...], dict[str, Array]]:
    """Sizes by the axes along which they vary; groups that share an axis are merged."""
    groups: dict[tuple[int, ...], dict[str, Array]] = {}
    for name, size in sizes.items():
        axes = {axis for axis, length in enumerate(size.shape) if length > 1}
        members = {name: size}
        for other in [key for key in groups if axes & set(key)]:
            axes |= set(other)
            members = groups.pop(other) | members
        groups[tuple(sorted(axes))] = groups.get(tuple(sorted(axes)), {}) | members
    return groups


def _distinct(arrays: list[Array]) -> tuple[Array, NDArray[np.intp]]:
    """Distinct columns of several arrays of one broadcast shape, and where each point's column is."""
    flat = [array.ravel() for array in np.broadcast_arrays(*arrays)]
    if len(flat) == 1:
        values, index = np.unique(flat[0], return_inverse=True)
        return values[None, :], index
    codes = np.zeros(flat[0].shape, dtype=np.int64)
    for array in flat:
        values, index = np.unique(array, return_inverse=True)
        codes = codes * len(values) + index
    _, first, index = np.unique(codes, return_index=True, return_inverse=True)
    return np.stack([array[first] for array in flat]), index
