"""Quantities as text at the edge, plain SI floats inside: `3.35 TB/s` becomes 3.35e12 B/s and back.

GB is 1e9 bytes and GiB is 2^30; b and bit are an eighth of a byte. Quantiphy splits number, scale factor and unit; this
module says which units there are and what they measure.
"""

import functools
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from gambrel.errors import GambrelError, Problem, did_you_mean

if TYPE_CHECKING:
    from quantiphy import Quantity

Dimension = Literal[
    "B",
    "B/s",
    "B/clk",
    "FLOP",
    "FLOP/s",
    "FLOP/clk",
    "OP",
    "OP/s",
    "OP/clk",
    "Hz",
    "s",
    "clk",
    "W",
    "J",
    "J/B",
    "J/FLOP",
    "J/OP",
    "USD",
    "USD/h",
    "USD/kWh",
    "count",
]
"""What a number measures, named by the base unit that its value is kept in; a count (or a share) has none."""

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)


class _Unit(NamedTuple):
    dimension: Dimension
    factor: float


_UNITS: Mapping[str, _Unit] = {d: _Unit(d, 1.0) for d in DIMENSIONS if d != "count"} | {
    "": _Unit("count", 1.0),
    "%": _Unit("count", 0.01),
    "b": _Unit("B", 1 / 8),
    "bit": _Unit("B", 1 / 8),
    "b/s": _Unit("B/s", 1 / 8),
    "bit/s": _Unit("B/s", 1 / 8),
    "h": _Unit("s", 3600.0),
    "Wh": _Unit("J", 3600.0),
    "J/b": _Unit("J/B", 8.0),
    "J/bit": _Unit("J/B", 8.0),
}

_EXAMPLES: Mapping[Dimension, str] = {
    "B": "80 GB (1e9) or 80 GiB (2^30)",
    "B/s": "3.35 TB/s or 400 Gbit/s",
    "B/clk": "128 B/clk",
    "FLOP": "2.5 TFLOP",
    "FLOP/s": "989.4 TFLOP/s",
    "FLOP/clk": "4096 FLOP/clk",
    "OP": "2.5 TOP",
    "OP/s": "1979 TOP/s",
    "OP/clk": "8192 OP/clk",
    "Hz": "1830 MHz",
    "s": "2.5 us",
    "clk": "16 clk",
    "W": "700 W",
    "J": "1.2 mJ",
    "J/B": "31 pJ/B or 3.9 pJ/b",
    "J/FLOP": "0.6 pJ/FLOP",
    "J/OP": "0.3 pJ/OP",
    "USD": "25000 USD",
    "USD/h": "2.5 USD/h",
    "USD/kWh": "0.08 USD/kWh",
    "count": "132",
}

# Without centi, which would read the c of `clk` as a scale factor.
_SCALE_FACTORS = "EPTGMKkmuµμnpfa"
_PLAIN = ("", "USD", "USD/h", "USD/kWh")
_PLAIN_QUANTITY = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*(?![eE][-+]?\d)([^\s\d]\S*|)\s*")
_NUMBER = re.compile(r"\s*[-+]?(\d[\d_,]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SIGNIFICANT_DIGITS = 4


class QuantityError(GambrelError):
    """A quantity cannot be read: whoever wrote the text must act."""


def parse_quantity(text: str, dimension: Dimension) -> float:
    """Reads one quantity.

    Args:
        text: A number, an optional SI or binary prefix and a unit, such as `3.35 TB/s`.
        dimension: What it must measure.

    Returns:
        The value in the base unit that names the dimension.

    Raises:
        QuantityError: The text is not a number, has no unit, an unknown one, or one of another dimension.
    """
    return parse_quantity_as(text, (dimension,))[0]


def parse_quantity_as(text: str, dimensions: Iterable[Dimension]) -> tuple[float, Dimension]:
    """Reads one quantity that may measure any of several things; returns its value and which it was.

    Raises:
        QuantityError: As `parse_quantity`.
    """
    wanted = tuple(dimensions)
    example = f"Write, for example, {' or '.join(_EXAMPLES[d] for d in wanted[:2])}"
    number, unit_text = _split(text, example)
    if unit_text not in _UNITS:
        raise _error(text, "a number with an unknown unit", "", _nearest_unit(text, wanted))
    unit = _UNITS[unit_text]
    if unit.dimension in wanted:
        return number * unit.factor, unit.dimension
    if unit_text == "":
        raise _error(text, "a bare number", "its unit is missing", example)
    raise _error(text, f"measured in {unit.dimension}", f"{' or '.join(wanted)} is wanted here", example)


def example_of(dimension: Dimension) -> str:
    """How a quantity of this dimension is written."""
    return _EXAMPLES[dimension]


def format_quantity(value: float, unit: str) -> str:
    """A quantity for people, with four significant digits: `3.35 TB/s`, `80 GB`, `12.3 ms`.

    Args:
        value: In the base unit.
        unit: A dimension of this module; money and counts take no SI prefix.
    """
    unit = "" if unit == "count" else unit
    if not math.isfinite(value) or unit in _PLAIN:
        return f"{_four_digits(value)} {unit}".rstrip()
    return format(_reader()(value, unit), f".{_SIGNIFICANT_DIGITS - 1}q")


def _four_digits(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    # Whole numbers of money and devices are never shown as 1.5e+04.
    return f"{rounded:.0f}" if abs(rounded) >= 10**_SIGNIFICANT_DIGITS and abs(rounded) < 1e15 else f"{rounded:g}"


@functools.cache
def _reader() -> "type[Quantity]":
    from quantiphy import Quantity

    class Edge(Quantity):
        """Preferences of its own, so that those of the process stay as they are."""

    Edge.set_prefs(input_sf=_SCALE_FACTORS, output_sf="EPTGMkmunpfa")  # pyright: ignore[reportUnknownMemberType] (`map_sf` is untyped)
    return Edge


@functools.cache
def _decimal_scale(unit_text: str) -> tuple[int, str] | None:
    """Power of ten and base unit of a unit with its prefix; None where it is binary or not understood."""
    from quantiphy import QuantiPhyError

    try:
        one = _reader()(f"1 {unit_text}", binary=True)
    except QuantiPhyError:
        return None
    power = round(math.log10(one)) if one > 0 else 0
    return (power, one.units) if float(one) == float(f"1e{power}") else None


def _split(text: str, example: str) -> tuple[float, str]:
    from quantiphy import QuantiPhyError

    plain = _PLAIN_QUANTITY.fullmatch(text)
    if plain is not None:
        scale = _decimal_scale(plain[2])
        if scale is not None:
            # A profile has a thousand quantities and a dozen units; this reads one in a tenth of the time.
            return float(f"{plain[1]}e{scale[0]}"), scale[1]
    if not _NUMBER.match(text):
        raise _error(text, "not a quantity", "it does not begin with a number", example)
    try:
        quantity = _reader()(text.strip(), binary=True)
    except QuantiPhyError as error:
        raise _error(text, "not a quantity", "", example) from error
    if not math.isfinite(quantity):
        raise _error(text, "not finite", "", example)
    return float(quantity), quantity.units


def _nearest_unit(text: str, wanted: tuple[Dimension, ...]) -> str:
    written = _NUMBER.sub("", text).strip()
    bases = [u for u, unit in _UNITS.items() if unit.dimension in wanted and u]
    prefixes = ("", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "m", "u", "n", "p")
    scaled = [prefix + base for base in bases for prefix in prefixes]
    by_case = [name for name in scaled if name.lower() == written.lower()]
    return did_you_mean(by_case[0] if by_case else written, by_case or scaled)


def _error(text: str, what: str, why: str, fix: str) -> QuantityError:
    return QuantityError(Problem(where=repr(text), what=what, why=why, fix=fix))
