import json
import select
import shlex
import signal

import pyarrow.parquet as pq
import pytest
from processes import start

QUESTION = ("plan", "llama-3.1-8b", "--on", "h100-sxm", "--devices", "4", "--isl", "1000", "--osl", "100")
NARROW = ("--batch", "8,32", "--plan.strategy", "megatron", "--plan.sub-batches", "1", "--plan.prefill-chunk", "4096")


def test_json_is_reproduced_by_estimate(cli):
    answer = json.loads(cli(*QUESTION, *NARROW, "--tpot", "20ms", "--format", "json").stdout)
    assert answer["feasible"] is True
    first = answer["best"][0]
    plan = first["plan"]
    options = [f"--plan.{name.replace('_', '-')}={value}" for name, value in plan.items() if value is not None]
    words = ("estimate", "llama-3.1-8b", "--on", first["machine"], "--batch", str(first["workload"]["batch"]))
    again = json.loads(cli(*words, "--isl", "1000", "--osl", "100", *options, "--format", "json").stdout)
    for name in ("ttft_s", "tpot_s", "tokens_per_s_per_device"):
        assert again[name] == pytest.approx(first[name], rel=1e-9)
    assert first["tpot_s"] <= 0.02
    counts = answer["counts"]
    assert counts["priced"] >= counts["fit"] >= counts["met"] > 0


def test_the_report_names_the_best_and_how_to_reproduce_it(cli):
    text = cli(*QUESTION, *NARROW).stdout
    assert "Best plans" in text
    assert "Pareto front" in text
    assert "gambrel estimate llama-3.1-8b --on h100-sxm" in text


def test_several_machines_and_numbers(cli):
    words = ("plan", "llama-3.1-8b", "--on", "h100-sxm,mi300x", "--devices", "1-4*2", "--objective", "cost")
    answer = json.loads(cli(*words, *NARROW, "--format", "json").stdout)
    assert {note["machine"] for note in answer["machines"]} == {"h100-sxm", "mi300x"}
    costs = [choice["usd_per_million_tokens"] for choice in answer["best"]]
    assert costs == sorted(costs)


def test_infeasible_is_a_result_with_the_tightest_limit(cli):
    answer = json.loads(cli(*QUESTION, *NARROW, "--ttft", "1us", "--tpot", "1s", "--format", "json").stdout)
    assert answer["feasible"] is False
    tightest = answer["infeasible"]["tightest"]
    assert tightest["metric"] == "ttft_s"
    assert tightest["gap"] == pytest.approx(tightest["reached"] - 1e-6)
    assert answer["infeasible"]["nearest"]["ttft_s"] == tightest["reached"]
    assert "Tightest: TTFT 1 us" in cli(*QUESTION, *NARROW, "--ttft", "1us").stdout


def test_contradictory_limits_name_the_one_that_is_missed_most(cli):
    options = ("--tokens-per-s", "1500", "--tpot", "3.2ms", "--plan.tp", "4")
    answer = json.loads(cli(*QUESTION, *NARROW, *options, "--format", "json").stdout)
    infeasible = answer["infeasible"]
    assert infeasible is None or infeasible["tightest"]["ratio"] >= max(m["ratio"] for m in infeasible["together"])


def test_disaggregated(cli):
    answer = json.loads(cli(*QUESTION, *NARROW, "--disaggregated", "--format", "json").stdout)
    best = answer["best"][0]
    assert best["prefill"]["instances"] * best["prefill"]["devices"] < 4
    assert "Best pairs" in cli(*QUESTION, *NARROW, "--disaggregated").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ttft", "soon"), "--ttft"),
        (("--tpot", "3"), "--tpot"),
        (("--ttft", "-1s"), "--ttft: -1s is out of range"),
        (("--ttft", "2GB"), "--ttft: '2GB' is measured in B: s is wanted here"),
        (("--usd-per-h", "2GB"), "--usd-per-h: '2GB' is measured in B: USD/h is wanted here"),
        (("--prefix", "1-4"), "several values"),
        (("--front", "speed,cost"), "unknown metric 'speed'"),
        (("--front", "ttft_s"), "1 different metrics"),
        (("--plan.engine", "vllm,sglang"), "2 engines"),
        (("--plan.tp", "3"), "can run: tp 3 divides none of them"),
        (("--objective", "speed"), "speed"),
        (("--batching", "continuous", "--objective", "energy"), "not modelled"),
    ],
)
def test_bad_input_is_one_clear_error(cli, options, said):
    result = cli(*QUESTION, *options)
    assert result.code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--on", "h1000", "--devices", "4"), "h1000"),
        (("--on", "h100-sxm", "--devices", "0"), "--devices: 0 is out of range. Give 1 or more"),
        (("--on", "h100-sxm", "--devices", "-8"), "--devices: -8 is out of range. Give 1 or more"),
        (("--on", "h100-sxm", "--devices", "8-4*2"), "--devices: 8-4*2 runs backwards. Write 4-8*2"),
        (("--on", "h100-sxm,", "--devices", "8"), "--on: 'h100-sxm,' has an empty place"),
        (("--on", "h100-sxm", "--devices", "7", "--plan.tp", "2"), "can run"),
        (("--on", "h100-sxm", "--devices", "8,16", "--disaggregated"), "2 numbers"),
    ],
)
def test_a_bad_machine_is_one_clear_error(cli, options, said):
    result = cli("plan", "llama-3.1-8b", *options)
    assert result.code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


MIX = "name,isl,osl,requests_per_s,ttft,tpot\nchat,500,200,40,1s,50ms\ndocuments,4000,100,2,,\n"
FLEET = ("fleet", "llama-3.1-8b", "--on", "h100-sxm,mi300x", "--sizes", "1,2", "--plan.strategy", "megatron")


def test_fleet(cli, tmp_path):
    mix = tmp_path / "mix.csv"
    mix.write_text(MIX)
    answer = json.loads(cli(*FLEET, "--mix", str(mix), "--format", "json").stdout)
    assert answer["feasible"] is True
    assert sum(i["requests_per_s"].get("chat", 0.0) for i in answer["instances"]) == pytest.approx(40.0)
    assert "USD/h" in cli(*FLEET, "--mix", str(mix)).stdout


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", (), "no column 'name'"),
        ("name,isl,osl,requests_per_s\n", (), "no requests"),
        (MIX.replace("isl", "ils"), (), "Did you mean 'isl'"),
        (MIX.replace("40", "many"), (), ":2 requests_per_s"),
        (MIX.replace("1s", "1"), (), ":2 ttft: '1' is a bare number"),
        (MIX.replace("500", "0"), (), ":2 isl"),
        (MIX.replace("40,1s", "-40,1"), (), ":2 ttft"),
        (MIX.replace("40,1s", "-40,1"), (), ":2 requests_per_s: -40 is out of range"),
        (MIX, ("--available", "b200=3"), "--available b200=3"),
    ],
)
def test_a_bad_mix_is_one_clear_error(cli, tmp_path, text, options, said):
    mix = tmp_path / "mix.csv"
    mix.write_text(text)
    result = cli(*FLEET, "--mix", str(mix), *options)
    assert result.code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_search_is_kept_and_reported(cli, tmp_path):
    folder = tmp_path / "run"
    saved = json.loads(cli(*QUESTION, *NARROW, "--tpot", "20ms", "-o", str(folder), "--format", "json").stdout)
    table = pq.read_table(folder / "part-000000.parquet").to_pylist()
    assert saved["best"][0]["tokens_per_s_per_device"] == max(row["tokens_per_s_per_device"] for row in table)
    assert all(row["tpot_s"] <= 0.02 and row["status"] == "ok" for row in table)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["question"]["limits"] == {"tpot_s": 0.02}
    page = tmp_path / "page.html"
    assert cli("report", str(folder), "-o", str(page)).code == 0
    assert "llama-3.1-8b" in page.read_text()


def test_nothing_is_overwritten(cli, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    result = cli(*QUESTION, *NARROW, "-o", str(tmp_path))
    assert result.code == 2
    assert "is not empty (mine.txt)" in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_optimised_is_shown_whatever_the_width(cli):
    words = ("plan", "llama-3.1-8b", "--on", "h100-sxm,mi300x", "--devices", "4", *NARROW)
    for objective, head in (("cost", "USD/M"), ("energy", "J/token"), ("tokens_per_s_per_device", "/device")):
        table = cli(*words, "--objective", objective).stdout.partition("Best plans")[2]
        assert head in table.splitlines()[1]


def test_more_replicas_of_a_plan_are_not_other_plans(cli):
    words = ("plan", "llama-3.1-8b", "--on", "h100-sxm", "--devices", "1-8*2", "--plan.strategy", "megatron")
    best = json.loads(cli(*words, "--plan.tp", "1", "--plan.cp", "1", "--format", "json").stdout)["best"]
    shown = [(choice["plan"]["pp"], choice["tokens_per_s_per_device"]) for choice in best]
    assert len(shown) == len(set(shown))
    assert best[0]["devices"] == 1


def test_the_command_of_a_plan_gives_its_answers_again(cli, tmp_path):
    profile = tmp_path / "my machine.yaml"
    profile.write_text("extends: h100-sxm\nid: mine\ntitle: Mine\n")
    words = (
        "plan",
        "llama-3.1-8b",
        "--on",
        str(profile),
        "--devices",
        "4",
        "--set",
        "memory.hbm.bandwidth=2x",
        *NARROW,
    )
    for batching, top in (("static", lambda answer: answer), ("continuous", lambda answer: answer["best"][0])):
        asked = (*words, "--batching", batching)
        text = cli(*asked).stdout.partition("Reproduce the first\n")[2].partition("\n\n")[0]
        command = shlex.split(text.replace("\n", " "))
        assert command[0] == "gambrel"
        again = top(json.loads(cli(*command[1:], "--format", "json").stdout))
        first = json.loads(cli(*asked, "--format", "json").stdout)["best"][0]
        for name in ("ttft_s", "tpot_s", "tokens_per_s"):
            assert again[name] == pytest.approx(first[name], rel=1e-9)


def test_a_search_on_a_file_is_reported(cli, tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text("extends: h100-sxm\nid: mine\ntitle: Mine\n")
    words = ("plan", "llama-3.1-8b", "--on", str(profile), "--devices", "4", *NARROW)
    assert cli(*words, "-o", str(tmp_path / "run")).code == 0
    result = cli("report", str(tmp_path / "run"), "-o", str(tmp_path / "page.html"))
    assert (result.code, result.stderr) == (0, "")


def test_limits_that_contradict_each_other_say_what_the_nearest_plan_has(cli):
    text = cli(*QUESTION, *NARROW, "--ttft", "60ms", "--tokens-per-s", "3000").stdout
    assert "Tightest: " in text
    assert "each limit can be met, but not all together" in text
    assert "no plan reaches it" not in text


def test_what_fits_nowhere_says_what_would_help(cli):
    text = " ".join(cli("plan", "llama-3.1-405b", "--on", "h100-sxm", "--devices", "1").stdout.split())
    assert "of a device is the least that is needed, 85.52 GB is there" in text
    assert "smaller formats (--plan.weights fp8 --plan.kv fp8) would make room" in text


LONG = ("plan", "deepseek-v3", "--on", "h200-sxm,h100-sxm", "--devices", "128,256,512", "--isl", "4000", "--osl", "500")
"""Takes many seconds."""


def interrupted(*options: str) -> tuple[int, str, list[str]]:
    """A long search in a process of its own, interrupted when it tells how far it is: exit status, stdout, stderr."""
    process = start(*LONG, *options)
    assert process.stderr is not None
    assert select.select([process.stderr], [], [], 120)[0]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr.splitlines()


def test_interrupted_it_prints_the_best_so_far_and_what_is_missing():
    code, stdout, lines = interrupted("--format", "json")
    answer = json.loads(stdout)
    assert (code, answer["complete"]) == (130, False)
    assert answer["feasible"] is bool(answer["best"])
    counts = answer["counts"]
    whole = counts["priced"] + sum(counts["pruned"].values()) + counts["unsearched"]
    assert "points (" in lines[0]
    assert lines[-1] == f"interrupted: {counts['unsearched']:,} of {whole:,} points were not searched"
    assert not any("Traceback" in line for line in lines)


def test_interrupted_the_report_is_marked_as_incomplete():
    code, stdout, lines = interrupted()
    assert code == 130
    assert "Incomplete: " in stdout
    assert "points were not searched" in stdout
    assert "Best plans" in stdout or "Nothing found so far" in stdout
    assert lines[-1].startswith("interrupted: ")


def test_a_short_search_says_nothing_on_the_way(cli):
    assert cli(*QUESTION, *NARROW).stderr == ""
