"""Lists and ranges as options write them: `8`, `1,2,4`, `1-256*2` (times 2 each), `1-9+2` (plus 2 each), `8-64`."""

import re
from collections.abc import Iterable, Sequence

from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.estimation.points import LARGEST

MOST_POINTS = 1_000_000
"""A list, and a table, may have so many entries."""

_ITEM = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+)(?:(?P<kind>[*+])(?P<step>\d+))?)?", re.ASCII)
_NEGATIVE = re.compile(r"-\d{1,20}", re.ASCII)
_FORMS = "Write whole numbers: 8, a list 1,2,4, or a range 1-256*2 (doubling) or 1-9+2 (by twos)"


def parse_counts(option: str, text: str, *, least: int = 1) -> tuple[int, ...]:
    """The whole numbers that a list of numbers and ranges stands for, each once, in the order given.

    Args:
        option: Its name, for errors: `--batch`.
        text: Items between commas. `A-B*F` is A, A F, A F F, ... up to B; `A-B+S` is A, A + S, ...; `A-B` steps by 1.
        least: The smallest number allowed.

    Raises:
        PlanError: The text is no such list, a number is out of range, or there are more than MOST_POINTS.
    """
    counts: dict[int, None] = {}
    for item in text.split(","):
        values = _item(option, text, item.strip(), least)
        if len(counts) + len(values) > MOST_POINTS:
            what = f"{text} is {len(counts) + len(values):,} values"
            raise _error(option, what, f"Give at most {MOST_POINTS:,}")
        counts.update(dict.fromkeys(values))
    return tuple(counts)


def parse_count(option: str, text: str, *, least: int = 1) -> int:
    """One whole number.

    Raises:
        PlanError: As `parse_counts`, or there are several.
    """
    first, *others = parse_counts(option, text, least=least)
    if others:
        raise _error(option, f"{text} is {1 + len(others)} values", "Give one number here")
    return first


def parse_machines(text: str) -> tuple[str, ...]:
    """The profiles that `--on` names, each once, in the order given; whether they exist is seen when they are read.

    Raises:
        PlanError: A place between commas is empty.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if not all(names):
        raise _error("--on", f"'{text}' has an empty place", "Write h100-sxm, or several with commas between them")
    return names


def parse_names(option: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names in a list, each once, in the order given.

    Raises:
        PlanError: With every name that is not known.
    """
    names = tuple(known)
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    problems = [
        Problem(where=option, what=f"unknown name '{word}'", fix=did_you_mean(word, names))
        for word in words
        if word not in names
    ]
    if problems:
        raise PlanError(*problems)
    return words


def _item(option: str, text: str, item: str, least: int) -> Sequence[int]:
    if _NEGATIVE.fullmatch(item):
        raise _error(option, f"{item} is out of range", f"Give {least} or more")
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _error(option, f"'{item}' is not a count" if item else f"'{text}' has an empty place", _FORMS)
    first = _number(option, match["first"], least)
    if match["last"] is None:
        return (first,)
    last = _number(option, match["last"], least)
    if last < first:
        raise _error(option, f"{item} runs backwards", f"Write {last}-{first}{item.partition(match['last'])[2]}")
    if match["kind"] == "*":
        return _doubling(option, item, first, last, int(match["step"]))
    step = int(match["step"] or 1)
    if step < 1:
        raise _error(option, f"{item} never ends: its step is {step}", "Give a step of 1 or more")
    return range(first, last + 1, step)


def _doubling(option: str, item: str, first: int, last: int, factor: int) -> list[int]:
    if factor < 2 or first == 0:
        why = f"its factor is {factor}" if factor < 2 else "it begins with 0"
        raise _error(option, f"{item} never ends: {why}", "Begin with 1 or more and give a factor of 2 or more")
    values = [first]
    while values[-1] * factor <= last:
        values.append(values[-1] * factor)
    return values


def _number(option: str, digits: str, least: int) -> int:
    # Bounded by length first: Python refuses to read integers of thousands of digits.
    value = int(digits) if len(digits) <= 20 else LARGEST + 1
    if value < least:
        raise _error(option, f"{digits} is out of range", f"Give {least} or more")
    if value > LARGEST:
        shown = digits if len(digits) <= 20 else f"{digits[:8]}... ({len(digits)} digits)"
        raise _error(option, f"{shown} is out of range", f"Give {LARGEST} or less")
    return value


def _error(option: str, what: str, fix: str) -> PlanError:
    return PlanError(Problem(where=option, what=what, fix=fix))
