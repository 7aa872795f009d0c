"""Gambrel: an analytical performance-modelling compiler.

The names below are loaded on first use, so that `import gambrel` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gambrel.calibration.predict import KernelEstimates, predict_kernels
    from gambrel.estimation.api import compile, estimate, load, machine
    from gambrel.estimation.points import Plan, Workload
    from gambrel.estimation.serving import SteadyState, steady_state
    from gambrel.estimation.table import estimate_table
    from gambrel.search.batch import evaluate_batch  # pyright: ignore[reportUnknownVariableType]  (pyarrow has no types)
    from gambrel.search.require import require
    from gambrel.search.sensitivity import sensitivity
    from gambrel.search.sweep import sweep

__version__ = "0.1.0"

__all__ = [
    "KernelEstimates",
    "Plan",
    "SteadyState",
    "Workload",
    "__version__",
    "compile",
    "estimate",
    "estimate_table",
    "evaluate_batch",
    "load",
    "machine",
    "predict_kernels",
    "require",
    "sensitivity",
    "steady_state",
    "sweep",
]

_HOMES = {
    "KernelEstimates": "gambrel.calibration.predict",
    "Plan": "gambrel.estimation.points",
    "SteadyState": "gambrel.estimation.serving",
    "Workload": "gambrel.estimation.points",
    "compile": "gambrel.estimation.api",
    "estimate": "gambrel.estimation.api",
    "estimate_table": "gambrel.estimation.table",
    "evaluate_batch": "gambrel.search.batch",
    "load": "gambrel.estimation.api",
    "machine": "gambrel.estimation.api",
    "predict_kernels": "gambrel.calibration.predict",
    "require": "gambrel.search.require",
    "sensitivity": "gambrel.search.sensitivity",
    "steady_state": "gambrel.estimation.serving",
    "sweep": "gambrel.search.sweep",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gambrel' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
