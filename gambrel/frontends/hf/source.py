"""Read a `config.json` strictly: one object, one value per key, and a place in the file for every complaint.

NaN and Infinity pass here, because published configs hold them in keys without effect; a fact that is read must be
finite.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from gambrel.errors import FrontendError, Problem

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

MAX_BYTES = 16 * 2**20
"""A config is some kB; the largest seen (a multi-modal one that lists each module) is 3 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The object that a file holds, and the file's text to point into.

    Attributes:
        values: The top-level object.
        file: The name to print.
        text: The text of the file; empty where the object came from memory.
    """

    values: dict[str, JsonValue]
    file: str
    text: str = field(default="", repr=False)

    def locate(self, key: str) -> str:
        """`file:line:column` of a key that is written once, else the file alone."""
        places = _key_places(self.text, key)
        return _place(self.file, self.text, places[0]) if len(places) == 1 else self.file


def read_source(path: Path) -> Source:
    """The config object in a file, or in the `config.json` of a folder.

    Raises:
        FrontendError: There is no such file, or it is not one JSON object with unique keys.
    """
    file = path / "config.json" if path.is_dir() else path
    text = _read_text(file)
    name = str(file)
    try:
        values: JsonValue = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        fix = "Download the file again: it ends too early" if error.pos >= len(text.rstrip()) else "Correct the JSON"
        _fail(_place(name, text, error.pos), f"not valid JSON: {error.msg}", fix=fix)
    except _DuplicateKey as error:
        places = _key_places(text, error.key)
        where = _place(name, text, places[1]) if len(places) == 2 else name
        _fail(where, f"the key {error.key!r} is written twice", why="one of its values would be lost", fix="Keep one")
    except (ValueError, RecursionError) as error:
        _fail(name, f"not a usable JSON file: {error}", fix="Correct the JSON")
    if not isinstance(values, dict):
        _fail(name, f"holds a {type(values).__name__}", why="a config is one JSON object", fix="Name a config.json")
    return Source(values=values, file=name, text=text)


def _read_text(file: Path) -> str:
    try:
        if not file.exists():
            what = "there is no such file"
            _fail(str(file), what, fix="Name a config.json, its folder, or a model of the shipped library")
        if file.stat().st_size > MAX_BYTES:
            _fail(str(file), f"holds more than {MAX_BYTES // 2**20} MiB", why="a config is some kB of JSON")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(str(file), f"is not text: byte {error.start} is not UTF-8", fix="Name a config.json, not a weight file")
    except OSError as error:
        _fail(str(file), f"cannot be read: {error.strerror}")


def _key_places(text: str, key: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(json.dumps(key)) + r"\s*:", text)]


def _place(name: str, text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"{name}:{line}:{position - text.rfind(chr(10), 0, position)}"


def _fail(where: str, what: str, *, why: str = "", fix: str = "") -> NoReturn:
    raise FrontendError(Problem(where=where, what=what, why=why, fix=fix)) from None


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for key, value in pairs:
        if key in values:
            raise _DuplicateKey(key)
        values[key] = value
    return values
