"""Errors that a user can act on: where it is, what is wrong, why it matters and how to mend it."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        where: `file:line:column`, a field path, or an op with its layer.
        what: What is wrong, with the offending value.
        why: The rule that it breaks; empty where `what` says it all.
        fix: What to write instead; empty where there is no single answer.
    """

    where: str
    what: str
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        if self.why:
            text += f": {self.why}"
        return f"{text}. {self.fix}{'' if self.fix.endswith('?') else '.'}" if self.fix else f"{text}."


class GambrelError(Exception):
    """Base of every error that bad input can cause; the command line prints it without a traceback."""

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("an error needs at least one problem")
        self.problems: tuple[Problem, ...] = problems
        super().__init__("\n".join(map(str, problems)))

    def __reduce__(self) -> tuple[type["GambrelError"], tuple[Problem, ...]]:
        """Errors of a worker process reach its caller whole."""
        return type(self), self.problems


class ProfileError(GambrelError):
    """A hardware profile (or a `--set` on it) is wrong: its author must act."""


class FrontendError(GambrelError):
    """A model file cannot be read or is not understood: the owner of the model file must act."""


class PlanError(GambrelError):
    """A plan, workload or topology request cannot be run as asked: the caller must act."""


class IRError(GambrelError):
    """A module does not parse or verify: the author of the IR (or of the pass) must act."""


class UnpricedOpError(GambrelError):
    """An op has no cost rule: its author must add one, or the caller must accept a lower bound."""


class UsageError(GambrelError):
    """A command cannot run as it was called: a file cannot be read or written, or options do not go together."""


def did_you_mean(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """The hint that ends an unknown-name error: the nearest known names, or all of them when few."""
    names: Sequence[str] = sorted(known)
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?".rstrip("?") + "?"
    shown = ", ".join(names[:20])
    return f"Known: {shown}{', …' if len(names) > 20 else ''}" if names else "None are known"
