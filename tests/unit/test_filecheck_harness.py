"""The harness for `.mlir` tests must fail when the compiler does something else than the file says."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

HARNESS = Path(__file__).parents[1] / "filecheck" / "conftest.py"


def fake_opt(argv: Sequence[str]) -> int:
    """Echoes its file (or stdin), fails on --fail with a message, crashes on --crash."""
    if "--fail" in argv:
        print("bad input", file=sys.stderr)
        return 1
    if "--crash" in argv:
        raise RuntimeError("a bug of ours")
    files = [Path(arg) for arg in argv if not arg.startswith("-")]
    print(files[0].read_text() if files else sys.stdin.read())
    return 0


@pytest.fixture
def run_mlir(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs the harness on the given text of one `.mlir` file."""
    import gambrel.cli

    opt = ModuleType("gambrel.cli.opt")
    opt.main = fake_opt
    monkeypatch.setitem(sys.modules, "gambrel.cli.opt", opt)
    monkeypatch.setattr(gambrel.cli, "opt", opt, raising=False)
    pytester.makeconftest(HARNESS.read_text())

    def run(text: str) -> pytest.RunResult:
        (pytester.path / "case.mlir").write_text(text)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider")

    return run


PASSING = {
    "match": "// RUN: gambrel-opt %s | filecheck %s\n// CHECK: model.einsum\nmodel.einsum",
    "two stages": "// RUN: gambrel-opt %s | gambrel-opt | filecheck %s\n// CHECK: model.einsum\nmodel.einsum",
    "prefix": "// RUN: gambrel-opt %s | filecheck %s --check-prefix=GENERIC\n// GENERIC: norm\nnorm",
    "reported error": "// RUN: not gambrel-opt %s --fail 2>&1 | filecheck %s\n// CHECK: bad input",
    "continued": "// RUN: gambrel-opt %s | \\\n// RUN: filecheck %s\n// CHECK: norm\nnorm",
}

FAILING = {
    "no match": ("// RUN: gambrel-opt %s | filecheck %s\n// CHECK: {{^}}softmax\nnorm", "*softmax*"),
    "error": ("// RUN: gambrel-opt %s --fail", "*exit code 1*"),
    "missing error": ("// RUN: not gambrel-opt %s", "*exit code 0*"),
    "a crash is no error report": ("// RUN: not gambrel-opt %s --crash", "*a bug of ours*"),
    "unknown program": ("// RUN: cat %s", "*cat: a RUN line knows*"),
    "no check": ("// RUN: gambrel-opt %s | filecheck %s\nnorm", "*No check strings*"),
}


@pytest.mark.parametrize("text", PASSING.values(), ids=PASSING.keys())
def test_passes(run_mlir, text):
    run_mlir(text).assert_outcomes(passed=1)


@pytest.mark.parametrize(("text", "message"), FAILING.values(), ids=FAILING.keys())
def test_fails_and_says_why(run_mlir, text, message):
    result = run_mlir(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_a_file_without_run_line_is_an_error(run_mlir):
    result = run_mlir("model.einsum")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no `// RUN:` line*"])
