"""Limits and targets as options state them: `30ms`, `2 GB`, `1500`."""

from gambrel.errors import PlanError, Problem
from gambrel.units import Dimension, QuantityError, parse_quantity

_EXAMPLES: dict[Dimension, str] = {"s": "30 ms", "count": "1500"}
"""Where those of the units are no amounts to ask for."""


def read_amount(option: str, text: str, unit: Dimension) -> float:
    """The amount that an option asks for, in SI units; money needs no unit, as its options name it.

    Raises:
        PlanError: It cannot be read, measures something else, or is not above zero.
    """
    bare_money = unit.startswith("USD") and text[-1:].isdigit()
    try:
        value = parse_quantity(f"{text} {unit}" if bare_money else text, unit)
    except QuantityError as error:
        (problem,) = error.problems
        example = unit in _EXAMPLES and problem.fix.startswith("Write")
        fix = f"Write, for example, {_EXAMPLES[unit]}" if example else problem.fix
        what = f"{problem.where} is {problem.what}"
        raise PlanError(Problem(where=option, what=what, why=problem.why, fix=fix)) from None
    if value <= 0.0:
        raise PlanError(Problem(where=option, what=f"{text} is out of range", fix="Give more than zero"))
    return value
