"""`gambrel-opt` with input that it cannot use: one line that says so, exit code 1 for wrong IR and 2 for wrong use."""

import io
import subprocess
import sys

import pytest

from gambrel.cli import opt

GOOD = '%x = model.input "x" dims ["batch"] : !model.t<bf16, [b]>\n'
GOOD_BYTES = GOOD.encode()
BAD = GOOD + '%y = model.norm "nrm" %x : (!model.t<bf16, [b]>) -> !model.t<bf16, [b]>\n'


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs the command on `module.mlir` with this content in an empty folder; gives code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args, content=GOOD_BYTES):
        (tmp_path / "module.mlir").write_bytes(content)
        return opt.main(args), *capsys.readouterr()

    return call


def test_prints_the_module(run):
    code, out, err = run("module.mlir")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["builtin.module {", f"  {GOOD.strip()}", "}"]


def test_reads_standard_input(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
    code, _, err = run("-")
    assert code == 1
    assert err.startswith("error: <stdin>:2:1: model.norm: unknown norm 'nrm'")


def test_writes_to_a_file(run, tmp_path):
    code, out, _ = run("module.mlir", "-o", "out.mlir", "-p", "shard{axes=tp}")
    assert (code, out) == (0, "")
    assert 'dist.mesh "megatron" axes ["tp"]' in (tmp_path / "out.mlir").read_text()


def test_verify_only_prints_nothing_where_all_is_well(run):
    assert run("module.mlir", "--verify-only") == (0, "", "")


def test_prints_after_passes_to_stderr(run):
    code, out, err = run("module.mlir", "-p", "shard{axes=tp},insert-collectives", "--print-ir-after", "shard")
    assert code == 0
    assert err.startswith('// -----// IR after shard{axes="tp"} //----- //\nbuiltin.module {')
    assert "insert-collectives" not in err
    assert out.startswith("builtin.module {")


def test_lists_passes_with_their_options(run):
    code, out, _ = run("--list-passes")
    assert code == 0
    assert "shard\n    Place a whole module.\n    strategy: str = megatron" in out


BAD_IR = {
    "wrong op": (BAD.encode(), "module.mlir:2:1: model.norm: unknown norm 'nrm'; known: rms, layer."),
    "no IR": (b"{}", "module.mlir:"),
    "truncated": (GOOD[:40].encode(), "module.mlir:1:"),
    "truncated region": (b'structure.phase "decode" {', "module.mlir:1:"),
    "unknown op": (b'"tosa.add"() : () -> ()', "module.mlir:1:"),
    "unknown format": (GOOD.replace("bf16", "bf17").encode(), "module.mlir:1:1: unknown number format 'bf17'"),
    "a wrong collective": (
        b'dist.mesh "m" axes ["tp"]\n%x = model.input "x" dims ["b"] : !model.t<bf16, [b]>\n'
        b"%y = dist.all_gather %x : !model.t<bf16, [b]> -> !model.t<bf16, [b{tp}]>",
        "module.mlir:3:1: dist.all_gather: all_gather only removes axes from dims",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_IR.values(), ids=BAD_IR.keys())
def test_wrong_ir_is_exit_code_1(run, content, message):
    code, out, err = run("module.mlir", content=content)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {message}")
    assert "Traceback" not in err


MISUSE = {
    "no such file": (["missing.mlir"], "error: missing.mlir: cannot be read: No such file or directory."),
    "a folder": (["."], "error: .: cannot be read: Is a directory."),
    "a NUL in the path": (["a\0b"], "error: 'a\\x00b': cannot be read: embedded null byte."),
    "unknown pass": (["module.mlir", "-p", "shrad"], "error: pipeline: unknown pass 'shrad'. Did you mean 'shard'?"),
    "unknown option": (["module.mlir", "-p", "shard{strat=x}"], "error: pass 'shard': unknown option 'strat'."),
    "wrong type": (["module.mlir", "-p", "shard{strategy=3}"], "error: pass 'shard': option 'strategy' cannot be 3"),
    "no pipeline": (["module.mlir", "-p", "shard{"], "error: pipeline, column 7 of 'shard{':"),
    "pass not run": (["module.mlir", "--print-ir-after", "shard"], "error: --print-ir-after: no pass 'shard' in"),
    "unknown flag": (["module.mlir", "--verify"], "usage: gambrel-opt"),
    "output in no folder": (["module.mlir", "-o", "no/out"], "error: no/out: cannot be written: No such file"),
}


@pytest.mark.parametrize(("args", "message"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_exit_code_2(run, args, message):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith(message)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff\xfe", "byte 0 is not")]
)
def test_files_without_text_are_exit_code_2(run, content, message):
    code, _, err = run("module.mlir", content=content)
    assert code == 2
    assert err.startswith(f"error: module.mlir: {message}")


def test_help_is_quick_to_import():
    """`--help` imports neither xDSL nor NumPy."""
    program = (
        "import sys; from gambrel.cli.opt import main; code = main(['--help']);"
        "print(code, {'xdsl', 'numpy', 'pydantic', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"
