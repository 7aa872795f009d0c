"""Gambrel: an analytical performance-modelling compiler.

`gambrel.load`, `gambrel.compile` and `gambrel.estimate` are loaded on first use, so that `import gambrel` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gambrel.estimation.api import compile, estimate, load

__version__ = "0.1.0"

__all__ = ["__version__", "compile", "estimate", "load"]

_API = "gambrel.estimation.api"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'gambrel' has no attribute {name!r}")
    value = getattr(import_module(_API), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
