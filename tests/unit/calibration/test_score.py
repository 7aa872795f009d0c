"""Scores of tables: what counts, what does not, and who got no answer."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gambrel
from gambrel.calibration import score as scoring
from gambrel.calibration.accuracy import markdown_table, score_folder, silent
from gambrel.calibration.operation import fold, held_out, interval_fold, scored_fold
from gambrel.calibration.score import Options, score_table
from gambrel.calibration.tables import OPERATIONS
from gambrel.calibration.transfer import without_own_fit
from gambrel.cli import main
from gambrel.errors import UsageError
from gambrel.hardware.load import load_device

GEMM = OPERATIONS["gemm"]
SIZES = {"m": [64.0, 512.0, 4096.0], "n": [4096.0] * 3, "k": [4096.0, 8192.0, 1024.0], "dtype": ["bf16"] * 3}


def measured(factor, device="H100-SXM", **columns):
    """A table whose measurements are the estimates times a factor."""
    seconds = gambrel.predict_kernels("gemm", "h100-sxm", {**SIZES, **columns}).seconds
    return {**SIZES, **columns, "device": [device] * 3, "latency_us": seconds * 1e6 * np.asarray(factor)}


def test_errors_are_of_the_measurement():
    (score,) = score_table(GEMM, measured([1.0, 2.0, 0.5]), Options())
    assert (score.family, score.op, score.device, score.dtype) == ("gemm", "gemm", "H100-SXM", "bf16")
    assert (score.n, score.answered) == (3, 1.0)
    assert score.mape == pytest.approx((0.0 + 0.5 + 1.0) / 3)
    assert score.median == pytest.approx(0.5)
    assert score.bias == pytest.approx(0.0), "twice and half cancel"
    assert score.p90 == pytest.approx(np.quantile([0.0, 0.5, 1.0], 0.9))


def test_coverage_counts_what_the_interval_holds():
    estimates = gambrel.predict_kernels("gemm", "h100-sxm", SIZES)
    edge = estimates.upper_s / estimates.seconds
    (score,) = score_table(GEMM, measured([1.0, edge[1] * 1.01, edge[2] * 0.99]), Options())
    assert score.coverage95 == pytest.approx(2 / 3)


def test_a_device_without_a_profile_counts_as_not_answered():
    (score,) = score_table(GEMM, measured(1.0, device="V9000"), Options())
    assert (score.grade, score.n, score.answered, score.mape) == ("no profile", 3, 0.0, None)
    assert silent([score]) == ["V9000: no profile (gemm 3 rows)"]


def test_an_operation_without_an_engine_counts_as_not_answered():
    (score,) = score_table(replace(GEMM, build=None), measured(1.0), Options())
    assert (score.grade, score.answered) == ("no engine", 0.0)


def test_incomplete_rows_count_as_not_answered():
    table = measured(1.0)
    table["m"] = [64.0, np.nan, 4096.0]
    scores = score_table(GEMM, table, Options())
    assert {score.grade: score.n for score in scores if not score.answered} == {"incomplete row": 1}
    assert sum(score.n for score in scores) == 3


def test_fitted_sites_of_fitted_sources_are_left_out():
    table = measured(1.0, source=["vidur"] * 3)
    kept = held_out(fold([f"{n}/{k}" for n, k in zip(SIZES["n"], SIZES["k"], strict=True)]))
    assert 0 < kept.sum() < 3, "the sites of this test lie on both sides"
    assert sum(score.n for score in score_table(GEMM, table, Options())) == kept.sum()
    assert sum(score.n for score in score_table(GEMM, table, Options(all_rows=True))) == 3


def test_the_split_is_by_site_and_its_parts_are_disjoint():
    folds = fold([f"{i}" for i in range(400)])
    assert np.array_equal(folds, fold([f"{i}" for i in range(400)]))
    assert np.array_equal(held_out(folds), interval_fold(folds) | scored_fold(folds))
    assert not np.any(interval_fold(folds) & scored_fold(folds))
    assert 0.4 < held_out(folds).mean() < 0.6


def test_libraries_can_be_told_apart():
    table = measured(1.0, backend=["vllm", "trtllm", "vllm"])
    assert [score.op for score in score_table(GEMM, table, Options())] == ["gemm"]
    found = score_table(GEMM, table, Options(by_library=True))
    assert {score.op: score.n for score in found} == {"gemm@vllm": 2, "gemm@trtllm": 1}


def test_leaving_a_device_out_drops_what_was_fitted_on_it():
    bare, device = without_own_fit("b200-sxm"), load_device("b200-sxm")
    assert bare.parameters == {}, "no sibling of B200 was measured"
    assert device.parameters["gemm"]
    assert bare.matrix_flops_per_s == device.matrix_flops_per_s
    hopper = without_own_fit("h100-sxm")
    assert set(hopper.parameter_grades.values()) == {"transferred"}, "H200 is a measured sibling"
    (score,) = score_table(GEMM, measured(1.0, device="B200-SXM"), Options(leave_out_device=True))
    assert score.grade == "datasheet"


@pytest.fixture
def folder(tmp_path):
    pq.write_table(pa.table(measured(1.1)), tmp_path / "gemm.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "gems.parquet")
    named = {**measured(1.1), "op": ["gemm"] * 3, "power_w": [500.0] * 3}
    pq.write_table(pa.table(named), tmp_path / "power.parquet")
    return tmp_path


def test_a_folder_is_scored_file_by_file(folder):
    said = []
    scores = score_folder(folder, Options(), said.append)
    assert [(score.family, score.n) for score in scores] == [("gemm", 3), ("power", 3)]
    assert any("gems.parquet: skipped" in line and "'gemm'" in line for line in said)
    assert markdown_table(scores).count("\n") == 3


def test_the_command_prints_records_with_exactly_these_keys(folder, capsys):
    assert main(["accuracy", "--kernels", str(folder), "--op", "gemm", "--format", "json"]) == 0
    printed = capsys.readouterr()
    records = json.loads(printed.out)
    assert " ".join(records[0]) == (
        "family op device dtype grade n answered mape median p90 bias coverage95 roofline_mape"
    )
    assert records[0]["mape"] == pytest.approx(1 - 1 / 1.1)
    assert "gemm.parquet: 3 rows" in printed.err


def test_the_command_writes_a_file(folder, tmp_path, capsys):
    out = tmp_path / "scores.md"
    assert main(["accuracy", "--kernels", str(folder), "--format", "markdown", "-o", str(out)]) == 0
    assert out.read_text().startswith("| op | device |")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give a folder: --kernels DIR"),
        (["--op", "gem"], "gem: unknown operation. Did you mean 'gemm'"),
        (["--device", "V9000"], "no rows match"),
    ],
)
def test_what_cannot_be_scored(folder, capsys, options, message):
    where = ["--kernels", str(folder)] if options else []
    assert main(["accuracy", *where, *options]) == 2
    assert message in capsys.readouterr().err


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(UsageError, match=r"holds no \.parquet file"):
        score_folder(tmp_path, Options(), print)
    (tmp_path / "gemm.parquet").write_text("m,n,k")
    with pytest.raises(UsageError, match="cannot be read as parquet"):
        score_folder(tmp_path, Options(), print)


def test_a_score_has_the_fields_of_its_record():
    assert [field.name for field in fields(scoring.Score)] == list(
        asdict(scoring.Score(family="", op="", device="", dtype="", grade="", n=1, answered=0.0))
    )
