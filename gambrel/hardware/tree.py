"""YAML as a tree in which every key and value knows its file, line and column.

Built from parse events rather than from loaded objects: it is several times faster, a key that is given twice is seen,
and scalars follow the core schema of YAML 1.2 (`1e12` is a number, `no` is text).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gambrel.errors import Problem, ProfileError
from gambrel.hardware.events import YamlEvent, YamlSyntaxError, yaml_events

Plain = str | int | float | bool | None


class Mark(NamedTuple):
    """Where something was written; line and column count from 1, and are 0 for what no file holds."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value as it was written; `quoted` text is never read as a number."""

    mark: Mark
    text: str
    quoted: bool = False

    @property
    def plain(self) -> Plain:
        """The value by the core schema of YAML 1.2."""
        return self.text if self.quoted else _resolve(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list of values."""

    mark: Mark
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value and where its key stands."""

    key_mark: Mark
    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Keys in the order in which they were written."""

    mark: Mark
    entries: dict[str, Entry]

    def get(self, key: str) -> "Node | None":
        """The value of a key, or None where the key is not given."""
        entry = self.entries.get(key)
        return entry.node if entry else None


Node = Scalar | Sequence | Mapping

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.title(), word.upper())
}


def _resolve(text: str) -> Plain:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def read_tree(path: Path, shown: str | None = None, *, header_only: bool = False) -> Mapping:
    """Reads one YAML file.

    Args:
        path: The file.
        shown: Its name in messages; the path where None.
        header_only: Stop at the first nested mapping, which ends the identity of a profile.

    Returns:
        The mapping at its top.

    Raises:
        ProfileError: The file cannot be read, is not YAML, gives a key twice, or is not a mapping.
    """
    file = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = Problem(where=file, what=f"the profile cannot be read ({error.strerror or error})")
        raise ProfileError(problem) from error
    except UnicodeDecodeError as error:
        problem = Problem(where=file, what=f"not UTF-8 text (byte {error.start})", fix="Save the profile as UTF-8")
        raise ProfileError(problem) from error
    builder = _Builder(file, yaml_events(text))
    try:
        top = builder.document(header_only=header_only)
    except YamlSyntaxError as error:
        where = str(Mark(file, error.line, error.column))
        raise ProfileError(*builder.problems, Problem(where=where, what="not YAML", why=error.why)) from error
    if builder.problems:
        raise ProfileError(*builder.problems)
    if not isinstance(top, Mapping):
        fix = "Begin with `schema: 1`, `id: ...` and the sections of the schema"
        raise ProfileError(Problem(where=file, what="not a profile", why="a profile is a mapping of sections", fix=fix))
    return top


class _Builder:
    """Turns the events of one file into nodes, and notes what a profile may not contain."""

    def __init__(self, file: str, events: Iterator[YamlEvent]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._events = events

    def document(self, *, header_only: bool) -> Node | None:
        next(self._events, None)
        first = next(self._events, None)
        if first is None:
            return None
        if header_only and first.kind == "mapping":
            return self._mapping(self._mark(first), header_only=True)
        node = self._node(first)
        for event in self._events:
            if event.kind == "document":
                self._note(self._mark(event), "a second document", "a file holds one profile")
                break
        return node

    def _node(self, event: YamlEvent) -> Node:
        mark = self._mark(event)
        if event.kind == "mapping":
            return self._mapping(mark)
        if event.kind == "sequence":
            return self._sequence(mark)
        if event.kind == "alias":
            self._note(mark, "an alias", "each number is written where it stands", "Use `extends` to share values")
        return Scalar(mark=mark, text=event.text, quoted=event.quoted)

    def _sequence(self, mark: Mark) -> Sequence:
        items: list[Node] = []
        for event in self._events:
            if event.kind == "end-sequence":
                break
            items.append(self._node(event))
        return Sequence(mark=mark, items=tuple(items))

    def _mapping(self, mark: Mark, *, header_only: bool = False) -> Mapping:
        entries: dict[str, Entry] = {}
        for event in self._events:
            if event.kind == "end-mapping":
                break
            key_mark, key = self._mark(event), self._node(event)
            value = next(self._events)
            if header_only and value.kind == "mapping":
                break
            node = self._node(value)
            if not isinstance(key, Scalar):
                self._note(key_mark, "a key that is not text", "sections and fields have names")
            elif key.text in entries:
                first = entries[key.text].key_mark
                why = f"it is already given on line {first.line} ({first})"
                self._note(key_mark, f"key {key.text!r} is given twice", why, "Keep one of them")
            else:
                entries[key.text] = Entry(key_mark=key_mark, node=node)
        return Mapping(mark=mark, entries=entries)

    def _mark(self, event: YamlEvent) -> Mark:
        return Mark(self._file, event.line, event.column)

    def _note(self, mark: Mark, what: str, why: str, fix: str = "") -> None:
        self.problems.append(Problem(where=str(mark), what=what, why=why, fix=fix))
