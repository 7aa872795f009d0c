"""Collects the `.mlir` files of this folder: each `// RUN:` line is a test, run in this process.

A line is a pipeline of `gambrel-opt` and `filecheck`, written as `lit` wants it (`lit tests/filecheck` runs the same
files as subprocesses). `not gambrel-opt ...` expects an error that is reported, not a crash; `2>&1` joins stderr.
"""

import contextlib
import io
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options
from filecheck.parser import Parser


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    return MlirFile.from_parent(parent, path=file_path) if file_path.suffix == ".mlir" else None


class MlirFile(pytest.File):
    def collect(self) -> Iterable[pytest.Item]:
        commands = list(run_lines(self.path.read_text()))
        if not commands:
            raise self.CollectError(f"{self.path}: no `// RUN:` line, so nothing would be tested")
        for line, command in commands:
            yield RunLine.from_parent(self, name=f"line{line}", line=line, command=command)


def run_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each RUN command with its line number; a trailing backslash continues it on the next RUN line."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        _, found, command = line.partition("// RUN:")
        if not found:
            continue
        start = start if pending else number
        pending += command.strip()
        if pending.endswith("\\"):
            pending = pending[:-1]
        else:
            yield start, pending
            pending = ""


class RunFailed(Exception):
    """A stage of a RUN line did not do what the line says."""


class RunLine(pytest.Item):
    def __init__(self, *, line: int, command: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.line = line
        self.command = command

    def runtest(self) -> None:
        text = ""
        words = shlex.split(self.command.replace("%s", str(self.path)))
        for stage in split_stages(words):
            text = run_filecheck(stage, text) if stage[0] == "filecheck" else run_opt(stage, text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        head = f"{self.path}:{self.line}\n// RUN: {self.command}\n"
        if isinstance(excinfo.value, RunFailed):
            return f"{head}{excinfo.value}"
        return f"{head}{excinfo.getrepr(style='short')}"

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, f"{self.path.name}:{self.line}"


def split_stages(words: list[str]) -> Iterator[list[str]]:
    stage: list[str] = []
    for word in [*words, "|"]:
        if word != "|":
            stage.append(word)
            continue
        if not stage:
            raise RunFailed("an empty stage in the pipeline")
        yield stage
        stage = []


def run_opt(words: list[str], stdin: str) -> str:
    """Run `[not] gambrel-opt ARGS [2>&1]` on the text and return what it printed."""
    from gambrel.cli import opt

    fails = words[0] == "not"
    joined = words[-1] == "2>&1"
    program, *args = words[fails : len(words) - joined]
    if program != "gambrel-opt":
        raise RunFailed(f"{program}: a RUN line knows gambrel-opt, not and filecheck")
    out = io.StringIO()
    err = out if joined else io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))  # xDSL reads bytes
        try:
            code = opt.main(args)
        except SystemExit as stop:
            code = stop.code
    if bool(code) != fails:
        raise RunFailed(f"{shlex.join(words)}: exit code {code}\n{out.getvalue()}{'' if joined else err.getvalue()}")
    return out.getvalue()


def run_filecheck(words: list[str], text: str) -> str:
    options = parse_argv_options(list(words))
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        code = Matcher(options, FInput(options.match_filename, text), Parser.from_opts(options)).run()
    if code:
        raise RunFailed(f"{err.getvalue()}\n-- the text that was checked:\n{text}")
    return ""
