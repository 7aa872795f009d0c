"""A config as a source of checked facts: every read is typed, bounded and remembered; complaints are collected."""

import json
import math
from collections.abc import Mapping, Sequence

from gambrel.errors import FrontendError, Problem
from gambrel.frontends.hf.keys import SPELLINGS, UNMODELLED, is_irrelevant
from gambrel.frontends.hf.source import JsonValue, Source

MAX_COUNT = 100_000_000
"""No width, length or number of parts of a model comes near this; what does is a typing error."""

MAXIMA: dict[str, int] = {
    "num_hidden_layers": 1_000,
    "num_attention_heads": 65_536,
    "num_key_value_heads": 65_536,
    "head_dim": 65_536,
    "num_experts": 65_536,
    "num_experts_per_tok": 65_536,
    "hidden_size": 10_000_000,
    "max_position_embeddings": 10_000_000_000,
    "sliding_window": 10_000_000_000,
}


class Facts:
    """Reads facts from one config object.

    A missing or absurd value is recorded and a harmless stand-in returned, so that one pass finds every problem;
    `finish` raises them together. Rules between two facts are only checked where both were sound.
    """

    def __init__(self, source: Source, values: dict[str, JsonValue] | None = None, *, prefix: str = "") -> None:
        self.source = source
        self.values: dict[str, JsonValue] = source.values if values is None else values
        self.problems: list[Problem] = []
        self.defaulted: list[str] = []
        self.remarks: list[str] = []
        self._prefix = prefix
        self._used: set[str] = set()
        self._faulty: set[str] = set()
        self._missing_any = False
        self._assumed: Mapping[str, int] = {}

    def assume(self, defaults: Mapping[str, int]) -> None:
        """Give counts that may be missing a default, recorded where it is used."""
        self._assumed = defaults

    def count(self, name: str, *, default: int | None = None, minimum: int = 1) -> int:
        """A whole number. Without a default the config must give it; a default that is used is recorded."""
        found = self._find(name)
        if found is None:
            default = self._assumed.get(name, default)
            if default is None:
                self._missing(name)
                return minimum
            self._default(name, default)
            return default
        return self._checked_count(name, *found, minimum=minimum)

    def optional_count(self, name: str, *, default: int | None = None, minimum: int = 1) -> int | None:
        """A whole number, or None where the config says null; where it is silent, the default."""
        found = self._find(name)
        if found is not None:
            return self._checked_count(name, *found, minimum=minimum)
        if any(key in self.values for key in self._spellings(name)):
            return None
        self._default(name, default)
        return default

    def nullable_count(self, name: str, *, minimum: int = 1) -> int | None:
        """A whole number, or None where the config says null; silence is a missing fact."""
        if any(key in self.values for key in self._spellings(name)):
            return self.optional_count(name, minimum=minimum)
        return self.count(name, minimum=minimum)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false; a default that is used is recorded."""
        found = self._find(name)
        if found is None:
            self._default(name, default)
            return default
        key, value = found
        if isinstance(value, bool):
            return value
        self.fail(name, f"{key} is {_shown(value)}", why="it is a yes or no", fix="Write true or false")
        return default

    def number(self, name: str, *, default: float | None) -> float | None:
        """A positive number, or None where the config says null; where it is silent, the default."""
        if name in self.values and self.values[name] is None:
            self._used.add(name)
            return None
        found = self._find(name)
        if found is None:
            self._default(name, default)
            return default
        key, value = found
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
            return float(value)
        self.fail(name, f"{key} is {_shown(value)}", why="it must be a positive number", fix="Write a number or null")
        return default

    def text(self, name: str) -> str | None:
        """A text, or None where there is none."""
        found = self._find(name)
        if found is None:
            return None
        key, value = found
        if isinstance(value, str):
            return value
        self.fail(name, f"{key} is {_shown(value)}", why="it must be a text", fix="Write it in quotes")
        return None

    def sequence(self, name: str, *, length: int | None = None) -> Sequence[JsonValue] | None:
        """A list, or None where there is none; a wrong length is a problem."""
        found = self._find(name)
        if found is None:
            return None
        key, value = found
        if not isinstance(value, list):
            self.fail(name, f"{key} is {_shown(value)}", why="it must be a list", fix="Write it in brackets")
            return None
        if length is not None and len(value) != length and not self.faulty("num_hidden_layers"):
            why = f"num_hidden_layers is {length}, and the list has one entry a layer"
            self.fail(name, f"{key} has {len(value)} entries", why=why, fix="Make the two agree")
            return None
        return value

    def mapping(self, name: str) -> dict[str, JsonValue] | None:
        """A nested object, or None where there is none."""
        found = self._find(name)
        if found is None:
            return None
        key, value = found
        if isinstance(value, dict):
            return value
        self.fail(name, f"{key} is {_shown(value)}", why="it must be an object", fix="Write it in braces")
        return None

    def has(self, name: str) -> bool:
        """Whether the config gives the fact, null aside."""
        return any(self.values.get(key) is not None for key in self._spellings(name))

    def use(self, *names: str) -> None:
        """Mark keys as understood that have no effect in this family."""
        for name in names:
            self._used.update(self._spellings(name))

    def default(self, name: str, value: int | float | bool | str | None) -> None:
        """Record a value that was assumed without reading its key."""
        self._default(name, value)

    def fail(self, name: str, what: str, *, why: str = "", fix: str = "") -> None:
        """Record a problem with a fact."""
        self._faulty.add(name)
        key = next((key for key in self._spellings(name) if key in self.values), name)
        self.problems.append(Problem(where=self.source.locate(key), what=what, why=why, fix=fix))

    def require(self, holds: bool, *names: str, what: str, why: str, fix: str) -> None:
        """Record a problem between several facts, unless one of them is already known to be wrong."""
        if not holds and not any(self.faulty(name) for name in names):
            self.fail(names[0], what, why=why, fix=fix)

    def faulty(self, name: str) -> bool:
        """Whether a fact has a problem."""
        return name in self._faulty

    def unread_keys(self) -> tuple[str, ...]:
        """Keys that nothing understood and that are not known to be harmless, in the order of the file."""
        return tuple(
            f"{self._prefix}{key}"
            for key, value in self.values.items()
            if value is not None and key not in self._used and key not in UNMODELLED and not is_irrelevant(key)
        )

    def finish(self) -> None:
        """Raise what was collected.

        Raises:
            FrontendError: Something is missing, absurd, or beyond what the block kinds describe.
        """
        for key, meaning in UNMODELLED.items():
            if key not in self._used and self.values.get(key) not in (None, False, 0, [], {}):
                what = f"{key} asks for {meaning}"
                self.fail(key, what, why="no block kind describes it, and leaving it out would misprice the model")
        unread = self.unread_keys()
        if self._missing_any and unread:
            why = "one of them may spell a missing fact"
            self.problems.append(Problem(where=self.source.file, what=f"not understood: {', '.join(unread)}", why=why))
        if self.problems:
            raise FrontendError(*self.problems)

    def _find(self, name: str) -> tuple[str, JsonValue] | None:
        spellings = self._spellings(name)
        found = [(key, self.values[key]) for key in spellings if self.values.get(key) is not None]
        self._used.update(spellings)
        if not found:
            return None
        key, value = found[0]
        for other, different in found[1:]:
            if different != value and name not in self._faulty and name != "max_position_embeddings":
                what = f"{key} is {_shown(value)} but {other} is {_shown(different)}"
                self.fail(name, what, why="both spell the same fact", fix="Keep the one that is right")
        return key, value

    def _checked_count(self, name: str, key: str, value: JsonValue, *, minimum: int) -> int:
        maximum = MAXIMA.get(name, MAX_COUNT)
        if isinstance(value, bool) or not isinstance(value, int):
            whole = isinstance(value, float) and value.is_integer()
            fix = f"Write {_shown(value).removesuffix('.0')}" if whole else "Correct it"
            self.fail(name, f"{key} is {_shown(value)}", why="it must be a whole number", fix=fix)
            return minimum
        if not minimum <= value <= maximum:
            rule = f"it must lie between {minimum:,} and {maximum:,}"
            self.fail(name, f"{key} is {_shown(value)}", why=rule, fix="Correct it")
            return minimum
        return value

    def _missing(self, name: str) -> None:
        if name in self._faulty:
            return
        spellings = self._spellings(name)
        others = f" (or {', '.join(spellings[1:])})" if len(spellings) > 1 else ""
        why = "the size of the model depends on it, so it is not guessed"
        self.fail(name, f"{name} is missing", why=why, fix=f"Add {self._prefix}{name}{others}")
        self._missing_any = True

    def _default(self, name: str, value: int | float | bool | str | None) -> None:
        note = f"{self._prefix}{name} = {_shown(value)}"
        if value is not None and note not in self.defaulted:
            self.defaulted.append(note)

    @staticmethod
    def _spellings(name: str) -> tuple[str, ...]:
        return SPELLINGS.get(name, (name,))


def _shown(value: JsonValue) -> str:
    """A value as JSON writes it, cut to a readable length."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        # str() of a huge integer is an error of its own
        return str(value) if abs(value) < 10**30 else f"a number of {int(value.bit_length() * 0.30103) + 1} digits"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
