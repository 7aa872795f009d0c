"""Prices of kernels that were asked for before: the variants and the phases of a model share most of their products."""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.energy import OperatingPoint, operate
from gambrel.cost.kernel import Kernel
from gambrel.cost.vectorise import Array
from gambrel.hardware.device import Device

MOST_SHAPES = 2**16
"""Shapes of a kind that are kept."""

MIX = np.uint64(0x9E3779B97F4A7C15)
"""An odd number, 2^64 over the golden ratio: multiples of it spread over all codes."""

Bind = Callable[[Mapping[str, Array]], Kernel]


class _Known(NamedTuple):
    """Shapes with their prices, in the order of the codes of shapes; the sizes of a shape are a column."""

    codes: NDArray[np.uint64]
    sizes: NDArray[np.float64]
    point: OperatingPoint


class _Book(NamedTuple):
    """What is known of a device, by kind of kernel."""

    device: Device | None
    pages: dict[Hashable, _Known]


_book = _Book(None, {})
"""Of the device that was asked for last: a search prices many variants on one before it turns to the next."""


def operate_known(kind: Hashable, bind: Bind, sizes: Mapping[str, Array], device: Device) -> OperatingPoint:
    """`operate`, but for shapes that were not priced before on this device.

    Args:
        kind: Equal for kernels of which only the sizes differ.
        bind: The kernel with some sizes.
        sizes: One value each at every point.
        device: The machine, without what-if arrays.
    """
    global _book  # noqa: PLW0603  (replaced whole, so that threads see one or the other)
    book = _book
    if book.device is not device:
        _book = book = _Book(device, {})
    wanted = np.stack(list(sizes.values()))
    codes = _codes(wanted)
    known = book.pages.get(kind)
    place = np.zeros(codes.shape, dtype=np.intp)
    new = np.ones(codes.shape, dtype=np.bool_)
    if known is not None:
        place = np.minimum(np.searchsorted(known.codes, codes), len(known.codes) - 1)
        new = (known.sizes[:, place] != wanted).any(axis=0)
        if not new.any():
            return _at(known.point, place)
    priced = operate(bind(dict(zip(sizes, wanted[:, new], strict=True))), device)
    point = priced
    if known is not None:
        point = _at(known.point, place)
        for value, part in zip(point, priced, strict=True):
            value[new] = part
    if known is None or len(known.codes) < MOST_SHAPES:
        book.pages[kind] = _added(known, _Known(codes[new], wanted[:, new], priced))
    return point


def _codes(sizes: NDArray[np.float64]) -> NDArray[np.uint64]:
    """A number for each shape; should two have the same, one of them is not remembered."""
    codes = np.zeros(sizes.shape[1:], dtype=np.uint64)
    for row in (sizes + 0.0).view(np.uint64):
        codes = (codes ^ row) * MIX
        codes ^= codes >> np.uint64(32)
    return codes


def _at(point: OperatingPoint, places: NDArray[np.intp]) -> OperatingPoint:
    return OperatingPoint(point.seconds[places], point.bound[places], point.joules[places])


def _added(known: _Known | None, new: _Known) -> _Known:
    """What was known and what is new, each code once."""
    old = known or _Known(new.codes[:0], new.sizes[:, :0], _at(new.point, np.arange(0)))
    codes, first = np.unique(np.concatenate([old.codes, new.codes]), return_index=True)
    point = OperatingPoint(
        np.concatenate([old.point.seconds, new.point.seconds]),
        np.concatenate([old.point.bound, new.point.bound]),
        np.concatenate([old.point.joules, new.point.joules]),
    )
    return _Known(codes, np.concatenate([old.sizes, new.sizes], axis=1)[:, first], _at(point, first))
