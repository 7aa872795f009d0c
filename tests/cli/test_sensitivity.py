import json

import pytest

QUERY = ("llama-3.1-8b", "--plan.tp", "2", "--batch", "8", "--isl", "1024", "--osl", "128")


@pytest.mark.parametrize(("name", "args"), [("tpot", ()), ("ttft", ("--metric", "ttft", "--plan.pp", "2"))])
def test_text(cli, snapshot, toy, name, args):
    result = cli("sensitivity", *QUERY, "--on", toy, *args)
    assert (result.code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    snapshot(f"sensitivity-{name}", result.stdout)


def test_json_gives_every_number_with_its_unit(cli, toy):
    result = cli("sensitivity", *QUERY, "--on", toy, "--format", "json")
    found = json.loads(result.stdout)
    assert found["metric"] == "tpot"
    assert all(each["unit"] and each["elasticity"] for each in found["numbers"])
    times = {"s": 1, "B/s": -1, "FLOP/s": -1, "Hz": -1}
    total = sum(times[each["unit"]] * each["elasticity"] for each in found["numbers"])
    assert total + found["fixed"] == pytest.approx(1.0)


def test_one_question_at_a_time(cli, toy):
    result = cli("sensitivity", *QUERY[:-1], "1,2", "--on", toy)
    assert (result.code, result.stdout) == (2, "")
    assert "sensitivity answers one question at a time" in result.stderr


def test_a_single_output_token_has_no_tpot(cli, toy):
    result = cli("sensitivity", *QUERY[:-1], "1", "--on", toy)
    assert result.code == 2
    assert result.stderr == "error: metric: a single output token has no TPOT. Ask for a larger osl.\n"
