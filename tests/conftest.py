"""What all tests share: golden JSON files, text snapshots, and the command line run in this process."""

import difflib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

GOLDEN = Path(__file__).parent / "golden"
SNAPSHOTS = Path(__file__).parent / "cli" / "snapshots"
RELATIVE_TOLERANCE = 1e-9

# The same examples in every run, so that a failure is the change's and not the day's.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden JSON files and snapshots anew; read `git diff` then"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """`golden(name, value)` compares JSON-like data with `tests/golden/NAME.json`, numbers to 1e-9."""

    def check(name: str, value: Any) -> None:
        path = GOLDEN / f"{name}.json"
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
        if _to_be_updated(request, path, text):
            return
        differences = list(json_differences(json.loads(path.read_text()), json.loads(text)))
        if differences:
            pytest.fail(f"{path.name} differs (--update-golden accepts it):\n" + "\n".join(differences), pytrace=False)

    return check


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`snapshot(name, text)` compares text with `tests/cli/snapshots/NAME.txt`."""

    def check(name: str, text: str) -> None:
        path = SNAPSHOTS / f"{name}.txt"
        if _to_be_updated(request, path, text):
            return
        expected = path.read_text()
        if expected != text:
            lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "expected", "got", lineterm="", n=2)
            pytest.fail(f"{path.name} differs (--update-golden accepts it):\n" + "\n".join(lines), pytrace=False)

    return check


def _to_be_updated(request: pytest.FixtureRequest, path: Path, text: str) -> bool:
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return True
    if not path.exists():
        pytest.fail(f"{path} does not exist; --update-golden writes it", pytrace=False)
    return False


def json_differences(expected: Any, got: Any, path: str = "$") -> Iterator[str]:
    """One line for each leaf that differs; numbers may differ by RELATIVE_TOLERANCE."""
    match expected, got:
        case dict(), dict():
            for key in sorted(expected.keys() | got.keys()):
                inner = f"{path}.{key}"
                if key not in got:
                    yield f"{inner}: expected {_short(expected[key])}, is missing"
                elif key not in expected:
                    yield f"{inner}: unexpected {_short(got[key])}"
                else:
                    yield from json_differences(expected[key], got[key], inner)
        case list(), list() if len(expected) == len(got):
            for i, (a, b) in enumerate(zip(expected, got, strict=True)):
                yield from json_differences(a, b, f"{path}[{i}]")
        case list(), list():
            yield f"{path}: expected {len(expected)} elements, got {len(got)}"
        case ((int() | float()), (int() | float())) if not isinstance(expected, bool) and not isinstance(got, bool):
            if not math.isclose(expected, got, rel_tol=RELATIVE_TOLERANCE):
                change = f" ({got / expected - 1:+.3%})" if expected else ""
                yield f"{path}: expected {expected!r}, got {got!r}{change}"
        case _:
            if type(expected) is not type(got) or expected != got:
                yield f"{path}: expected {_short(expected)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class CliResult:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., CliResult]:
    """`cli("hw", "list")` runs `gambrel hw list` in this process, 80 columns wide and without colour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    # What tells how far a command is depends on the machine.
    monkeypatch.setattr("gambrel.cli.progress.QUIET_S", math.inf)

    def run(*args: str) -> CliResult:
        from gambrel.cli import main

        capsys.readouterr()
        code = main(args)
        out, err = capsys.readouterr()
        return CliResult(code=code, stdout=out, stderr=err)

    return run
