"""How far something long is, for whoever wants to show it or to end it early."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is.

    Attributes:
        rows: Finished.
        found: Of these, the rows that were there when it began.
        total: All rows.
        seconds: Since it began.
        unit: What is counted, in the plural.
    """

    rows: int
    found: int
    total: int
    seconds: float
    unit: str = "rows"


def nobody(_: object) -> None:
    """Listens to nothing."""


def never() -> bool:
    """Whether to stop: no."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told how far it is, and who may end it.

    Attributes:
        progress: Called when it begins and after each piece.
        stop: Asked before each piece whether to leave the rest.
    """

    progress: Callable[[Progress], None] = nobody
    stop: Callable[[], bool] = never


class Tally:
    """Counts what is finished and tells a watch."""

    def __init__(self, watch: Watch, total: int, unit: str) -> None:
        """Begin."""
        self._watch, self._total, self._unit = watch, total, unit
        self._begun = time.monotonic()
        self.done = 0
        self.add(0)

    @property
    def left(self) -> int:
        """What is not finished."""
        return self._total - self.done

    @property
    def stopped(self) -> bool:
        """Whether to leave the rest."""
        return self._watch.stop()

    def add(self, count: int = 1) -> None:
        """So many more are finished."""
        self.done += count
        seconds = time.monotonic() - self._begun
        self._watch.progress(Progress(rows=self.done, found=0, total=self._total, seconds=seconds, unit=self._unit))
