"""Arrays that record the arithmetic that is done with them: NumPy code is run on them as it stands.

A traced array stands for one design point among others of an array about which nothing else is known. NumPy code that
is written for arrays prices each point alike whatever the others are, so a question about the whole array gets the
answer that is right for any others:

- `np.all` is false and `np.any` is true, unless the condition is known for every point that there may be: a shortcut
  for arrays whose points are all alike is not taken, the general way is;
- `np.max` and `np.min` are those over all points that there may be, which inputs with few choices know;
- any other use of a value to decide what is done (`if`, `int`, `float`) is an error unless the value is known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from gambrel.codegen.builder import Builder

Ids = NDArray[np.int64]


class TraceError(Exception):
    """NumPy code asks something of a traced array that a graph cannot answer: a limit of ours, not of the input."""


class Traced(NDArrayOperatorsMixin):
    """An array of nodes of one graph; operations on it add nodes."""

    __slots__ = ("builder", "ids")
    __array_priority__ = 1000.0
    dtype = np.dtype(np.float64)

    def __init__(self, builder: Builder, ids: Ids | int) -> None:
        """Wrap nodes."""
        self.builder = builder
        self.ids: Ids = np.asarray(ids, dtype=np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of any array."""
        return self.ids.shape

    @property
    def ndim(self) -> int:
        """As of any array."""
        return self.ids.ndim

    @property
    def size(self) -> int:
        """As of any array."""
        return self.ids.size

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator["Traced"]:
        return (self._with(ids) for ids in self.ids)

    def __getitem__(self, key: Any) -> "Traced":
        return self._with(self.ids[key])

    def __setitem__(self, key: Any, value: object) -> None:
        self.ids[key] = lift(self.builder, value)

    def __bool__(self) -> bool:
        return bool(self._known())

    def __float__(self) -> float:
        return float(self._known())

    def __int__(self) -> int:
        return int(self._known())

    def __repr__(self) -> str:
        return f"Traced({self.ids.tolist()})"

    def astype(self, *_: object, **__: object) -> "Traced":
        """The same: every number of a graph is a double."""
        return self

    def copy(self) -> "Traced":
        """Another array of the same nodes."""
        return self._with(self.ids.copy())

    def reshape(self, *shape: Any) -> "Traced":
        """The nodes in another shape."""
        return self._with(self.ids.reshape(*shape))

    def ravel(self) -> "Traced":
        """The nodes in a row."""
        return self._with(self.ids.ravel())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if options.get("out") is not None or options.get("where") is not None:
            raise TraceError(f"np.{ufunc.__name__} with out or where")
        if ufunc is np.matmul:
            return _contract(self.builder, *inputs)
        if ufunc not in UFUNCS:
            raise TraceError(f"np.{ufunc.__name__} is no operation of a graph")
        if method == "__call__":
            return mapped(self.builder, UFUNCS[ufunc], *inputs)
        if method in ("reduce", "accumulate"):
            return _fold(self.builder, UFUNCS[ufunc], inputs[0], options.get("axis", 0), method == "accumulate")
        raise TraceError(f"np.{ufunc.__name__}.{method}")

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        if function in SHAPING:
            return _moved(self.builder, function, args, kwargs)
        if function not in FUNCTIONS:
            raise TraceError(f"np.{function.__name__} is no operation of a graph")
        return FUNCTIONS[function](self.builder, *args, **kwargs)

    def _with(self, ids: Any) -> "Traced":
        return Traced(self.builder, ids)

    def _known(self) -> float:
        known = [self.builder.known(int(node)) for node in self.ids.flat]
        values = {float(value) for each in known if each is not None for value in each.flat}
        if len(values) != 1 or any(each is None for each in known):
            raise TraceError("a decision depends on a traced value")
        return values.pop()


Make = Callable[[Builder, Sequence[int]], int]
"""Makes a node from operands."""


def lift(builder: Builder, value: Any) -> Ids:
    """The nodes of a traced array, or constants of any other."""
    if isinstance(value, Traced):
        return value.ids
    array = np.asarray(value)
    if array.dtype == object:
        flat = [int(lift(builder, item)) for item in array.flat]
    else:
        flat = [builder.constant(float(item)) for item in array.flat]
    return np.array(flat, dtype=np.int64).reshape(array.shape)


def mapped(builder: Builder, make: Make, *inputs: Any) -> Traced:
    """A node for each element of arrays that broadcast."""
    lifted = [lift(builder, value) for value in inputs]
    if all(ids.size == 1 for ids in lifted):  # nearly always, and much faster
        node = np.array(make(builder, [ids.item() for ids in lifted]), dtype=np.int64)
        return Traced(builder, node.reshape((1,) * max(ids.ndim for ids in lifted)))
    arrays = np.broadcast_arrays(*lifted)
    nodes = [make(builder, operands) for operands in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
    return Traced(builder, np.array(nodes, dtype=np.int64).reshape(arrays[0].shape))


def _plain(operation: str) -> Make:
    return lambda builder, x: builder.apply(operation, *x)


def _swapped(operation: str) -> Make:
    return lambda builder, x: builder.apply(operation, x[1], x[0])


def _floor_divide(builder: Builder, x: Sequence[int]) -> int:
    return builder.apply("floor", builder.apply("div", *x))


def _remainder(builder: Builder, x: Sequence[int]) -> int:
    return builder.apply("sub", x[0], builder.apply("mul", _floor_divide(builder, x), x[1]))


def _against_infinity(operation: str) -> Make:
    return lambda builder, x: builder.apply(operation, builder.apply("abs", *x), builder.constant(np.inf))


UFUNCS: Mapping[np.ufunc, Make] = {
    np.add: _plain("add"),
    np.subtract: _plain("sub"),
    np.multiply: _plain("mul"),
    np.divide: _plain("div"),
    np.floor_divide: _floor_divide,
    np.remainder: _remainder,
    np.negative: _plain("neg"),
    np.absolute: _plain("abs"),
    np.reciprocal: lambda builder, x: builder.apply("div", builder.constant(1.0), *x),
    np.power: _plain("pow"),
    np.float_power: _plain("pow"),
    np.square: lambda builder, x: builder.apply("mul", *x, *x),
    np.sqrt: _plain("sqrt"),
    np.exp: _plain("exp"),
    np.expm1: _plain("expm1"),
    np.log: _plain("log"),
    np.log1p: _plain("log1p"),
    np.log2: _plain("log2"),
    np.ceil: _plain("ceil"),
    np.floor: _plain("floor"),
    np.rint: _plain("rint"),
    np.maximum: _plain("max"),
    np.minimum: _plain("min"),
    np.less: _plain("lt"),
    np.less_equal: _plain("le"),
    np.greater: _swapped("lt"),
    np.greater_equal: _swapped("le"),
    np.equal: _plain("eq"),
    np.not_equal: _plain("ne"),
    np.logical_and: _plain("and"),
    np.bitwise_and: _plain("and"),
    np.logical_or: _plain("or"),
    np.bitwise_or: _plain("or"),
    np.logical_not: _plain("not"),
    np.invert: _plain("not"),
    np.isnan: lambda builder, x: builder.apply("ne", *x, *x),
    np.isfinite: _against_infinity("lt"),
    np.isinf: _against_infinity("eq"),
}
"""What NumPy's elementwise functions make; `&`, `|` and `~` stand between conditions."""


def _fold(builder: Builder, make: Make, value: Any, axis: int | None, accumulate: bool) -> Traced:
    """A reduction from left to right, or all its steps."""
    ids = lift(builder, value)
    if axis is None:
        ids, axis = ids.ravel(), 0
    rows = [Traced(builder, np.asarray(row)) for row in np.moveaxis(ids, axis, 0)]
    steps = [rows[0]]
    for row in rows[1:]:
        steps.append(mapped(builder, make, steps[-1], row))
    if not accumulate:
        return steps[-1]
    return Traced(builder, np.moveaxis(np.array([step.ids for step in steps]), 0, axis))


def _contract(builder: Builder, left: Any, right: Any) -> Traced:
    """A product with a vector: the sum over the last axis."""
    if np.ndim(right) != 1:
        raise TraceError("a matrix product")
    return _fold(builder, UFUNCS[np.add], mapped(builder, UFUNCS[np.multiply], left, right), -1, False)


def _where(builder: Builder, condition: Any, yes: Any, no: Any) -> Traced:
    return mapped(builder, _plain("where"), condition, yes, no)


def _clip(builder: Builder, value: Any, low: Any = None, high: Any = None) -> Any:
    low = -np.inf if low is None else low
    high = np.inf if high is None else high
    return mapped(builder, _plain("min"), mapped(builder, _plain("max"), value, low), high)


def _choose(builder: Builder, conditions: Sequence[Any], values: Sequence[Any], default: Any = 0) -> Any:
    """`np.select`: the value of the first condition that holds."""
    out = default
    for condition, value in zip(reversed(conditions), reversed(values), strict=True):
        out = _where(builder, condition, value, out)
    return out


def _all(builder: Builder, value: Any) -> bool:
    return all(_certain(builder, node, True) for node in lift(builder, value).ravel().tolist())


def _any(builder: Builder, value: Any) -> bool:
    return not all(_certain(builder, node, False) for node in lift(builder, value).ravel().tolist())


def _certain(builder: Builder, node: int, truth: bool) -> bool:
    known = builder.known(node)
    return known is not None and bool(((known != 0.0) == truth).all())


def _extreme(pick: Callable[..., Any]) -> Callable[..., Any]:
    """`np.max` or `np.min` over all points that there may be."""

    def extreme(builder: Builder, value: Any, axis: Any = None, *, initial: float | None = None) -> float:
        known = [builder.known(int(node)) for node in lift(builder, value).flat]
        if axis is not None or any(each is None for each in known):
            raise TraceError(f"np.{pick.__name__} over points of which nothing is known")
        values = [float(pick(each)) for each in known if each is not None]
        return float(pick([*values, *(() if initial is None else (initial,))]))

    return extreme


def _sum(builder: Builder, value: Any, axis: int | None = None) -> Traced:
    return _fold(builder, UFUNCS[np.add], value, axis, False)


def _prod(builder: Builder, value: Any, axis: int | None = None) -> Traced:
    return _fold(builder, UFUNCS[np.multiply], value, axis, False)


def _ndim(_: Builder, value: Traced) -> int:
    return value.ndim


def _shape(_: Builder, value: Traced) -> tuple[int, ...]:
    return value.shape


def _size(_: Builder, value: Traced) -> int:
    return value.size


FUNCTIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    np.where: _where,
    np.clip: _clip,
    np.select: _choose,
    np.all: _all,
    np.any: _any,
    np.max: _extreme(np.max),
    np.min: _extreme(np.min),
    np.amax: _extreme(np.max),
    np.amin: _extreme(np.min),
    np.sum: _sum,
    np.prod: _prod,
    np.ndim: _ndim,
    np.shape: _shape,
    np.size: _size,
}
"""NumPy's other functions on traced arrays."""

SHAPING = frozenset(
    (
        np.broadcast_arrays,
        np.broadcast_to,
        np.concatenate,
        np.expand_dims,
        np.moveaxis,
        np.ravel,
        np.repeat,
        np.reshape,
        np.squeeze,
        np.stack,
        np.swapaxes,
        np.take,
        np.tile,
        np.transpose,
    )
)
"""Functions that only move elements, of their first argument (`broadcast_arrays`: of all)."""


def _moved(builder: Builder, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """A function that moves elements, done with the nodes."""
    moved = len(args) if function is np.broadcast_arrays else 1
    several = function in (np.concatenate, np.stack)
    lifted = [[lift(builder, x) for x in arg] if several else lift(builder, arg) for arg in args[:moved]]
    out: Any = function(*lifted, *args[moved:], **kwargs)
    return tuple(Traced(builder, ids) for ids in out) if function is np.broadcast_arrays else Traced(builder, out)
