import json

import numpy as np
import pyarrow.parquet
import pytest

from gambrel.errors import UsageError
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.table import estimate_table
from gambrel.report.make import make_report
from gambrel.report.points import plan_points
from gambrel.report.run_source import RunSource

BANDWIDTHS = ("1x", "2x")
COLUMNS = {"tp": [1, 3, 8], "batch": [1, 64], "isl": [512, 1024], "osl": [32]}
QUESTION = {
    "model": "llama-3.1-8b",
    "on": ["h100-sxm"],
    "overrides": {"memory.hbm.bandwidth": list(BANDWIDTHS)},
    "devices": [None],
    "columns": COLUMNS,
    "allow_unpriced": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two parts of twelve rows, one for each what-if, as a sweep writes them."""
    path = tmp_path_factory.mktemp("run")
    parts = []
    for number, text in enumerate(BANDWIDTHS):
        change = (f"memory.hbm.bandwidth={text}",)
        table = estimate_table("llama-3.1-8b", "h100-sxm", columns=COLUMNS, overrides=change).to_arrow()
        machine = pyarrow.array(["h100-sxm"] * len(table)).dictionary_encode()
        bandwidth = pyarrow.array([3.35e12 * (number + 1)] * len(table))
        table = table.append_column("on", machine).append_column("memory.hbm.bandwidth", bandwidth)
        status = table.column_names.index("status")
        table = table.set_column(status, "status", table.column("status").combine_chunks().dictionary_encode())
        name = f"part-{number:06d}.parquet"
        pyarrow.parquet.write_table(table, path / name)
        parts.append({"number": number, "file": name, "first_row": 12 * number, "rows": 12})
    order = ["on", "memory.hbm.bandwidth", "devices", *COLUMNS]
    write(path, {"schema": 1, "question": QUESTION, "row_order": order, "parts": parts})
    return path


def write(folder, manifest) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_columns_are_those_of_the_parts(folder):
    source = RunSource(folder)
    assert len(source) == 24
    assert source.numbers("tp").tolist() == [1, 1, 1, 1, 3, 3, 3, 3, 8, 8, 8, 8] * 2
    assert np.isnan(source.numbers("no such column")).all()
    cannot = ~(source.is_status("ok") | source.is_status("does not fit"))
    assert cannot.tolist() == [False, False, False, False, True, True, True, True, False, False, False, False] * 2
    assert np.isnan(source.numbers("tpot_s")).tolist() == cannot.tolist()
    (record,) = source.records([11])
    assert (record["machine"], record["tp"], record["batch"], record["isl"]) == ("h100-sxm", 8, 64, 1024)


def test_a_row_says_its_whole_question(folder):
    source = RunSource(folder)
    asked = source.asked(23)
    assert asked.workload == Workload(batch=64, isl=1024, osl=32)
    assert asked.plan == Plan(strategy="megatron", tp=8, dp=1, ep=1, prefill_microbatches=1, microbatches=1)
    assert asked.overrides == ("memory.hbm.bandwidth=2x",)
    assert source.asked(11).overrides == ("memory.hbm.bandwidth=1x",)


def test_what_is_detailed_is_estimated_as_it_was_in_the_run(folder):
    source = RunSource(folder)
    points = plan_points(source)
    (cells,) = source.records([points.detailed])
    report = make_report(source.asked(points.detailed), points, "a run")
    assert report.estimate.tpot_s == pytest.approx(cells["tpot_s"], rel=1e-9)
    assert report.estimate.tokens_per_s_per_device == pytest.approx(cells["tokens_per_s_per_device"], rel=1e-9)


def test_only_plans_of_the_same_lengths_are_compared(folder):
    points = plan_points(RunSource(folder))
    assert {row.cells["isl"] for row in points.rows} == {512}
    assert (points.total, points.elsewhere, points.cannot_run) == (12, 12, 4)
    assert "12 others are for other lengths" in points.counts_text
    assert {row.cells["isl"] for row in plan_points(RunSource(folder), 1).rows} == {1024}
    assert "memory.hbm.bandwidth" in points.varied


def test_an_unfinished_run_counts_its_what_ifs_from_the_first_row_of_each_part(folder, tmp_path):
    manifest = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "part-000001.parquet").write_bytes((folder / "part-000001.parquet").read_bytes())
    write(tmp_path, {**manifest, "parts": manifest["parts"][1:]})
    source = RunSource(tmp_path)
    assert len(source) == 12
    assert source.asked(0).overrides == ("memory.hbm.bandwidth=2x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no run"),
        ("{", "cannot be read"),
        ("[]", "is not the manifest of a run"),
        ('{"parts": []}', "is not the manifest of a run: 'question'"),
        (json.dumps({"question": QUESTION, "parts": []}), "no part of the run is finished"),
        (json.dumps({"question": QUESTION, "parts": [{"file": "gone", "first_row": 0}]}), "gone"),
    ],
)
def test_what_is_no_run(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        RunSource(tmp_path)
