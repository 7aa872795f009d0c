"""Measurements of servers: which rows are answered, with which plan, and what their score is."""

import json
from pathlib import Path

import pytest

import gambrel
from gambrel.validation.files import score_file
from gambrel.validation.served import read_served
from gambrel.validation.serving import answers, pieces

ROW: dict[str, object] = {
    "source_family": "aic_silicon",
    "fully_specified": True,
    "config_id": "run",
    "series_id": "curve",
    "category": "serving",
    "engine": "vllm",
    "engine_version": "0.12.0",
    "hardware": "H200-SXM-141GB",
    "n_devices": 4,
    "precision": "fp8 (gemm fp8, moe fp8)",
    "parallelism": {"tp": 4, "pp": 1, "attn_dp": 1, "moe_tp": 4, "moe_ep": 1},
    "model": "Llama-3.1-70B",
    "model_params": {"num_hidden_layers": 80, "hidden_size": 8192, "vocab_size": 128256},
    "batch": 16,
    "concurrency": 16,
    "isl": 1000,
    "osl": 500,
    "missing": [],
    "notes": "an internal run",
    "extra": {"mode": "agg"},
    "metric": "tpot",
    "unit": "ms",
    "value": 10.0,
}
EXPERTS: dict[str, object] = {
    "model": "DeepSeek-R1",
    "model_params": {"num_hidden_layers": 61},
    "hardware": "B200-SXM-180GB",
    "engine": "trtllm",
}


def write(folder: Path, *changes: dict[str, object]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({**ROW, **change}) + "\n" for change in changes))
    return path


def test_a_row_becomes_a_plan_and_a_number_of_requests_in_flight(tmp_path: Path) -> None:
    (served,) = read_served(write(tmp_path, {}))
    assert served.run.refusal == ""
    assert served.run.plan == gambrel.Plan(tp=4, dp=1, weights="fp8", kv="fp8", engine="vllm")
    assert served.run.workload == gambrel.Workload(batch=16, isl=1000, osl=500)
    assert (served.dense, served.equal_lengths, served.run.value) == (True, True, pytest.approx(10e-3))


def test_drawn_lengths_are_nine_tenths_of_the_nominal(tmp_path: Path) -> None:
    (served,) = read_served(write(tmp_path, {"notes": "InferenceX-derived: random lengths"}))
    assert served.run.workload == gambrel.Workload(batch=16, isl=900, osl=450)
    assert not served.equal_lengths


def test_experts_over_replicas_are_their_own_strategy_in_the_checkpoints_format(tmp_path: Path) -> None:
    degrees = {"tp": 1, "pp": 1, "attn_dp": 4, "moe_tp": 1, "moe_ep": 4}
    (served,) = read_served(write(tmp_path, {**EXPERTS, "parallelism": degrees, "batch": 4}))
    assert served.run.plan is not None
    assert (served.run.plan.strategy, served.run.plan.dp, served.run.plan.ep) == ("attention-dp-moe-ep", 4, 4)
    assert served.run.plan.weights is None
    assert served.speculative


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"extra": {"mode": "disagg"}}, "prefill on other devices than decode"),
        ({"hardware": "Abacus-1"}, "no profile"),
        ({"model": "Parrot-7B"}, "model not mapped"),
        ({"model_params": {"num_hidden_layers": 79}}, "num_hidden_layers is 79, the library has 80"),
        ({"precision": "fp3"}, "precision fp3"),
        ({"n_devices": 8}, "degrees and devices contradict each other"),
        ({"batch": 3}, "batch and concurrency contradict each other"),
        ({"engine": "abacus"}, "no engine profile"),
        ({**EXPERTS, "parallelism": {"tp": 4, "moe_ep": 2}}, "experts split in a way that no strategy has"),
    ],
)
def test_what_cannot_be_answered_says_why(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    (served,) = read_served(write(tmp_path, change))
    assert served.run.refusal == reason
    assert pieces([served])[0] == []


def test_rows_that_are_not_fully_specified_are_read_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, {"fully_specified": False, "precision": None, "missing": ["precision"]})
    assert read_served(path) == []
    (served,) = read_served(path, partly=True)
    assert served.run.plan == gambrel.Plan(tp=4, dp=1, engine="vllm")


def test_host_times_are_the_difference_to_kernels_alone(tmp_path: Path) -> None:
    found, _ = pieces(read_served(write(tmp_path, {}, {"concurrency": 64, "batch": 64})))
    bare, full = answers(found, host=False), answers(found)
    for piece, without, with_host in zip(found, bare, full, strict=True):
        assert piece.served.run.workload is not None
        work, plan = piece.served.run.workload, piece.served.run.plan
        assert without.estimate is not None
        assert with_host.estimate is not None
        assert without.estimate < with_host.estimate
        assert with_host.estimate == pytest.approx(
            gambrel.steady_state("llama-3.1-70b", "h200-sxm", workload=work, plan=plan, equal_lengths=True).tpot_s
        )


def test_a_file_scores_servers_beside_static_batches(tmp_path: Path) -> None:
    (answered, silent) = score_file(write(tmp_path, {}, {"metric": "ttft"}), device="", report=print)
    assert (answered.family, answered.op, answered.metric, answered.answered) == ("aic_silicon", "vllm", "tpot", 1.0)
    assert (silent.metric, silent.answered) == ("ttft", 0.0)
