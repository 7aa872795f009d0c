"""The arithmetic that a graph is made of, in NumPy. Conditions are 1.0 where they hold, else 0.0."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Value = NDArray[np.float64] | float
"""What a node stands for: a number, or one for each of many points."""

Function = Callable[..., Value]


def _truth(function: Function) -> Function:
    def condition(*args: Value) -> Value:
        return function(*args) * 1.0

    return condition


def select(condition: Value, yes: Value, no: Value) -> Value:
    """One of two numbers."""
    return np.where(np.asarray(condition) != 0.0, yes, no)


OPERATIONS: Mapping[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "pow": np.power,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "ceil": np.ceil,
    "floor": np.floor,
    "rint": np.rint,
    "max": np.maximum,
    "min": np.minimum,
    "lt": _truth(np.less),
    "le": _truth(np.less_equal),
    "eq": _truth(np.equal),
    "ne": _truth(np.not_equal),
    "and": _truth(np.logical_and),
    "or": _truth(np.logical_or),
    "not": _truth(np.logical_not),
    "where": select,
}

CONDITIONS = frozenset(("lt", "le", "eq", "ne", "and", "or", "not"))
"""Operations whose result is true or false."""

ROUNDINGS = frozenset(("ceil", "floor", "rint"))
"""Operations whose result is a whole number."""
