"""A calibration as the text of a profile, and the writing of it: checked, whole or not at all, never over another."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gambrel.calibration.calibrate import FittedFamily
from gambrel.errors import Problem, ProfileError, UsageError
from gambrel.hardware.load import load_profile
from gambrel.units import Dimension, format_quantity

UNITS: tuple[tuple[re.Pattern[str], Dimension], ...] = (
    (re.compile(r".*_bytes_per_s|block_bytes_per_s"), "B/s"),
    (re.compile(r".*bytes_per_clock_per_unit"), "B/clk"),
    (re.compile(r".*(launch|overhead|ramp|latency|_time|_hop|_after|_floor)"), "s"),
)
"""What an engine parameter measures, by its name; a number where none matches."""


def as_text(name: str, value: float) -> str:
    """A parameter in the unit that a profile gives it in."""
    matching: list[Dimension] = [unit for pattern, unit in UNITS if pattern.fullmatch(name)]
    return format_quantity(value, matching[0] if matching else "count")


def quote(text: str) -> str:
    """Text as a double-quoted YAML scalar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def source_key(origin: str, date: str) -> str:
    """The key of a file among a profile's sources: two files, two states of one, or two days never share it."""
    name, _, rest = origin.partition(", sha256 ")
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-") or "measured"
    return "-".join(filter(None, (stem, rest[:8], date)))


def error_note(found: FittedFamily) -> str:
    """How many rows a set was fitted on, and its error on those that a fit had not seen."""
    return (
        f"n = {found.n}; held out by {found.split_by}: {found.mape_after:.1%} mean error on {found.n_held_out},"
        f" {found.mape_before:.1%} before"
    )


def parameter_lines(families: Iterable[FittedFamily], key_of: Callable[[FittedFamily], str]) -> list[str]:
    """The section `parameters`; `key_of` gives the source of a family's numbers."""
    lines = ["parameters:"]
    for found in families:
        if not found.values:
            continue
        key = key_of(found)
        lines.append(f"  {found.family}:")
        for name, value in found.values.items():
            note = error_note(found) + ("; at its prior, these rows do not place it" * (name in found.unmoved))
            text = as_text(name, value)
            lines.append(f"    {name}: {{value: {text}, source: {key}, kind: fitted, note: {quote(note)}}}")
    return lines if len(lines) > 1 else []


def uncertainty_lines(families: Sequence[FittedFamily], key_of: Callable[[FittedFamily], str]) -> list[str]:
    """The section `uncertainty`: bounds, and the sizes that they hold for."""
    lines = ["uncertainty:"]
    for found in families:
        key = key_of(found)
        lines.append(f"  {found.residual_family}:")
        for name, value in found.band._asdict().items():
            lines.append(f"    {name}: {{value: {value:.3g}, source: {key}, kind: fitted}}")
        lines.append("    sizes:")
        for name, (least, most) in found.sizes.items():
            cells = (f"{{value: {x:.12g}, source: {key}, kind: measured}}" for x in (least, most))
            lines.append("      {}: {{least: {}, most: {}}}".format(name, *cells))
    return lines


def calibrated_profile(base: str, title: str, families: Sequence[FittedFamily], out: Path, date: str) -> str:
    """The text of a profile that extends a device's with fitted parameters and nothing else.

    Args:
        base: Name or path of the device's profile.
        title: Of the device.
        families: What was fitted.
        out: Where the profile goes: its name is the file's.
        date: Of the calibration, `2026-01-31`.
    """
    origins = dict.fromkeys(origin for found in families for origin in found.origins)

    def key_of(found: FittedFamily) -> str:
        return source_key(found.origins[0], date)

    lines = [
        f"# {title}, calibrated by `gambrel calibrate`: fitted parameters, the rest is of the profile that it extends.",
        "schema: 1",
        f"id: {profile_id(out)}",
        f"title: {quote(f'{title}, calibrated')}",
        f"extends: {quote(_base_reference(base, out))}",
        "",
        *parameter_lines(families, key_of),
        "",
        *uncertainty_lines(families, key_of),
        "",
        "sources:",
        *(
            f"  {source_key(origin, date)}: {{kind: fitted, ref: {quote(origin)}, date: {quote(date)}}}"
            for origin in origins
        ),
        "",
    ]
    return "\n".join(lines)


def profile_id(out: Path) -> str:
    """The name of a profile by that of its file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out.stem).strip("-") or "calibrated"


def check_target(out: Path, *, force: bool) -> None:
    """Refuses a file that cannot become a new profile, before any work is done.

    Raises:
        UsageError: It exists and `force` is not set, its folder does not exist, or it is no .yaml file.
    """
    where = str(out)
    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(Problem(where=where, what="a profile is a .yaml file", fix="Name it so"))
    if not out.parent.is_dir():
        raise UsageError(Problem(where=where, what="its folder does not exist"))
    if out.exists() and not force:
        raise UsageError(Problem(where=where, what="exists already", fix="Give another name, or --force to replace it"))


def write_profile(text: str, out: Path, *, force: bool) -> None:
    """Writes a profile after loading it: the file is there whole and valid, or not at all.

    Raises:
        UsageError: As `check_target`, or the file cannot be written.
        ProfileError: The text is not a valid profile.
    """
    check_target(out, force=force)
    try:
        handle, name = tempfile.mkstemp(suffix=".yaml", prefix=f".{out.stem}-", dir=out.parent)
    except OSError as error:
        raise UsageError(Problem(where=str(out), what=f"cannot be written ({error.strerror})")) from None
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.chmod(0o644)
        load_profile(draft)
        draft.replace(out)
    except ProfileError as error:
        shown = [
            Problem(where=p.where.replace(name, str(out)), what=p.what, why=p.why, fix=p.fix) for p in error.problems
        ]
        raise ProfileError(*shown) from None
    finally:
        draft.unlink(missing_ok=True)


def _base_reference(base: str, out: Path) -> str:
    """A shipped name as it stands; a path as seen from the new profile."""
    if not base.endswith((".yaml", ".yml")) and "/" not in base:
        return base
    return os.path.relpath(Path(base).resolve(), out.resolve().parent)
