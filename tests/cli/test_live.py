QUERY = ("llama-3.2-1b", "--on", "h200-sxm", "--batch", "8")


def test_a_page_is_written(cli, tmp_path):
    path = tmp_path / "page.html"
    result = cli("live", *QUERY, "-o", str(path))
    assert (result.code, result.stderr) == (0, "")
    text = path.read_text()
    assert result.stdout == f"{path}: {len(text.encode()) / 1e6:.1f} MB\n"
    assert "<title>llama-3.2-1b on NVIDIA H200 SXM 141GB</title>" in text


def test_it_starts_at_one_plan(cli, tmp_path):
    result = cli("live", *QUERY, "--plan.tp", "1,2", "-o", str(tmp_path / "page.html"))
    assert result.code == 2
    assert "live answers one question at a time" in result.stderr


def test_a_plan_that_cannot_run_is_refused(cli, tmp_path):
    result = cli("live", *QUERY, "--plan.tp", "3", "-o", str(tmp_path / "page.html"))
    assert result.code == 2
    assert "heads do not divide over tp" in result.stderr


def test_a_place_that_cannot_be_written(cli, tmp_path):
    result = cli("live", *QUERY, "-o", str(tmp_path / "nowhere" / "page.html"))
    assert result.code == 2
    assert "cannot be written" in result.stderr
