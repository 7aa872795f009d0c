"""What a user gets wrong: exit code 2, clear messages that name the place, nothing on stdout, never a traceback."""

import json

import pytest

from gambrel.models import read_card

LLAMA = ("llama-3.1-8b", "--on", "h100-sxm")


def refused(result, *parts: str, messages: int = 1) -> None:
    assert (result.code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == messages, result.stderr
    assert all(line.startswith("error: ") for line in lines)
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("lama-3.1-8b", ("lama-3.1-8b", "Did you mean", "llama-3.1-8b")),
        ("no/such/config.json", ("no/such/config.json", "no such file")),
        ("", ("no such file",)),
        ("/", ("/config.json",)),
    ],
)
def test_unknown_models(cli, model, parts):
    refused(cli("estimate", model, "--on", "h100-sxm"), *parts)


def config(**changes: object) -> str:
    """The config of a shipped model with some keys changed, or left out where None."""
    record = {**read_card("llama-3.2-1b").config, **changes}
    return json.dumps({key: value for key, value in record.items() if value is not None})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"model_type": "llama", ', ("config.json:1:", "JSON")),
        ("", ("config.json",)),
        ("[]", ("config.json",)),
        (config(hidden_size=None), ("hidden_size is missing",)),
        (config(hidden_size=-1), ("hidden_size is -1",)),
        (config(hidden_size=2048.5), ("hidden_size is 2048.5", "whole number")),
        (config(num_hidden_layers=0), ("num_hidden_layers is 0",)),
        (config(num_hidden_layers=10**12), ("num_hidden_layers is 1000000000000",)),
        (config(vocab_size="many"), ("vocab_size", '"many"')),
        (config(model_type="lama"), ("lama", "llama")),
    ],
)
def test_bad_configs(cli, tmp_path, text, parts):
    path = tmp_path / "config.json"
    path.write_text(text)
    result = cli("estimate", str(path), "--on", "h100-sxm")
    refused(result, "config.json", *parts, messages=len(result.stderr.splitlines()))


def test_all_errors_of_a_config_at_once(cli, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(config(hidden_size=-1, num_hidden_layers="x", vocab_size=None))
    refused(
        cli("estimate", str(path), "--on", "h100-sxm"), "hidden_size", "num_hidden_layers", "vocab_size", messages=3
    )


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("h100-smx", ("h100-smx", "Did you mean", "h100-sxm")),
        ("./none.yaml", ("none.yaml",)),
        ("", ("unknown device",)),
    ],
)
def test_unknown_devices(cli, device, parts):
    refused(cli("estimate", "llama-3.1-8b", "--on", device), *parts)


@pytest.mark.parametrize(
    ("clocks", "parts"),
    [
        ("  boost: 2 GHz\n  boost: 3 GHz\n", ("mine.yaml:8:3", "given twice")),
        ("  boost: 2\n", ("mine.yaml:7:10", "bare number", "MHz")),
        ("  boost: 2 Gfoo\n", ("mine.yaml:7:10", "unknown unit", "GHz")),
        ("  boost: 2 GB\n", ("mine.yaml:7:10", "Hz is wanted")),
    ],
)
def test_bad_profiles(cli, tmp_path, clocks, parts):
    path = tmp_path / "mine.yaml"
    head = "schema: 1\nid: mine\ntitle: Mine\nextends: [h100-sxm]\ndefault_source: sheet\nclocks:\n"
    path.write_text(f'{head}{clocks}sources:\n  sheet: {{kind: datasheet, ref: "A sheet"}}\n')
    refused(cli("estimate", "llama-3.1-8b", "--on", str(path)), *parts)


@pytest.mark.parametrize(
    ("what_if", "parts"),
    [
        ("memory.hbm.bandwith=2x", ("Did you mean 'bandwidth'",)),
        ("memory.hbm.bandwidth=3", ("bare number", "TB/s")),
        ("memory", ("PATH=VALUE",)),
    ],
)
def test_bad_what_ifs(cli, what_if, parts):
    refused(cli("estimate", *LLAMA, "--set", what_if), f"--set {what_if}", *parts)


@pytest.mark.parametrize("option", ["--batch", "--isl", "--osl", "--plan.tp", "--plan.microbatches", "--devices"])
@pytest.mark.parametrize(
    "text",
    ["-1", "0", "nan", "inf", "-inf", "1.5", "1e30", "", "x", "99999999999999", "9" * 5000, "1,,2", "4-1", "1-4+0"],
)
def test_bad_counts_name_their_option(cli, option, text):
    refused(cli("estimate", *LLAMA, option, text), f"error: {option}: ")


def test_a_prefix_may_be_nothing_but_not_less(cli):
    assert cli("estimate", *LLAMA, "--prefix", "0").code == 0
    refused(cli("estimate", *LLAMA, "--prefix", "-1"), "--prefix")


def test_all_bad_options_at_once(cli):
    result = cli("estimate", *LLAMA, "--batch", "0", "--isl", "nan", "--plan.tp", "-8", "--plan.kv", "fp9")
    refused(result, "--batch", "--isl", "--plan.tp", "--plan.kv", messages=4)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("--batch", "1-2000000"), ("2,000,000 values", "1,000,000")),
        (("--batch", "1-2000", "--isl", "1-2000"), ("4,000,000 combinations", "1,000,000")),
    ],
)
def test_tables_that_are_too_large(cli, args, parts):
    refused(cli("estimate", *LLAMA, *args), *parts)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("--plan.tp", "3"), ("plan.tp", "32 % 3 = 2", "Use one of")),
        (("--plan.tp", "8", "--devices", "4"), ("tp 8 x pp 1 x dp 1 x cp 1 = 8", "4 devices")),
        (("--plan.tp", "4", "--devices", "9"), ("= 8", "9 devices")),
        (("--plan.tp", "32", "--plan.dp", "4096"), ("131072", "topology", "4096")),
        (("--plan.pp", "64"), ("64 stages", "32 layers")),
        (("--plan.microbatches", "2"), ("2 microbatches", "batch of 1")),
        (("--plan.ep", "4", "--plan.tp", "4"), ("ep = 4", "no experts")),
        (("--plan.strategy", "megatrn"), ("megatrn", "Did you mean 'megatron'")),
        (("--plan.weights", "fp9"), ("fp9", "Did you mean")),
        (("--plan.kv", "fp8,fp9"), ("--plan.kv", "'fp9'")),
        (("--plan", "8"), ("--plan", "--plan.tp 8")),
        (("--plan.tpp", "8"), ("--plan.tpp", "--plan.tp")),
        (("--format", "xml"), ("--format", '"text", "table", "json"')),
        (("and-more",), ("and-more",)),
    ],
)
def test_plans_that_cannot_run(cli, args, parts):
    refused(cli("estimate", *LLAMA, *args), *parts)


def test_learned_positions_end(cli):
    refused(cli("estimate", "gpt2", "--on", "h100-sxm", "--isl", "4096"), "isl 4096", "1024 learned positions")


def test_a_plan_that_breaks_two_rules_is_told_both(cli):
    result = cli("estimate", *LLAMA, "--plan.tp", "3", "--plan.pp", "64")
    refused(result, "plan.tp", "plan.pp", messages=2)


def test_the_machine_is_needed_for_an_estimate(cli):
    refused(cli("estimate", "llama-3.1-8b"), "--on")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("explain", *LLAMA, "--batch", "1,2"), ("--batch", "2 values", "gambrel estimate")),
        (("explain", *LLAMA, "--plan.kv", "fp8,bf16"), ("--plan.kv",)),
        (("explain", *LLAMA, "--top", "0"), ("--top",)),
        (("explain", *LLAMA, "--phase", "train"), ("--phase",)),
        (("compile", "llama-3.1-8b", "--emit", "llvm"), ("--emit", "mlir")),
        (("compile", "llama-3.1-8b", "--format", "json"), ("--format", "--emit rows")),
        (("compile", "llama-3.1-8b", "--print-ir-after", "shrd"), ("shrd", "shard")),
        (
            ("compile", "llama-3.1-8b", "-o", "/no/such/folder/out.mlir"),
            ("/no/such/folder/out.mlir", "cannot be written"),
        ),
        (("compile", "llama-3.1-8b", "-o", "/"), ("/", "cannot be written")),
    ],
)
def test_other_commands(cli, args, parts):
    refused(cli(*args), *parts)


@pytest.fixture
def without_a_rule(monkeypatch):
    """One op of every model loses its cost rule."""
    from gambrel.cost.rules import registry
    from gambrel.estimation.variant import compile_variant
    from gambrel.ir.tokens import SampleOp

    monkeypatch.delitem(registry._RULES, SampleOp)
    compile_variant.cache_clear()
    yield "model.sample"
    compile_variant.cache_clear()


def test_an_op_without_a_rule_is_refused(cli, without_a_rule):
    result = cli("estimate", *LLAMA)
    refused(result, without_a_rule, "no cost rule", messages=2)  # one for each phase


def test_an_op_without_a_rule_makes_a_lower_bound_where_allowed(cli, without_a_rule):
    result = cli("estimate", *LLAMA, "--allow-unpriced")
    assert (result.code, result.stderr) == (0, "")
    assert "LOWER BOUND" in result.stdout
    assert f"{without_a_rule} is not priced" in result.stdout
    record = json.loads(cli("estimate", *LLAMA, "--allow-unpriced", "--format", "json").stdout)
    assert record["provenance"]["lower_bound"]
    assert record["coverage"]["ops"] < 1.0


@pytest.mark.parametrize("command", [("sensitivity",), ("require", "--tpot", "1ms")], ids=lambda words: words[0])
def test_questions_about_a_lower_bound_say_so(cli, without_a_rule, command):
    refused(cli(*command, *LLAMA), without_a_rule, "no cost rule", messages=2)
    result = cli(*command, *LLAMA, "--allow-unpriced")
    assert (result.code, result.stderr) == (0, "")
    assert "LOWER BOUND" in result.stdout


def test_an_unpriced_op_after_the_layers_runs_on_the_last_stage_and_its_bytes_are_not_covered(cli, without_a_rule):
    result = cli("estimate", *LLAMA, "--allow-unpriced", "--plan.pp", "2", "--batch", "4", "--format", "json")
    assert (result.code, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    assert 0.0 < record["coverage"]["bytes"] < 1.0
    assert all(0.0 <= record[phase]["mbu"] <= 1.0 for phase in ("prefill", "decode"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan",), "error: MODEL: is missing. `gambrel plan --help` describes it.\n"),
        (("plan", "llama-3.2-1b"), "error: --on: is missing. `gambrel plan --help` describes it.\n"),
        (("plan", "llama-3.2-1b", "--on"), "error: --on: has no value. `gambrel plan --help` describes it.\n"),
        (
            ("plan", "llama-3.2-1b", "--onn", "h100-sxm"),
            "error: --on: is missing. Did you mean --on instead of --onn?\n",
        ),
        (("hw", "show"), "error: NAME: is missing. `gambrel hw show --help` describes it.\n"),
    ],
)
def test_what_is_missing_is_named(cli, words, said):
    result = cli(*words)
    assert (result.code, result.stdout, result.stderr) == (2, "", said)
