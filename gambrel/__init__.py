"""Gambrel: an analytical performance-modelling compiler.

`gambrel.load`, `gambrel.compile` and `gambrel.estimate` are loaded on first use, so that `import gambrel` stays light.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gambrel.estimate.api import compile, estimate, load

__version__ = "0.1.0"

__all__ = ["__version__", "compile", "estimate", "load"]

_LAZY = {"load": "gambrel.estimate.api", "compile": "gambrel.estimate.api", "estimate": "gambrel.estimate.api"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'gambrel' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps the function `gambrel.estimate` when the import system would put the subpackage of that name there."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _LAZY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
