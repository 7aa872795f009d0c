"""`gambrel compare` as a command."""

import json


def sweep(cli, toy, folder, *args):
    assert cli("sweep", "llama-3.2-1b", "--on", toy, *args, "-o", str(folder)).code == 0


def test_two_sweeps(cli, toy, tmp_path, snapshot, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep(cli, toy, "before", "--batch", "1-8*2", "--isl", "64,512")
    sweep(cli, toy, "after", "--batch", "2-16*2", "--isl", "64,512", "--set", "memory.hbm.bandwidth=2x")
    result = cli("compare", "before", "after")
    assert (result.code, result.stderr) == (0, "")
    snapshot("compare-sweeps", result.stdout)
    found = json.loads(cli("compare", "before", "after", "--format", "json").stdout)
    assert found["rows"] == {"a": 8, "b": 8, "common": 6, "only_a": 2, "only_b": 2}
    assert found["differences"] == [{"what": "memory.hbm.bandwidth", "a": "1x", "b": "2x"}]
    tpot = next(each for each in found["metrics"] if each["metric"] == "tpot_s")
    assert 0.5 <= tpot["least"] <= tpot["median"] < 1.0


def test_nothing_changed_and_nothing_in_common(cli, toy, tmp_path):
    for name, batch in (("a", "1,2"), ("b", "3,4")):
        sweep(cli, toy, tmp_path / name, "--batch", batch)
    same = cli("compare", str(tmp_path / "a"), str(tmp_path / "a"))
    assert (same.code, same.stdout.splitlines()[-1]) == (0, "no metric changed")
    apart = cli("compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert (apart.code, apart.stdout) == (2, "")
    assert "b: has no row in common with " in apart.stderr
    assert "batch is 1, 2 there, 3, 4 here. Compare sweeps whose lists share values" in apart.stderr


def test_what_is_not_there_is_one_error_each(cli, tmp_path):
    result = cli("compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert (result.code, result.stdout) == (2, "")
    assert [line.split(". ")[0] for line in result.stderr.splitlines()] == [
        f"error: {tmp_path / name}: does not exist" for name in "ab"
    ]


def test_two_estimates(cli, toy, tmp_path):
    for name, tp in (("a", "1"), ("b", "2")):
        result = cli("estimate", "llama-3.2-1b", "--on", toy, "--plan.tp", tp, "--format", "json")
        (tmp_path / name).write_text(result.stdout)
    result = cli("compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert result.code == 0
    assert "tp: 1 -> 2" in result.stdout


def test_what_is_no_sweep_is_one_error(cli, tmp_path):
    result = cli("compare", str(tmp_path), str(tmp_path))
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path}: holds no sweep. Give the folder that `gambrel sweep -o` wrote.\n"
