"""Everything that a process needs to answer parts of a sweep, loaded and compiled from names."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array
from gambrel.estimation.api import load
from gambrel.estimation.many import Answers, Asked, Setting, Words, answer
from gambrel.estimation.points import LENGTHS, Plan
from gambrel.frontends.architecture import Architecture, Notes
from gambrel.hardware.checks import quantities
from gambrel.hardware.device import Device
from gambrel.hardware.load import ManyWhatIfs, to_device
from gambrel.hardware.resolve import is_relative
from gambrel.runtimes import load_engine
from gambrel.search.axes import Cell, Part
from gambrel.search.question import PLAN_ORDER, Question

if TYPE_CHECKING:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

MOST_CHECKED = 256
"""Combinations of what-ifs that are all loaded before a sweep begins; of more, each what-if with the first others."""


class Session:
    """A question with its model and machines loaded; IR is compiled when a part needs it.

    Attributes:
        question: What is asked.
        inputs: First 12 hex digits of the SHA-256 of what names stand for: the model, machines and engines.
    """

    def __init__(self, question: Question) -> None:
        """Load everything that the question names, and check its what-ifs.

        Raises:
            GambrelError: A name is unknown, a file is wrong, or a what-if has no target.
        """
        self.question = question
        self._architecture = load(question.model)
        self._machines = {name: ManyWhatIfs.of(name) for name in question.on}
        self._device = lru_cache(maxsize=1024)(self._load_device)
        for on, texts in product(question.on, self._checked()):
            self._device(on, texts)
        self._values = {path: self._override_values(path, texts) for path, texts in question.overrides.items()}
        self.inputs = self._inputs()

    def _checked(self) -> list[tuple[str, ...]]:
        """The combinations of what-ifs that are loaded first."""
        lists = list(self.question.overrides.values())
        if math.prod(map(len, lists)) <= MOST_CHECKED:
            return list(product(*lists))
        first = [texts[0] for texts in lists]
        others = [(*first[:place], text, *first[place + 1 :]) for place, texts in enumerate(lists) for text in texts]
        return list(dict.fromkeys(others))

    def answers(self, part: Part) -> tuple[Answers, dict[str, Array | Words]]:
        """The columns of a part, and those of its machines and what-ifs."""
        digits = self._setting_digits(part)
        lists = self.question.axes.lists
        settings: list[Setting] = []
        for row in np.stack(list(digits.values()), axis=-1):
            values = {name: lists[name][int(digit)] for name, digit in zip(digits, row, strict=True)}
            settings.append(self._setting(values))
        asked = Asked(settings=settings, setting=np.arange(len(settings)), lengths=self._lengths(part))
        answers = answer(self._architecture, asked, allow_unpriced=self.question.allow_unpriced)
        return self._with_asked_devices(answers, asked), self._machine_columns(asked, digits)

    def table(self, part: Part) -> "pyarrow.Table":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """The rows of a part."""
        from gambrel.search.arrow import to_table  # pyright: ignore[reportUnknownVariableType]

        return to_table(*self.answers(part))  # pyright: ignore[reportUnknownVariableType]

    def _setting(self, values: Mapping[str, Cell]) -> Setting:
        texts = tuple(str(values[path]) for path in self.question.overrides)
        devices = values["devices"]
        assert not isinstance(devices, str)
        plan = Plan(**{name: values[name] for name in PLAN_ORDER})  # pyright: ignore[reportArgumentType]  (checked)
        return Setting(device=self._device(str(values["on"]), texts), devices=devices, plan=plan)

    def _load_device(self, on: str, texts: tuple[str, ...]) -> Device:
        overrides = [f"{path}={text}" for path, text in zip(self.question.overrides, texts, strict=True)]
        return to_device(self._machines[on].profile(overrides))

    def _override_values(self, path: str, texts: tuple[str, ...]) -> Array | Words:
        """The column of a what-if: quantities in SI units, where all are; else as written."""
        written = Words(np.arange(len(texts), dtype=np.int32), texts)
        if any(map(is_relative, texts)):
            return written
        numbers: list[float] = []
        for text in texts:
            profile = self._machines[self.question.on[0]].profile((f"{path}={text}",))
            found = {".".join(place): quantity for place, quantity in quantities(profile)}.get(path)
            if found is None or found.text != text:
                return written
            numbers.append(found.value)
        return np.array(numbers)

    def _setting_digits(self, part: Part) -> dict[str, NDArray[np.intp]]:
        """The index of each setting's value on every axis but those of lengths."""
        names = tuple(self.question.axes.lists)[: -len(LENGTHS)]
        ranges = part.box[: -len(LENGTHS)]
        shape = tuple(map(len, ranges))
        places = np.unravel_index(np.arange(int(np.prod(shape))), shape)
        return {name: place + each.start for name, place, each in zip(names, places, ranges, strict=True)}

    def _lengths(self, part: Part) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for place, (name, each) in enumerate(zip(LENGTHS, part.box[-len(LENGTHS) :], strict=True)):
            layout = [1] * (1 + len(LENGTHS))
            layout[1 + place] = len(each)
            values = self.question.axes.lists[name][each.start : each.stop]
            out[name] = np.array(values, dtype=np.float64).reshape(layout)
        return out

    def _with_asked_devices(self, answers: Answers, asked: Asked) -> Answers:
        """Rows that cannot run say how many devices they were asked for."""
        if self.question.devices == (None,):
            return answers
        given = np.array([np.nan if s.devices is None else float(s.devices) for s in asked.settings])
        used = answers.columns["devices"]
        assert not isinstance(used, Words)
        devices = np.where(np.isnan(used), asked.spread(given), used)
        return replace(answers, columns={**answers.columns, "devices": devices})

    def _machine_columns(self, asked: Asked, digits: Mapping[str, NDArray[np.intp]]) -> dict[str, Array | Words]:
        out: dict[str, Array | Words] = {
            "on": Words(asked.spread(digits["on"]).astype(np.int32), self.question.on),
        }
        for path, values in self._values.items():
            if isinstance(values, Words):
                out[path] = Words(asked.spread(values.codes[digits[path]]), values.values)
            else:
                out[path] = asked.spread(values[digits[path]])
        return out

    def _inputs(self) -> dict[str, dict[str, str]]:
        engines = [str(name) for name in self.question.axes.lists["engine"]]
        return {
            "model": {self.question.model: fingerprint(self._architecture)},
            "on": {on: each.profile().hash for on, each in self._machines.items()},
            "engine": {name: _hash(repr(load_engine(name))) for name in engines},
        }


def fingerprint(architecture: Architecture) -> str:
    """First 12 hex digits of the SHA-256 of what an architecture says, its name and notes apart."""
    return _hash(repr(replace(architecture, name="", notes=Notes())))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
