"""The border of the profile format: a merged tree becomes plain dataclasses, and every problem is noted with its mark.

Written over the annotations of `gambrel.hardware.profile` rather than over a validation library: each value keeps its
file, line and column, a quantity takes the default source of the file that wrote it, and no import is added to the
start-up of every command.
"""

import functools
import re
import types
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from gambrel.errors import Problem, did_you_mean
from gambrel.hardware.profile import Field, Kind, Profile, Quantity, Source
from gambrel.hardware.resolve import WHAT_IF, Resolved
from gambrel.hardware.tree import Mapping, Mark, Node, Scalar, Sequence
from gambrel.units import QuantityError, parse_quantity_as

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_@-]*")
_KINDS: tuple[Kind, ...] = get_args(Kind)
_QUANTITY_KEYS = ("value", "source", "kind", "note", "date")
_NEEDS_NOTE = ("derived", "assumed")
_UNKNOWN = Source(kind="assumed", ref="")
_WHAT_IF_SOURCE = Source(kind="estimated", ref="an override (--set)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaField:
    """One field of a record: its bare type, its meaning, and whether it can be left out."""

    name: str
    hint: object
    field: Field
    required: bool


@functools.cache
def schema_fields(record: type) -> tuple[SchemaField, ...]:
    """The fields of a record of the schema, in order."""
    hints = get_type_hints(record, include_extras=True)
    found: list[SchemaField] = []
    for item in fields(record):
        if get_origin(hints[item.name]) is not Annotated:
            continue  # set by the loader, not by a file
        hint, meaning = cast("tuple[object, Field]", get_args(hints[item.name]))
        required = item.default is MISSING and item.default_factory is MISSING
        found.append(SchemaField(name=item.name, hint=hint, field=meaning, required=required))
    return tuple(found)


def read_profile(resolved: Resolved) -> tuple[Profile, list[Problem]]:
    """Reads a merged tree.

    Returns:
        The profile and all that is wrong with it. Where there are problems, broken numbers are NaN and missing text is
        empty, so that checks which compare several fields can still run on the rest.
    """
    return read_record(Profile, resolved)


def read_record(record: type[T], resolved: Resolved) -> tuple[T, list[Problem]]:
    """Reads a merged tree as any record of a schema whose file has `sources`; see `read_profile`."""
    reader = _Reader(resolved)
    return reader.record(record, resolved.tree, ()), reader.problems


def strip_optional(hint: object) -> object:
    """`X` of `X | None`, else the hint itself."""
    if get_origin(hint) is types.UnionType:
        return next(arg for arg in get_args(hint) if arg is not type(None))
    return hint


class _Reader:
    def __init__(self, resolved: Resolved) -> None:
        self.problems: list[Problem] = []
        self._defaults = resolved.default_sources
        abstract = resolved.tree.get("abstract")
        self._partial = isinstance(abstract, Scalar) and abstract.plain is True
        self._sources: AbstractMapping[str, Source] = {}
        node = resolved.tree.get("sources")
        if isinstance(node, Mapping):
            quiet = _Quiet(self)
            self._sources = {k: quiet.source(e.node, k) for k, e in node.entries.items()}
        if resolved.overridden:
            self._sources = {**self._sources, WHAT_IF: _WHAT_IF_SOURCE}

    def record(self, record: type[T], node: Node | None, path: tuple[str, ...]) -> T:
        """Reads one record; a node of None stands for one that is missing and already reported."""
        if node is not None and not isinstance(node, Mapping):
            names = ", ".join(f.name for f in schema_fields(record))
            self._note(node.mark, f"{_dotted(path)} is not a mapping", f"it holds {names}")
            node = None
        entries = node.entries if node else {}
        known = {f.name: f for f in schema_fields(record)}
        for key, entry in entries.items():
            if key not in known:
                what = f"unknown key {key!r}" + (f" in {_dotted(path)}" if path else "")
                self._note(entry.key_mark, what, fix=did_you_mean(key, known))
        values: dict[str, object] = {}
        for name, item in known.items():
            if name in entries:
                values[name] = self._value(item.hint, item.field, entries[name].node, (*path, name))
            elif item.required:
                if node is not None and not self._partial:
                    what = f"{_dotted((*path, name))} is missing"
                    self._note(node.mark, what, _lower(item.field.doc), f"Add `{name}:`")
                values[name] = self._placeholder(item.hint, item.field)
        return cast("Callable[..., T]", record)(**values)

    def _value(self, hint: object, field: Field, node: Node, path: tuple[str, ...]) -> object:
        hint = strip_optional(hint)
        origin = get_origin(hint)
        if hint is Quantity:
            return self._quantity(field, node, path)
        if origin is AbstractMapping:
            return self._map(hint, field, node, path)
        if is_dataclass(hint):
            return self.record(cast("type[object]", hint), node, path)
        if origin is tuple:
            items = node.items if isinstance(node, Sequence) else (node,)
            return tuple(self._scalar(get_args(hint)[0], field, item, path) for item in items)
        return self._scalar(hint, field, node, path)

    def _map(self, hint: object, field: Field, node: Node, path: tuple[str, ...]) -> dict[str, object]:
        if not isinstance(node, Mapping):
            self._note(node.mark, f"{_dotted(path)} is not a mapping", _lower(field.doc), "Write `name: value` pairs")
            return {}
        key_hint, value_hint = get_args(hint)
        allowed: tuple[str, ...] = get_args(key_hint)
        read: dict[str, object] = {}
        for key, entry in node.entries.items():
            if allowed and key not in allowed:
                self._note(entry.key_mark, f"unknown key {key!r} in {_dotted(path)}", fix=did_you_mean(key, allowed))
            elif not _NAME.fullmatch(key):
                why = "overrides address it by letters, digits, -, _ and @"
                self._note(entry.key_mark, f"{key!r} in {_dotted(path)} is not a name", why)
            else:
                read[key] = self._value(value_hint, field, entry.node, (*path, key))
        return read

    def _scalar(self, hint: object, field: Field, node: Node, path: tuple[str, ...]) -> object:
        shown = _dotted(path)
        if not isinstance(node, Scalar) or node.plain is None:
            what = f"{shown} is empty" if isinstance(node, Scalar) else f"{shown} is not a single value"
            self._note(node.mark, what, _lower(field.doc))
            return self._placeholder(hint, field)
        if get_origin(hint) is Literal:
            choices: tuple[object, ...] = get_args(hint)
            value = node.plain if isinstance(choices[0], int) else node.text
            if value not in choices:
                names = [str(choice) for choice in choices]
                self._note(node.mark, f"{shown} is {node.text!r}", "it is one of a few", did_you_mean(node.text, names))
            return value
        if hint is str:
            return node.text
        if cast("object", type(node.plain)) is not hint:
            wanted = {int: "a whole number", bool: "true or false"}[cast("type", hint)]
            self._note(node.mark, f"{shown} is {node.text!r}", f"{wanted} is wanted here")
            return self._placeholder(hint, field)
        return node.plain

    def _quantity(self, field: Field, node: Node, path: tuple[str, ...]) -> Quantity:
        broken = cast("Quantity", self._placeholder(Quantity, field))
        shown = _dotted(path)
        parts: dict[str, Scalar] = {}
        if isinstance(node, Mapping):
            for key, entry in node.entries.items():
                if key not in _QUANTITY_KEYS:
                    self._note(entry.key_mark, f"unknown key {key!r} in {shown}", fix=did_you_mean(key, _QUANTITY_KEYS))
                elif isinstance(entry.node, Scalar):
                    parts[key] = entry.node
                else:
                    self._note(entry.node.mark, f"{shown}.{key} is not a single value")
            if "value" not in node.entries:
                self._note(node.mark, f"{shown} has no value", _lower(field.doc), "Add `value:`")
        elif isinstance(node, Scalar):
            parts["value"] = node
        else:
            self._note(node.mark, f"{shown} is a list", "one quantity is wanted here")
        if "value" not in parts:
            return broken
        source, kind = self._provenance(parts, node, shown)
        value = parts["value"]
        try:
            number, dimension = parse_quantity_as(value.text, field.dimensions)
        except QuantityError as error:
            for problem in error.problems:
                self._note(value.mark, f"{shown} = {problem.where} is {problem.what}", problem.why, problem.fix)
            return broken
        return Quantity(
            value=number,
            dimension=dimension,
            text=value.text,
            source=source,
            kind=kind,
            note=parts["note"].text if "note" in parts else "",
            date=parts["date"].text if "date" in parts else "",
        )

    def _provenance(self, parts: dict[str, Scalar], node: Node, shown: str) -> tuple[str, Kind]:
        name = parts["source"].text if "source" in parts else self._defaults.get(node.mark.file, "")
        mark = parts["source"].mark if "source" in parts else node.mark
        source = self._sources.get(name, _UNKNOWN)
        if not name:
            fix = "Write {value: ..., source: ...}, or give the file a `default_source`"
            self._note(mark, f"{shown} has no source", "every number says where it comes from", fix)
        elif name not in self._sources:
            self._note(mark, f"{shown} cites undeclared source {name!r}", fix=did_you_mean(name, self._sources))
        kinds: dict[str, Kind] = {k: k for k in _KINDS}
        kind = kinds.get(parts["kind"].text, source.kind) if "kind" in parts else source.kind
        if "kind" in parts and parts["kind"].text not in _KINDS:
            bad = parts["kind"]
            self._note(bad.mark, f"{shown} is of unknown kind {bad.text!r}", fix=did_you_mean(bad.text, _KINDS))
        elif name in self._sources and kind in _NEEDS_NOTE and "note" not in parts and not source.note:
            self._note(node.mark, f"{shown} is {kind} without a note", "it says from what, or why", "Add `note:`")
        return name, kind

    def _placeholder(self, hint: object, field: Field) -> object:
        """A value for what is broken or missing, that no check trips over."""
        hint = strip_optional(hint)
        if hint is Quantity:
            dimension = field.dimensions[0] if field.dimensions else "count"
            return Quantity(value=float("nan"), dimension=dimension, text="", source="", kind="assumed")
        if is_dataclass(hint):
            return self.record(cast("type[object]", hint), None, ())
        if get_origin(hint) is Literal:
            return get_args(hint)[0]
        if get_origin(hint) is AbstractMapping:
            return {}
        return cast("type", hint)()

    def _note(self, mark: Mark, what: str, why: str = "", fix: str = "") -> None:
        self.problems.append(Problem(where=str(mark), what=what, why=why, fix=fix))


class _Quiet:
    """Reads the sources ahead of the numbers that cite them; the main pass reports what is wrong with them."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def source(self, node: Node, key: str) -> Source:
        before = len(self._reader.problems)
        source = self._reader.record(Source, node, ("sources", key))
        del self._reader.problems[before:]
        return source


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the profile"


def _lower(doc: str) -> str:
    return doc[:1].lower() + doc[1:]
