import json

import pytest

QUERY = ("llama-3.1-8b", "--plan.tp", "2", "--batch", "8", "--isl", "1024", "--osl", "128")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("missed", ("--tpot", "3 ms", "--ttft", "500ms")),
        ("met", ("--latency", "2 s")),
        ("never", ("--tpot", "10us")),
        ("too-big", ("--tokens-per-s", "200", "--prefix", "60000")),
    ],
)
def test_text(cli, snapshot, toy, name, args):
    result = cli("require", *QUERY, "--on", toy, *args)
    assert (result.code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    snapshot(f"require-{name}", result.stdout)


def test_json(cli, toy):
    found = json.loads(cli("require", *QUERY, "--on", toy, "--tpot", "3ms", "--format", "json").stdout)
    assert found["targets"][0] | {"today": 0.0} == {
        "metric": "tpot",
        "title": "TPOT",
        "unit": "s",
        "wanted": 0.003,
        "today": 0.0,
        "met": False,
    }
    assert (found["met"], found["fits"]) == (False, True)
    assert {need["unit"] for need in found["alone"]} == {"B/s", "FLOP/s", "s"}


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((), "error: require: no target is given. Give one of --ttft, --tpot, --latency, --tokens-per-s, "),
        (("--tpot", "3"), "error: --tpot: '3' is a bare number: its unit is missing. Write, for example, 30 ms.\n"),
        (("--tpot", "3 GB"), "error: --tpot: '3 GB' is measured in B: s is wanted here. Write, for example, 30 ms.\n"),
        (("--tpot", "0s"), "error: --tpot: 0s is out of range. Give more than zero.\n"),
    ],
)
def test_targets_that_cannot_be_read(cli, toy, args, error):
    result = cli("require", *QUERY, "--on", toy, *args)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(error)
