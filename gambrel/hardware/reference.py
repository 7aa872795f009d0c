"""The reference page of the profile schema, made from the annotations of the dataclasses.

`python -m gambrel.hardware.reference` prints docs/reference/profile-schema.md.
"""

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Literal, cast, get_args, get_origin

from gambrel.hardware.checks import PEAK_TOLERANCE
from gambrel.hardware.profile import Field, Kind, NumberFormat, Profile, Quantity
from gambrel.hardware.read import SchemaField, schema_fields, strip_optional
from gambrel.units import DIMENSIONS, example_of

_INTRODUCTION = """\
# The profile schema

Made from the code by `python -m gambrel.hardware.reference`; do not edit it by hand.
[Write a hardware profile](../how-to/write-a-hardware-profile.md) shows how the pieces fit.

A profile is a YAML 1.2 file. A *quantity* is text with its unit (`3.35 TB/s`), whose source is the file's
`default_source`, or a mapping of `value`, `source`, `kind`, `note` and `date`. Counts and shares have no unit and are
bare numbers. `derived` and `assumed` numbers need a note.
"""


def schema_reference() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION, _dimensions(), _kinds()]
    done: set[type] = set()
    _section(Profile, "", parts, done)
    parts.append(_rules())
    return "\n".join(parts)


def _dimensions() -> str:
    lines = ["## Units", "", "| base unit | write, for example |", "|---|---|"]
    lines += [f"| {'none' if d == 'count' else f'`{d}`'} | {example_of(d)} |" for d in DIMENSIONS]
    lines += ["", "Prefixes are decimal (k M G T P, m u n p f) or binary (Ki Mi Gi Ti). b and bit are 1/8 B.", ""]
    return "\n".join(lines)


def _kinds() -> str:
    kinds = ", ".join(f"`{kind}`" for kind in get_args(Kind))
    formats = ", ".join(f"`{name}`" for name in get_args(NumberFormat))
    return f"Kinds of provenance: {kinds}.\n\nNumber formats: {formats}.\n"


def _section(record: type, path: str, parts: list[str], done: set[type]) -> None:
    if record in done:
        return
    done.add(record)
    lines = [f"## {f'`{path}`' if path else 'Top level'}", ""]
    documentation = (record.__doc__ or "").split("\n\n")[0].strip()
    lines += [documentation, "", "| key | required | value | meaning |", "|---|---|---|---|"]
    inner: list[tuple[type, str]] = []
    for item in schema_fields(record):
        lines.append(f"| `{item.name}` | {'yes' if item.required else ''} | {_value(item)} | {item.field.doc} |")
        nested, suffix = _nested(item.hint)
        if nested is not None:
            inner.append((nested, f"{path}.{item.name}{suffix}".lstrip(".")))
    parts.append("\n".join([*lines, ""]))
    for nested, nested_path in inner:
        _section(nested, nested_path, parts, done)


def _nested(hint: object) -> tuple[type | None, str]:
    hint = strip_optional(hint)
    suffix = ""
    while get_origin(hint) is Mapping:
        hint = get_args(hint)[1]
        suffix += ".NAME"
    if hint is Quantity or not is_dataclass(hint):
        return None, ""
    return cast("type", hint), suffix


def _value(item: SchemaField) -> str:
    return _type(item.hint, item.field)


def _type(hint: object, field: Field) -> str:
    hint = strip_optional(hint)
    if hint is Quantity:
        if field.dimensions == DIMENSIONS:
            return "quantity of any dimension"
        units = " or ".join("number" if d == "count" else f"`{d}`" for d in field.dimensions)
        return f"quantity, {units}"
    if get_origin(hint) is Mapping:
        key, value = get_args(hint)
        named = "number format" if get_args(key) else "name"
        return f"map of {named} to {_type(value, field)}"
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return "a kind of provenance" if choices == get_args(Kind) else ", ".join(f"`{c}`" for c in choices)
    if get_origin(hint) is tuple:
        return "list of text"
    if is_dataclass(hint):
        return "mapping"
    return {str: "text", int: "whole number", bool: "`true` or `false`"}[cast("type", hint)]


def _rules() -> str:
    return f"""\
## Rules between fields

- Every cited source is declared in `sources`, here or in a base; a source key means one thing.
- Numbers are positive and finite; engine parameters may be zero.
- `compute.unit`, `units.*.per` and `memory.*.scope` name a unit, `compute.clock` and `compute.vector.clock` a clock.
- Exactly one memory level has the role `device`, and it has a bandwidth.
- A peak is units x `per_clock` x clock within {PEAK_TOLERANCE:.0%}; a dense peak is at most the sparse one.
- Outward, the capacity of memory levels (of all instances together) grows and their bandwidth falls.
- Host tiers stand nearest first: their bandwidth falls.
- `usable` is at most `capacity`; `idle` is below `tdp`, `tdp` at most `all_in`, `cap` at most `tdp`.
- `idle`, `static`, `active` and `tdp` do not fall in this order.
- `cap` is above `idle`; `cap` and `clock` need energies per FLOP; `voltage_floor` is below 1.
- Domains of `links` grow outward and hold at least 2 devices.

A what-if (`--set`) may break the rules on peaks, memory and host order, and power, and no other.
"""


if __name__ == "__main__":
    sys.stdout.write(schema_reference())
