"""`gambrel hw`: the hardware profiles."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, cast

from cyclopts import Parameter

from gambrel.cli import EXIT_BAD_INPUT, report_problems
from gambrel.cli.output import Format, print_json, print_table
from gambrel.hardware.load import list_profiles, load_profile, validate_file
from gambrel.hardware.profile import Profile, Quantity
from gambrel.units import format_quantity


def list_(*, format: Format = "table") -> None:
    """List the shipped hardware profiles.

    Args:
        format: A table for people, or JSON.
    """
    headlines = [_headline(load_profile(name)) for name in list_profiles()]
    if format == "json":
        print_json(headlines)
        return
    print_table(("name", "title", ">bf16 dense", ">memory", ">bandwidth"), map(_cells, headlines))


def show(
    name: str,
    /,
    *,
    set: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    format: Format = "table",
) -> None:
    """Show every number of a profile with its source.

    Args:
        name: A shipped profile, one of its aliases, or a path to a YAML file.
        set: Change a number: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity with its unit. May be repeated.
        format: A table for people, or JSON.
    """
    profile = load_profile(name, set)
    if format == "json":
        print_json(profile)
        return
    rows = [(path, number.text, number.kind, number.source) for path, number in quantities(profile)]
    print_table(
        ("field", "value", "kind", "source"), rows, title=f"{profile.title} ({profile.id}, hash {profile.hash})"
    )
    print()
    sources = [(key, " ".join((source.ref, source.date)).strip()) for key, source in profile.sources.items()]
    print_table(("source", "reference"), sources)


def validate(file: Path, /, *more: Path) -> int:
    """Check profiles; all the errors of a file are reported at once.

    Args:
        file: A YAML file.
        more: Others.

    Returns:
        0, or 2 when a file has an error.
    """
    valid = True
    for path in (file, *more):
        problems = validate_file(path)
        report_problems(problems)
        if not problems:
            print(f"{path}: ok")
        valid = valid and not problems
    return 0 if valid else EXIT_BAD_INPUT


def quantities(record: object, path: str = "") -> Iterator[tuple[str, Quantity]]:
    """Every number of a profile (or of a part of it) with its dotted path, in the order of the schema."""
    if isinstance(record, Quantity):
        yield path, record
    elif isinstance(record, Mapping):
        for key, value in cast("Mapping[str, object]", record).items():
            yield from quantities(value, f"{path}.{key}")
    elif is_dataclass(record):
        for field in fields(record):
            yield from quantities(getattr(record, field.name), f"{path}.{field.name}".removeprefix("."))


def _headline(profile: Profile) -> dict[str, str | float | None]:
    """A profile's line in the list; numbers in SI units, None where the profile does not say."""
    bf16 = profile.compute.matrix.get("bf16")
    memory = next(level for level in profile.memory.values() if level.role == "device")
    return {
        "name": profile.id,
        "title": profile.title,
        "engine": profile.engine,
        "status": profile.status,
        "bf16_dense_flops_per_s": bf16.dense.value if bf16 else None,
        "memory_bytes": memory.capacity.value,
        "memory_bandwidth_bytes_per_s": memory.bandwidth.value if memory.bandwidth else None,
    }


def _cells(headline: dict[str, str | float | None]) -> list[str]:
    columns = {
        "name": "",
        "title": "",
        "bf16_dense_flops_per_s": "FLOP/s",
        "memory_bytes": "B",
        "memory_bandwidth_bytes_per_s": "B/s",
    }
    return [_cell(headline[key], unit) for key, unit in columns.items()]


def _cell(value: str | float | None, unit: str) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else format_quantity(value, unit)
