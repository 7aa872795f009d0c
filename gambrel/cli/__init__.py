"""The `gambrel` command: finds the command, runs it, and turns errors into messages and exit codes."""

import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from gambrel import __version__
from gambrel.cli.commands import overview
from gambrel.errors import GambrelError, Problem

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run `gambrel ARGV` and return its exit code.

    0 for success, what the command returns for its own outcomes, 2 for bad input (a message on stderr, never a
    traceback), 130 when interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    # Imports make many objects and hardly any garbage: looking for it again and again costs a tenth of the start-up.
    gc.set_threshold(100_000)
    _tolerate_ascii(sys.stdout)
    try:
        code = _run(args)
        sys.stdout.flush()
    except GambrelError as error:
        report_problems(error.problems)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) is gone; point stdout elsewhere, or the interpreter complains when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return code


def _tolerate_ascii(stream: TextIO) -> None:
    """A terminal that cannot show a bar still gets its numbers."""
    reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def report_problems(problems: Iterable[Problem]) -> None:
    """Print each problem as one `error: ...` line on stderr."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)


def _run(args: list[str]) -> int:
    if args in ([], ["--help"], ["-h"]):
        print(overview())
        return 0
    if args == ["--version"]:
        print(f"gambrel {__version__}")
        return 0
    from gambrel.cli.app import run

    return run(args)
