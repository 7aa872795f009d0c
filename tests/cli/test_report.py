import pytest


def test_one_question(cli, toy, tmp_path):
    path = tmp_path / "report.html"
    result = cli("report", "llama-3.2-1b", "--on", toy, "-o", str(path))
    assert (result.code, result.stdout, result.stderr) == (0, f"{path}: {path.stat().st_size / 1e6:.1f} MB\n", "")
    assert "<h2>Against the roofline</h2>" in path.read_text()


def test_lists_make_a_table_of_plans(cli, toy, tmp_path):
    path = tmp_path / "report.html"
    query = ("report", "llama-3.2-1b", "--on", toy, "--batch", "1-64*4", "--plan.tp", "1,2", "-o", str(path))
    assert cli(*query).code == 0
    assert "of a table of all combinations of batch, tp" in path.read_text()
    assert cli(*query, "--row", "3").code == 0
    assert "Plan 3 of the 8 plans of" in path.read_text()
    result = cli(*query, "--row", "8")
    assert (result.code, result.stderr) == (2, "error: --row: there is no plan 8. Give 0 to 7.\n")


def test_a_sweep(cli, toy, tmp_path):
    folder, path = tmp_path / "run", tmp_path / "report.html"
    what_if = ("--set", "memory.hbm.bandwidth=1x,2x")
    query = ("sweep", "llama-3.2-1b", "--on", toy, "--batch", "1-64*4", "--isl", "128,256", *what_if, "-o", str(folder))
    assert cli(*query).code == 0
    assert cli("report", str(folder), "--row", "14", "-o", str(path)).code == 0
    text = path.read_text()
    assert "Plan 14 of the 16 plans of the run run." in text
    assert "what if: memory.hbm.bandwidth=2x" in text
    assert "batch 64, 128 prompt + 128 output tokens each" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            (),
            "error: llama-3.2-1b: is no folder. Give the folder that a sweep or a search wrote",
        ),
        (("--batch", "4"), "error: --on: is missing: a folder of results says itself what was asked"),
        (("--on", "toy-9000"), "error: toy-9000: unknown"),
        (("--on", "h100-sxm", "-o", "no/such/folder/report.html"), "cannot be written"),
    ],
)
def test_what_cannot_be_reported(cli, args, message):
    result = cli("report", "llama-3.2-1b", *args)
    assert (result.code, result.stdout) == (2, "")
    assert message in result.stderr
