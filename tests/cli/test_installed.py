"""The programs as they are installed, in processes of their own."""

import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
SMOKE = Path(__file__).parents[1] / "filecheck" / "smoke"


def run(program: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / program, *map(str, args)], capture_output=True, text=True, check=False)


def test_lit_agrees_with_the_in_process_harness(tmp_path):
    done = run("lit", "--verbose", f"--param=exec_root={tmp_path}", SMOKE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stock_xdsl_opt_runs_our_passes():
    pipeline = "shard{strategy=megatron axes=tp},insert-collectives"
    stock = run("xdsl-opt", SMOKE / "megatron_mlp.mlir", "-p", pipeline)
    ours = run("gambrel-opt", SMOKE / "megatron_mlp.mlir", "-p", pipeline)
    assert (stock.returncode, stock.stderr) == (0, "")
    assert stock.stdout.strip() == ours.stdout.strip()
    assert "dist.all_reduce" in ours.stdout


def test_the_gambrel_program_passes_its_exit_code_on():
    done = run("gambrel", "hw", "show", "no-such-device")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no-such-device: ")
