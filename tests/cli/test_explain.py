import json

import pytest

QUERY = ("llama-3.1-8b", "--plan.tp", "2", "--batch", "8", "--isl", "1024", "--osl", "128")


@pytest.mark.parametrize(
    ("name", "args"),
    [("both", ("--top", "2")), ("decode", ("--top", "4", "--phase", "decode", "--plan.pp", "2"))],
)
def test_text(cli, snapshot, toy, name, args):
    result = cli("explain", *QUERY, "--on", toy, *args)
    assert (result.code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    snapshot(f"explain-{name}", result.stdout)


def test_json_has_the_longest_rows_of_both_phases(cli, toy):
    result = cli("explain", *QUERY, "--on", toy, "--top", "3", "--format", "json")
    phases = json.loads(result.stdout)
    assert list(phases) == ["prefill", "decode"]
    for rows in phases.values():
        assert len(rows) == 3
        assert [row["total_seconds"] for row in rows] == sorted((row["total_seconds"] for row in rows), reverse=True)
        assert all(row["formula"] for row in rows)


def test_shares_of_all_rows_are_the_whole(cli, toy):
    rows = json.loads(cli("explain", *QUERY, "--on", toy, "--top", "1000", "--format", "json").stdout)["decode"]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)


def test_one_output_token_has_no_decode(cli, toy):
    result = cli("explain", "llama-3.2-1b", "--on", toy, "--osl", "1", "--phase", "decode")
    assert result.code == 0
    assert "there is none" in result.stdout
