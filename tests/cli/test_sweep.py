"""`gambrel sweep` as a command: what it prints, and what is left when it is killed or interrupted."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import start

QUESTION = ("sweep", "llama-3.2-1b", "--batch", "1-64", "--isl", "64-2048*2", "--osl", "16,64", "--plan.tp", "1,2,3")
MANY_PARTS = ("--part-rows", "24")
"""2304 rows in parts that each take some milliseconds."""


def wait_for_parts(folder: Path, count: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 60
    while len(list(folder.glob("part-*.parquet"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no parts"
        time.sleep(0.002)


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*.parquet")}


def test_killed_in_the_middle_it_goes_on_and_gives_the_same_bytes(cli, toy, tmp_path):
    question = (*QUESTION, "--on", toy, *MANY_PARTS)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(*question, "-o", str(killed))
    wait_for_parts(killed, 5, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    left = {path: path.stat().st_mtime_ns for path in killed.glob("part-*.parquet")}
    assert cli(*question, "-o", str(whole)).code == 0
    assert 5 <= len(left) < len(parts(whole))
    again = cli(*question, "-o", str(killed), "--format", "json")
    assert (again.code, json.loads(again.stdout)["status"]) == (0, "complete")
    assert parts(killed) == parts(whole)
    assert {path: path.stat().st_mtime_ns for path in left} == left
    assert (killed / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
    assert {path.name for path in killed.iterdir()} == {"manifest.json", *parts(whole)}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupted_it_says_how_to_go_on(toy, tmp_path, workers):
    folder = tmp_path / "run"
    question = (*QUESTION, "--on", toy, *MANY_PARTS, "-o", str(folder))
    process = start(*question, "--workers", workers)
    wait_for_parts(folder, 3, process)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    record = json.loads((folder / "manifest.json").read_text())
    assert (process.returncode, stdout) == (130, "")
    assert record["status"] == "unfinished"
    assert {part["file"] for part in record["parts"]} == set(parts(folder))
    count = f"{len(record['parts'])} of {record['num_parts']}"
    expected = f"interrupted: {count} files are in {folder}; give the same command again to go on"
    assert stderr.splitlines()[-1] == expected
    assert "Traceback" not in stderr


def test_summary(cli, toy, tmp_path):
    args = ("sweep", "llama-3.2-1b", "--on", toy, "--batch", "1,8", "--plan.tp", "1,3", "-o", str(tmp_path / "run"))
    result = cli(*args)
    assert (result.code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{tmp_path / 'run'}: 4 rows in 1 file, ")
    assert second == "2 ok, 0 do not fit, 2 cannot run (`status` says why)"
    summary = json.loads(cli(*args, "--format", "json").stdout)
    assert (summary["rows"], summary["finished"]["cannot_run"], summary["question"]["columns"]["tp"]) == (4, 2, [1, 3])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--batch", "8-4"), "--batch: 8-4 runs backwards"),
        (("--batch", "1", "--plan.strategy", "megatronn"), "--plan.strategy: unknown name 'megatronn'"),
        (("--devices", "8,x"), "--devices: 'x' is not a count"),
        (("--set", "memory.hbm.bandwidth"), "--set memory.hbm.bandwidth: is not a list of what-ifs"),
        (("--set", "memory.hbm.bandwidth=1x,,2x"), "is not a list of what-ifs"),
        (("--set", "power.tdp=1x", "--set", "power.tdp=2x"), "--set power.tdp=2x: power.tdp is given twice"),
        (("--set", "memory.hbm.bandwith=1x"), "Did you mean 'bandwidth'?"),
        (("--workers", "0"), "--workers: 0 is out of range"),
        (("--workers", "1,2"), "--workers: 1,2 is 2 values"),
        (("--part-rows", "-1"), "--part-rows: -1 is out of range"),
    ],
)
def test_bad_options_are_one_error_and_write_nothing(cli, toy, tmp_path, args, said):
    result = cli("sweep", "llama-3.2-1b", "--on", toy, *args, "-o", str(tmp_path / "run"))
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


def test_an_unknown_machine_among_several(cli, toy, tmp_path):
    result = cli("sweep", "llama-3.2-1b", "--on", f"{toy},h100-sxn", "-o", str(tmp_path / "run"))
    assert result.code == 2
    assert "h100-sxn: unknown device" in result.stderr


def test_without_pyarrow_it_says_what_to_install(cli, toy, tmp_path, monkeypatch):
    monkeypatch.setattr("gambrel.calibration.importers.arrow.find_spec", lambda name: None)
    result = cli("sweep", "llama-3.2-1b", "--on", toy, "-o", str(tmp_path / "run"))
    assert result.code == 2
    assert "pip install 'gambrel[arrow]'" in result.stderr
    assert not (tmp_path / "run").exists()
