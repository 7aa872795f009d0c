"""How far a long command is, on stderr: one line that renews itself on a terminal, a line now and then elsewhere."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from gambrel.search.progress import Progress, Watch

QUIET_S = 1.0
"""What takes less time says nothing."""

TERMINAL_S = 0.2
PLAIN_S = 10.0
"""Least time between two lines."""


class ProgressLine:
    """What is finished, the rate and the time left."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at once.

        Args:
            stream: Where to write.
            clock: Seconds.
        """
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()
        self._next = clock() + QUIET_S
        self._written = False

    def __call__(self, progress: Progress) -> None:
        """Show how far it is, if it is time to."""
        now = self._clock()
        last = self._written and progress.rows == progress.total
        if now < self._next and not last:
            return
        self._next = now + (TERMINAL_S if self._terminal else PLAIN_S)
        self._written = True
        text = progress_text(progress)
        self._stream.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line, so that what follows has one of its own."""
        if self._terminal and self._written:
            self._stream.write("\n")
            self._stream.flush()
        self._written = False


@contextmanager
def working(on: str) -> Generator[None]:
    """Says on stderr what a command works on whose steps cannot be counted, once it has taken QUIET_S."""
    timer = threading.Timer(min(QUIET_S, threading.TIMEOUT_MAX), _say, (sys.stderr, f"{on} ...\n"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


@contextmanager
def watching() -> Generator[Watch]:
    """A watch that shows on stderr how far it is; the line is ended whatever happens."""
    line = ProgressLine(sys.stderr)
    try:
        yield Watch(progress=line)
    finally:
        line.close()


@contextmanager
def stoppable() -> Generator[Watch]:
    """As `watching`; an interrupt stops what asks the watch. A second one ends it at once, as any command."""
    before = signal.getsignal(signal.SIGINT)
    # Other threads get no signals, and a command in the background ignores them.
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        with watching() as watch:
            yield watch
        return
    asked: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        with watching() as watch:
            yield Watch(progress=watch.progress, stop=lambda: bool(asked))
    finally:
        signal.signal(signal.SIGINT, before)


def progress_text(progress: Progress) -> str:
    """`3,145,728 of 10,485,760 rows (30 %), 1.2 M rows/s, 6 s left`."""
    rate = (progress.rows - progress.found) / max(progress.seconds, 1e-9)
    text = f"{progress.rows:,} of {progress.total:,} {progress.unit} ({100 * progress.rows // progress.total} %)"
    if rate <= 0:
        return text
    left = (progress.total - progress.rows) / rate
    return (
        f"{text}, {_rate(rate)} {progress.unit}/s, {f'{_duration(left)} left' if left else _duration(progress.seconds)}"
    )


def _rate(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.0f} k" if value >= 1e4 else f"{value:.0f}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
