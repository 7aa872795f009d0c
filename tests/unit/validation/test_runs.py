"""Published runs of one static batch: read, answered or refused, and scored."""

import gzip
import json
from dataclasses import replace

import pytest

from gambrel import Plan, Workload, estimate
from gambrel.cli import main
from gambrel.errors import UsageError
from gambrel.models import load_model
from gambrel.validation.files import score_file
from gambrel.validation.runs import read_runs
from gambrel.validation.score import answer, scores

ROW = {
    "source_family": "trtllm_docs",
    "fully_specified": True,
    "config_id": "a",
    "category": "inference-e2e",
    "engine": "TensorRT-LLM",
    "engine_version": "v0.9",
    "hardware": "H100-SXM-80GB",
    "n_devices": 1,
    "precision": "FP8",
    "parallelism": {"tp": 1},
    "model": "LLaMA 7B",
    "model_params": {},
    "batch": 8,
    "isl": 128,
    "osl": 16,
    "metric": "ttft",
    "unit": "ms",
    "value": 20.0,
}


@pytest.fixture
def write(tmp_path):
    def to_file(*rows, name="runs.jsonl"):
        path = tmp_path / name
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return to_file


def test_a_row_becomes_a_question_in_si_units(write):
    (run,) = read_runs(write(ROW))
    assert run.value == pytest.approx(20e-3)
    assert run.plan == Plan(weights="fp8", kv="fp8", tp=1, pp=1)
    assert run.workload == Workload(batch=8, isl=128, osl=16)
    assert read_runs(write(ROW, name="runs.jsonl.gz")) == [run]
    assert read_runs(write({**ROW, "fully_specified": False})) == []


def test_the_answer_is_that_of_the_estimate(write):
    vocabulary = {"vocab_size": 32000}
    (run,) = read_runs(write({**ROW, "model_params": vocabulary}))
    model = replace(load_model("llama-2-7b"), vocab=32000, dtype="fp16", quantization=None)
    expected = estimate(model, "h100-sxm", plan=run.plan, workload=run.workload)
    found = answer(run)
    assert found.estimate == pytest.approx(expected.ttft_s)
    assert found.roofline < found.estimate
    (score,) = scores([found])
    assert score.mape == pytest.approx(abs(expected.ttft_s / 20e-3 - 1))
    assert (score.metric, score.category, score.coverage95) == ("ttft", "inference-e2e", None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hardware": "V9000"}, "no profile"),
        ({"hardware": "H100-SXM-80GB power-capped"}, "power cap"),
        ({"metric": "power_w"}, "power"),
        ({"batch": None}, "queued requests at maximum load, no static batch"),
        ({"metric": "goodput"}, "not a metric of a static batch"),
        ({"model": "Unheard-of 9B"}, "model not mapped"),
        ({"precision": "FP3"}, "precision or batch not understood"),
        ({"source_family": "elsewhere"}, "source of no static batches"),
    ],
)
def test_what_gets_no_answer_says_why(write, changes, reason):
    (run,) = read_runs(write({**ROW, **changes}), every=True)
    found = answer(run)
    assert (found.estimate, found.refusal) == (None, reason)
    (score,) = scores([found])
    assert (score.answered, score.grade, score.n) == (0.0, reason, 1)


def test_a_file_is_scored_for_a_device_by_either_name(write):
    path = write(ROW, {**ROW, "hardware": "V9000"})
    for name in ("H100-SXM-80GB", "h100-sxm"):
        assert [score.device for score in score_file(path, device=name, report=print)] == ["H100-SXM-80GB"]
    assert len(score_file(path, device="", report=print)) == 2


def test_the_command_gives_metric_and_category_besides(write, capsys):
    path = write({**ROW, "hardware": "V9000"})
    assert main(["accuracy", "--e2e", str(path), "--format", "json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert " ".join(record) == (
        "family op device dtype grade n answered mape median p90 bias coverage95 roofline_mape metric category"
    )
    assert main(["accuracy", "--e2e", str(path)]) == 0
    assert "not answered: V9000: no profile (1 rows)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", ":1: is no measurement"), ("[]", ":1: is no measurement"), ("{}", "it lacks batch, category")],
)
def test_lines_that_are_no_measurements(tmp_path, text, message):
    path = tmp_path / "runs.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_runs(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_runs(tmp_path / "none.jsonl")
