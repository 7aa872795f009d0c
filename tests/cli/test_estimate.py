import json
import os
import subprocess
import sys

import pytest

CALL = "import sys; from gambrel.cli import main; sys.exit(main(sys.argv[1:]))"
CHAT = ("--batch", "8", "--isl", "1024", "--osl", "128")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("dense", ("llama-3.1-8b", "--plan.tp", "2", *CHAT)),
        ("experts-in-stages", ("mixtral-8x7b", "--plan.tp", "4", "--plan.pp", "2", "--plan.weights", "fp8", *CHAT)),
        ("too-big", ("llama-3.1-70b", "--plan.tp", "2", "--set", "memory.hbm.bandwidth=2x", *CHAT)),
        ("one-token", ("llama-3.2-1b", "--osl", "1")),
    ],
)
def test_report(cli, snapshot, toy, name, args):
    result = cli("estimate", *args, "--on", toy)
    assert (result.code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    snapshot(f"estimate-{name}", result.stdout)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("batch", ("llama-3.1-8b", "--batch", "1-64*4", "--isl", "1024,4096")),
        ("degrees", ("llama-3.1-70b", "--devices", "8", "--plan.tp", "1,3,8", "--plan.kv", "bf16,fp8")),
    ],
)
def test_lists_and_ranges_make_a_table(cli, snapshot, toy, name, args):
    result = cli("estimate", *args, "--on", toy)
    assert (result.code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    snapshot(f"estimate-table-{name}", result.stdout)


def test_a_wide_terminal_shows_more_columns(cli, toy, monkeypatch):
    query = ("estimate", "llama-3.1-8b", "--on", toy, "--batch", "1,2", "--plan.strategy", "megatron,sequence-parallel")
    narrow = cli(*query).stdout
    monkeypatch.setenv("COLUMNS", "200")
    wide = cli(*query).stdout
    assert "A wider terminal also shows" in narrow
    assert "MBU" not in narrow.splitlines()[0]
    assert "MBU" in wide.splitlines()[0]
    assert "A wider terminal" not in wide


def test_json_is_the_estimate(cli, toy):
    from gambrel import estimate
    from gambrel.estimation.points import Plan, Workload

    args = ("--plan.tp", "2", "--batch", "4", "--isl", "100", "--osl", "10", "--prefix", "0", "--devices", "4")
    result = cli("estimate", "llama-3.1-8b", "--on", toy, *args, "--format", "json")
    assert (result.code, result.stderr) == (0, "")
    expected = estimate(
        "llama-3.1-8b", toy, plan=Plan(tp=2), workload=Workload(batch=4, isl=100, osl=10), devices=4
    ).to_dict()
    assert json.loads(result.stdout) == json.loads(json.dumps(expected))


def test_a_table_as_json_is_a_record_for_each_point(cli, toy):
    def ask(batch: str) -> object:
        query = ("estimate", "llama-3.1-8b", "--on", toy, "--batch", batch, "--plan.tp", "2", "--format", "json")
        return json.loads(cli(*query).stdout)

    records = ask("1,8")
    assert [record["batch"] for record in records] == [1, 8]
    single = ask("8")
    for key in ("ttft_s", "tpot_s", "tokens_per_s", "energy_per_token_j", "usd_per_million_tokens"):
        assert records[1][key] == pytest.approx(single[key], rel=1e-9)
    assert records[1]["memory_bytes"] == pytest.approx(single["memory"]["total_bytes"], rel=1e-9)


def test_a_single_point_as_a_table(cli, toy):
    result = cli("estimate", "llama-3.1-8b", "--on", toy, "--batch", "4", "--format", "table")
    assert result.stdout.splitlines()[0].split()[:2] == ["TTFT", "TPOT"]
    assert result.stdout.splitlines()[1].endswith("fits")


def test_a_what_if_reaches_the_estimate(cli, toy):
    def decode_floor(*what_if: str) -> float:
        result = cli("estimate", "llama-3.1-8b", "--on", toy, "--format", "json", *what_if)
        return json.loads(result.stdout)["decode"]["floor_seconds"]

    # One sequence is bound by the weights that it reads, all but a little.
    faster = decode_floor("--set", "memory.hbm.bandwidth=2x")
    assert decode_floor() == pytest.approx(2 * faster, rel=0.02)


def test_what_does_not_fit_is_a_result(cli, toy):
    result = cli("estimate", "llama-3.1-70b", "--on", toy, "--format", "json")
    assert (result.code, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    (violation,) = record["violations"]
    assert not record["feasible"]
    assert violation["gap_bytes"] == violation["demand_bytes"] - violation["limit_bytes"] > 0
    assert all(lever["demand_bytes"] <= violation["limit_bytes"] for lever in violation["levers"])


def test_a_format_that_the_device_lacks_is_widened_and_said(cli):
    result = cli("estimate", "llama-3.1-8b", "--on", "a100-sxm-80gb", "--plan.weights", "fp8", "--format", "json")
    assert result.code == 0
    assert any("does not multiply fp8" in text for text in json.loads(result.stdout)["assumptions"])


def test_model_files_and_folders(cli, toy, tmp_path):
    from gambrel.models import read_card

    path = tmp_path / "config.json"
    path.write_text(json.dumps(dict(read_card("llama-3.2-1b").config)))
    answers = [
        json.loads(cli("estimate", model, "--on", toy, "--format", "json").stdout)
        for model in (str(path), str(tmp_path), "llama-3.2-1b")
    ]
    assert answers[0]["ttft_s"] == answers[1]["ttft_s"] == answers[2]["ttft_s"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_output_is_plain_where_it_is_no_terminal(toy, encoding):
    done = subprocess.run(
        [sys.executable, "-c", CALL, "estimate", "llama-3.2-1b", "--on", toy],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert b"TTFT" in done.stdout


def test_a_trace_is_written(cli, toy, tmp_path):
    path = tmp_path / "step.json"
    query = ("estimate", "llama-3.2-1b", "--on", toy, "--emit", "trace")
    result = cli(*query, "-o", str(path))
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    made = json.loads(path.read_text())
    assert {event["name"] for event in made["traceEvents"]} >= {"prefill of the batch", "layer 15", "head"}
    assert json.loads(cli(*query).stdout) == made


def test_a_roofline_is_written(cli, toy, tmp_path):
    path = tmp_path / "roofline.html"
    result = cli("estimate", "llama-3.2-1b", "--on", toy, "--emit", "roofline", "-o", str(path))
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert "of the peak and reads memory at" in path.read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-o", "out.json"), "no picture is asked for"),
        (("--emit", "trace", "--batch", "1,2"), "--emit answers one question at a time"),
    ],
)
def test_what_no_picture_shows(cli, toy, args, message):
    result = cli("estimate", "llama-3.2-1b", "--on", toy, *args)
    assert result.code == 2
    assert message in result.stderr
