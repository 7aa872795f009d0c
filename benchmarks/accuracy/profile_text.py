"""Fitted parameters as the text of a profile, and put into one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One fitted set.

    Attributes:
        values: Parameters in SI units; those that stayed at their prior are left out.
        error: Mean absolute error on held-out rows, in percent.
        rows: Held-out rows.
        devices: Whose rows these are.
        libraries: Whose kernels ran in the rows that were fitted.
    """

    family: str
    values: Mapping[str, float]
    error: float | None
    rows: int
    devices: tuple[str, ...]
    libraries: frozenset[str] = frozenset()


def as_text(name: str, value: float) -> str:
    """A parameter in the unit that a profile gives it in."""
    if name.endswith("bytes_per_clock_per_unit"):
        return f"{_digits(value)} B/clk"
    if name.endswith("_bytes_per_s"):
        return f"{_digits(value / 1e9)} GB/s"
    if name.endswith(
        ("launch", "overhead", "ramp", "latency", "_time", "_hop", "_after", "_floor", "host_call", "host_lead")
    ):
        return f"{_digits(value * 1e6)} us"
    return _digits(value)


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def render(found: Fitted) -> str:
    """The block of one family, with its error as a comment."""
    quality = f"{found.error:.1f} % mean error on {found.rows}" if found.error is not None else "no"
    lines = [f"  # {quality} held-out rows of {', '.join(found.devices)}", f"  {found.family}:"]
    lines += [f"    {name}: {{value: {as_text(name, x)}, source: kernel-fit}}" for name, x in found.values.items()]
    return "\n".join(lines) + "\n"


def splice(profile: str, found: Fitted) -> str:
    """A profile's text with the family's block replaced, or added as the last of `parameters`; dropped if empty."""
    block = render(found) if found.values else ""
    old = re.compile(rf"(?m)^(  # [^\n]*held-out[^\n]*\n)?  {re.escape(found.family)}:[^\n]*\n(    [^\n]*\n)*")
    if old.search(profile):
        return old.sub(lambda _: block, profile, count=1)
    section = re.compile(r"(?m)^parameters:[^\n]*\n((  [^\n]*)?\n)*?(?=^\S|\Z)")
    match = section.search(profile)
    if match is None:
        raise ValueError("the profile has no section `parameters`")
    end = match.start() + len(match.group().rstrip("\n")) + 1
    return profile[:end] + block + profile[end:]
