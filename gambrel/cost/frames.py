"""Price kernels on the distinct values of what they depend on, and spread the answers over the design points.

A million plans share a few dozen local batches, three lengths of a chunk and ten degrees. The *factors* of a kernel are
what stands in its sizes as a whole: symbols, and calls such as `ceildiv(b, dp)`. A frame has the distinct values of
factors on axes of their own; kernels are priced on its grid, rows are added up there, and only the sums are spread.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array
from gambrel.ir.expr import Atom, Expr

WORTH_POINTS = 4000
"""Below this many points pricing all of them is cheaper than looking for repeats."""

WORTH_SHARE = 0.5
"""A grid of factors has at most this share of the points."""

SMALL_SHARE = 1 / 16
"""Factors that vary over at most this share of the points are taken together: only pairs that occur are priced."""

LARGEST_CODE = 2**62
"""Numbers of combinations stay integers of 64 bits."""

Index = NDArray[np.intp]
Scalar = TypeVar("Scalar", bound=np.generic)


class Pick(Protocol):
    """Values at some of the points, from those at all of them."""

    def __call__(self, values: NDArray[Scalar], /) -> NDArray[Scalar]:
        """The values there."""
        ...


class _Coded(NamedTuple):
    """Distinct values of one or more factors, `[..., nodes]` each, and which of them each point has."""

    values: tuple[Array, ...]
    places: Index

    @property
    def distinct(self) -> int:
        return len(self.values[0])


class _Axis(NamedTuple):
    """An axis of a frame."""

    atoms: tuple[Atom, ...]
    coded: _Coded


class Frame:
    """Distinct values of factors, on axes of their own."""

    def __init__(self, axes: Sequence[_Axis]) -> None:
        """Lay the values out; those of a quadrature's nodes stay on a last axis."""
        self._indices = tuple(coded.places for _, coded in axes)
        self._flat: dict[tuple[int, ...], Index] = {}
        self.shape = tuple(coded.distinct for _, coded in axes)
        self.values: dict[Atom, Array] = {}
        for number, (atoms, coded) in enumerate(axes):
            for atom, value in zip(atoms, coded.values, strict=True):
                layout = [1] * len(axes)
                layout[number] = coded.distinct
                self.values[atom] = value.reshape(*layout, *value.shape[1:])

    def spread(self, value: NDArray[Scalar], pick: Pick | None = None) -> NDArray[Scalar]:
        """Values on the frame at all points, or at those that are picked; axes of length one are those of all."""
        axes = tuple(axis for axis, length in enumerate(value.shape) if length > 1)
        if not axes:
            return value.reshape(())
        if axes not in self._flat:
            index = self._indices[axes[0]]
            for axis in axes[1:]:
                index = index * self.shape[axis] + self._indices[axis]
            self._flat[axes] = index
        flat = self._flat[axes]
        return np.take(value.ravel(), flat if pick is None else pick(flat))


class _Shared(NamedTuple):
    """A frame in the making: the axes of the points along which it varies, its factors, and whose these are."""

    along: tuple[bool, ...]
    atoms: tuple[Atom, ...]
    members: Sequence[tuple[Atom, ...]]
    axes: Sequence[_Axis]


class _Finder:
    """Looks for distinct values of factors at some points."""

    def __init__(self, factors: Mapping[Atom, Array], *, nodes: bool) -> None:
        self._nodes = nodes
        most = max((value.ndim for value in factors.values()), default=0)
        self._factors = {
            atom: value.reshape((1,) * (most - value.ndim) + value.shape) for atom, value in factors.items()
        }
        self._shapes = {atom: value.shape[: most - nodes] for atom, value in self._factors.items()}
        self._coded: dict[tuple[Atom, ...], _Coded] = {}
        self._columns: dict[Atom, list[tuple[int, Index]]] = {}

    def along(self, atoms: tuple[Atom, ...]) -> tuple[bool, ...]:
        """Along which axes of the points these vary."""
        return tuple(length > 1 for length in self._shape(atoms))

    def axes(self, atoms: tuple[Atom, ...]) -> list[_Axis] | None:
        """Axes of a frame; None where it would not be small."""
        points = self._size(atoms)
        small: tuple[Atom, ...] = ()
        for atom in sorted(atoms, key=lambda atom: math.prod(self._shapes[atom])):
            if self._size((*small, atom)) <= SMALL_SHARE * points:
                small = (*small, atom)
        groups = [small] if small else []
        groups += [(atom,) for atom in atoms if atom not in small]
        axes = [_Axis(group, self._code(group)) for group in groups]
        return axes if math.prod(axis.coded.distinct for axis in axes) <= WORTH_SHARE * points else None

    def _code(self, atoms: tuple[Atom, ...]) -> _Coded:
        if atoms not in self._coded:
            self._coded[atoms] = self._distinct(atoms)
        return self._coded[atoms]

    def _distinct(self, atoms: tuple[Atom, ...]) -> _Coded:
        shape = self._shape(atoms)
        if len(atoms) == 1 and not self._nodes:
            distinct, index = np.unique(self._factors[atoms[0]], return_inverse=True)
            return _Coded((distinct,), index.reshape(shape))
        codes, count = np.zeros((1,) * len(shape), dtype=np.intp), 1
        for atom in atoms:
            for distinct, index in self._numbered(atom):
                if count * distinct > LARGEST_CODE:
                    present, codes = np.unique(codes, return_inverse=True)
                    count = len(present)
                codes, count = codes * distinct + index, count * distinct
        _, first, index = np.unique(np.broadcast_to(codes, shape), return_index=True, return_inverse=True)
        values: list[Array] = []
        for atom in atoms:
            value = self._factors[atom]
            whole = np.broadcast_to(value, (*shape, value.shape[-1]) if self._nodes else shape)
            values.append(whole.reshape(-1, *value.shape[-1:] if self._nodes else ())[first])
        return _Coded(tuple(values), index.reshape(shape))

    def _numbered(self, atom: Atom) -> list[tuple[int, Index]]:
        """How many distinct values a factor has, and which of them each point has: at each of the nodes."""
        if atom not in self._columns:
            value = self._factors[atom]
            columns = np.moveaxis(value, -1, 0) if self._nodes else (value,)
            found = [(column.shape, *np.unique(column, return_inverse=True)) for column in columns]
            self._columns[atom] = [(len(distinct), index.reshape(shape)) for shape, distinct, index in found]
        return self._columns[atom]

    def _shape(self, atoms: Iterable[Atom]) -> tuple[int, ...]:
        return np.broadcast_shapes(*(self._shapes[atom] for atom in atoms))

    def _size(self, atoms: Iterable[Atom]) -> int:
        return math.prod(self._shape(atoms))


def find_frames(
    factors: Mapping[Atom, Array], kernels: Iterable[tuple[Atom, ...]], *, nodes: bool
) -> dict[tuple[Atom, ...], Frame]:
    """A frame for the factors of each kernel, where that is worth it.

    Kernels that vary along the same axes of the points share a frame as long as it stays small.

    Args:
        factors: Values at the points: arrays that broadcast against each other.
        kernels: The factors of each.
        nodes: Whether the last axis of the values is that of a quadrature, which all points share.
    """
    finder = _Finder(factors, nodes=nodes)
    found: list[_Shared] = []
    for atoms in sorted(dict.fromkeys(kernels), key=len):
        along = finder.along(atoms)
        for number, shared in enumerate(found):
            union = tuple(dict.fromkeys((*shared.atoms, *atoms)))
            if shared.along == along and (axes := finder.axes(union)) is not None:
                found[number] = _Shared(along, union, [*shared.members, atoms], axes)
                break
        else:
            axes = finder.axes(atoms)
            if axes is not None:
                found.append(_Shared(along, atoms, [atoms], axes))
    return {atoms: frame for shared in found for frame in (Frame(shared.axes),) for atoms in shared.members}


def atoms_of(expressions: Iterable[Expr]) -> tuple[Atom, ...]:
    """Symbols and calls that stand in expressions, not inside of other calls."""
    return tuple(dict.fromkeys(atom for e in expressions for mono, _ in e.terms for atom, _ in mono))
