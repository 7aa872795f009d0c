import json

import pytest

from gambrel.ir.text import parse_module, print_module
from gambrel.ir.verify import verify_module


@pytest.mark.parametrize("emit", ["mlir", "mlir-generic"])
@pytest.mark.parametrize("machine", [(), ("--on", "h100-sxm", "--plan.tp", "8")], ids=["alone", "h100"])
def test_the_module_parses_and_verifies(cli, emit, machine):
    result = cli("compile", "llama-3.1-70b", *machine, "--emit", emit)
    assert (result.code, result.stderr) == (0, "")
    module = parse_module(result.stdout)
    verify_module(module)
    assert print_module(module, generic=emit == "mlir-generic") == result.stdout
    assert ("all_reduce" in result.stdout) == bool(machine)


def test_rows_as_text(cli, snapshot):
    result = cli("compile", "llama-3.1-8b", "--plan.tp", "2", "--emit", "rows")
    assert (result.code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    snapshot("compile-rows-head", "\n".join(lines[:40]) + "\n")


def test_rows_as_json(cli):
    result = cli("compile", "llama-3.1-8b", "--emit", "rows", "--format", "json")
    rows = json.loads(result.stdout)
    assert {row["phase"] for row in rows} == {"prefill", "decode"}
    down = next(row for row in rows if row["name"] == "mlp.down" and row["phase"] == "decode")
    hidden, width, layers = 4096, 14336, 32
    assert down["flops"] == f"{2 * hidden * width}*b"
    assert down["weight_bytes"] == f"{2 * hidden * width}"
    assert down["repetitions"] == layers


def test_the_ir_after_each_pass_goes_to_stderr(cli):
    plain = cli("compile", "llama-3.1-8b", "--plan.tp", "2", "--plan.weights", "fp8")
    result = cli("compile", "llama-3.1-8b", "--plan.tp", "2", "--plan.weights", "fp8", "--print-ir-after", "all")
    assert result.stdout == plain.stdout
    heads = [line for line in result.stderr.splitlines() if line.startswith("// -----//")]
    names = ["lower", "quantize", "shard", "insert-collectives", "fuse"]
    assert [head.split()[4].partition("{")[0] for head in heads] == names


def test_the_ir_after_one_pass(cli):
    result = cli("compile", "llama-3.1-8b", "--plan.tp", "2", "--emit", "rows", "--print-ir-after", "shard")
    assert result.stderr.count("// -----//") == 1
    assert "dist.reshard" in result.stderr
    assert "dist.reshard" not in result.stdout


def test_the_passes_give_the_same_module_by_hand(cli, tmp_path, capsys):
    from gambrel.cli import opt

    query = ("compile", "llama-3.1-8b", "--plan.tp", "2")
    result = cli(*query, "--print-ir-after", "lower")
    path = tmp_path / "lowered.mlir"
    path.write_text(result.stderr)
    assert opt.main([str(path), "-p", "shard{strategy=megatron axes=tp},insert-collectives,fuse"]) == 0
    assert capsys.readouterr().out == result.stdout


def test_output_to_a_file(cli, tmp_path):
    path = tmp_path / "module.mlir"
    result = cli("compile", "llama-3.1-8b", "-o", str(path))
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert path.read_text() == cli("compile", "llama-3.1-8b").stdout


def test_an_error_leaves_the_file_as_it_was(cli, tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("before")
    result = cli("compile", "llama-3.1-8b", "--plan.tp", "3", "-o", str(path))
    assert result.code == 2
    assert path.read_text() == "before"
