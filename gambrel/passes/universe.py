"""What stock `xdsl-opt` sees of this project: our dialects and passes, each imported when it is used."""

from collections.abc import Callable

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe

from gambrel.passes.registry import PASSES, load_pass


def _dialect(name: str) -> Callable[[], Dialect]:
    def load() -> Dialect:
        from gambrel.ir.text import DIALECTS

        return DIALECTS[name]

    return load


def _pass(name: str) -> Callable[[], type[ModulePass]]:
    return lambda: load_pass(name)


GAMBREL = Universe(
    all_dialects={name: _dialect(name) for name in ("model", "kv", "dist", "structure")},
    all_passes={name: _pass(name) for name in PASSES},
)
"""Registered under the entry point group `xdsl.universe`."""
