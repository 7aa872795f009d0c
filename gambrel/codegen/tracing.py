"""Runs NumPy code on traced arrays."""

import sys
from collections.abc import Mapping, Sequence
from threading import RLock
from types import ModuleType, TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gambrel.codegen.builder import Builder
from gambrel.codegen.graph import Graph
from gambrel.codegen.traced import Traced, lift
from gambrel.cost.vectorise import Array

_LOCK = RLock()


class Trace:
    """A context in which this project's NumPy code takes traced arrays, and the graph that they record.

    NumPy asks arrays of other kinds what its functions do to them, but for `asarray` and the like, which make a plain
    array of anything. Inside, the modules of this project see a NumPy without that gap; it treats plain arrays as ever.
    """

    def __init__(self) -> None:
        """Start with an empty graph."""
        self._builder = Builder()
        self._changed: list[ModuleType] = []

    def input(self, name: str, choices: Sequence[float] = ()) -> Array:
        """An input of the graph; `choices` are all the values that it ever takes, where those are few."""
        return cast(Array, Traced(self._builder, self._builder.input(name, choices)))

    def graph(self, outputs: Mapping[str, Array | NDArray[np.bool_] | float]) -> Graph:
        """The graph of some results, each a single number."""
        nodes = {name: int(lift(self._builder, value).item()) for name, value in outputs.items()}
        return self._builder.graph(nodes)

    def __enter__(self) -> "Trace":
        _LOCK.acquire()
        shim = _Numpy(self._builder)
        for name, module in list(sys.modules.items()):
            if name.startswith("gambrel.") and name not in _OWN and vars(module).get("np") is np:
                module.__dict__["np"] = shim
                self._changed.append(module)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._changed:
            self._changed.pop().__dict__["np"] = np
        _LOCK.release()


_OWN = frozenset(
    f"gambrel.codegen.{name}" for name in ("builder", "graph", "operations", "slopes", "traced", "tracing")
)
"""Modules that work on graphs, and not on what is traced."""


class _Numpy(ModuleType):
    """NumPy, but for the functions that make a plain array of whatever they get before they ask what it is."""

    def __init__(self, builder: Builder) -> None:
        super().__init__("numpy")
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def asarray(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, Traced) else np.asarray(value, *args, **kwargs)

    def array(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value.copy() if isinstance(value, Traced) else np.array(value, *args, **kwargs)

    def full(self, shape: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Traced):
            return Traced(self._builder, np.broadcast_to(value.ids, shape).copy())
        return np.full(shape, value, *args, **kwargs)

    def empty(self, shape: Any, *args: Any, **kwargs: Any) -> Any:
        """An array to be filled, perhaps with traced values."""
        return Traced(self._builder, lift(self._builder, np.zeros(shape, *args, **kwargs)))
