"""Quantities as text: what is read, what is refused, and that printing and parsing agree."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gambrel.units import DIMENSIONS, QuantityError, format_quantity, parse_quantity, parse_quantity_as


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("80 GB", "B", 80 * 1e9),
        ("80 GiB", "B", 80 * 2**30),
        ("228 KiB", "B", 228 * 2**10),
        ("400 Gb/s", "B/s", 400e9 / 8),
        ("400 Gbit/s", "B/s", 400e9 / 8),
        ("3.9 pJ/b", "J/B", 3.9e-12 * 8),
        ("989.4 TFLOP/s", "FLOP/s", 989.4e12),
        ("1979 TOP/s", "OP/s", 1979e12),
        ("4096 FLOP/clk", "FLOP/clk", 4096.0),
        ("250 clk", "clk", 250.0),
        ("1830 MHz", "Hz", 1.83e9),
        ("2.5 us", "s", 2.5e-6),
        ("1.5 kWh", "J", 1.5e3 * 3600),
        ("0.08 USD/kWh", "USD/kWh", 0.08),
        ("132", "count", 132.0),
        ("81 %", "count", 0.81),
        ("2,000 GB", "B", 2e12),
    ],
)
def test_reads(text, dimension, value):
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "words"),
    [
        ("80", "B", ["bare number", "80 GB (1e9)", "80 GiB (2^30)"]),
        ("1e12", "FLOP/s", ["bare number", "989.4 TFLOP/s"]),
        ("3 gb/s", "B/s", ["unknown unit", "'GB/s'"]),
        ("4 TBps", "B/s", ["unknown unit", "'TB/s'"]),
        ("312 TFLOPS", "FLOP/s", ["unknown unit", "'TFLOP/s'"]),
        ("3 GHz", "B/s", ["measured in Hz", "B/s is wanted"]),
        ("80 GB", "count", ["measured in B", "132"]),
        ("fast", "B/s", ["not a quantity", "begin with a number"]),
        ("", "W", ["not a quantity"]),
        ("nan W", "W", ["not a quantity"]),
        ("1e400 W", "W", ["not finite"]),
        ("0x10 B", "B", ["not a quantity"]),
    ],
)
def test_refuses(text, dimension, words):
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text, dimension)
    for word in words:
        assert word in str(caught.value)


def test_either_of_two_dimensions_says_which_it_was():
    assert parse_quantity_as("1979 TOP/s", ("FLOP/s", "OP/s")) == (1979e12, "OP/s")
    assert parse_quantity_as("989 TFLOP/s", ("FLOP/s", "OP/s")) == (989e12, "FLOP/s")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.35e12, "B/s", "3.35 TB/s"),
        (80e9, "B", "80 GB"),
        (0.0123, "s", "12.3 ms"),
        (999.96e-6, "s", "1 ms"),
        (0.0, "W", "0 W"),
        (1.3, "USD/h", "1.3 USD/h"),
        (33600, "USD", "33600 USD"),
        (126.0, "count", "126"),
        (math.inf, "s", "inf s"),
    ],
)
def test_prints(value, unit, text):
    assert format_quantity(value, unit) == text


@given(
    value=st.floats(min_value=1e-14, max_value=1e17).map(lambda x: float(f"{x:.4g}")),
    dimension=st.sampled_from(DIMENSIONS),
)
def test_printing_and_parsing_agree(value, dimension):
    assert parse_quantity(format_quantity(value, dimension), dimension) == pytest.approx(value, rel=1e-9)


def test_importing_units_leaves_quantiphy_unloaded():
    program = "import sys, gambrel.units; sys.exit('quantiphy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
