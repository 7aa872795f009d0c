"""The benchmark of grades: nothing that is scored is fitted on; results are kept until what they depend on changes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy import grade_report, grades
from benchmarks.accuracy.grade_cells import COLUMNS, Settings, new_chip, score
from benchmarks.accuracy.grade_report import table_lines
from benchmarks.accuracy.grade_rows import Draw, draw, errors, read_rows
from gambrel.calibration.operation import fold, held_out
from gambrel.calibration.predict import predict_kernels
from gambrel.calibration.transfer import without_fits
from gambrel.hardware.load import load_device

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("pandas")

TRUE = {"launch": 4.0e-6, "memory_efficiency": 0.74, "compute_efficiency": 0.6, "wave_overhead": 2.0e-6}
A100 = load_device("a100-sxm-80gb")
BARE = without_fits("a100-sxm-80gb")


def rows_of(device, name, count=240, slower=1.0):
    """GEMM rows that a device with parameters of its own would measure."""
    rng = np.random.default_rng(0)
    shapes = {
        "m": 2.0 ** rng.integers(0, 13, count),
        "n": 2.0 ** rng.integers(8, 15, count),
        "k": 2.0 ** rng.integers(8, 14, count),
    }
    table = {
        **shapes,
        "dtype": ["bfloat16"] * count,
        "backend": ["trtllm"] * count,
        "source": ["aiconfigurator"] * count,
    }
    own = replace(without_fits(device), parameters={"gemm_bf16": TRUE})
    seconds = predict_kernels("gemm", own, {x: np.asarray(values) for x, values in table.items()}).seconds
    return {**table, "device": [name] * count, "latency_us": seconds * 1e6 * slower}


def write(folder, *parts):
    table = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
    pq.write_table(pa.table(table), folder / "gemm.parquet")
    return folder / "gemm.parquet"


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize(("share", "count"), [(0.0, 20), (0.25, 60)])
def test_drawn_rows_are_so_many_and_none_of_a_scored_site(tmp_path, spread, share, count):
    measured = read_rows(write(tmp_path, rows_of("a100-sxm-80gb", "A100-SXM-80GB")), "a100-sxm-80gb")
    drawn = draw(measured, BARE, Draw(points=20, share=share, seed=0, spread=spread))
    assert drawn.rows.length == count
    assert not held_out(fold(measured.operation.sites(drawn.rows))).any()


def test_spread_rows_reach_the_corners_that_random_ones_miss(tmp_path):
    measured = read_rows(write(tmp_path, rows_of("a100-sxm-80gb", "A100-SXM-80GB")), "a100-sxm-80gb")
    least, most = (f(measured.rows.numbers["m"][~measured.kept]) for f in (np.min, np.max))
    drawn = draw(measured, BARE, Draw(points=8, share=0.0, seed=0, spread=True)).rows.numbers["m"]
    assert (drawn.min(), drawn.max()) == (least, most)


def test_errors_are_those_of_the_kept_rows(tmp_path):
    path = write(tmp_path, rows_of("a100-sxm-80gb", "A100-SXM-80GB", slower=2.0))
    measured = read_rows(path, "a100-sxm-80gb")
    own = replace(BARE, parameters={"gemm_bf16": TRUE})
    (found,) = errors(measured, own, BARE)
    assert (found.name, found.rows) == ("gemm_bf16@trtllm", measured.kept.sum())
    assert found.error == pytest.approx(1.0 - 1.0 / 2.0)


def test_more_knowledge_is_never_much_worse_and_the_device_itself_is_found(tmp_path):
    path = write(tmp_path, rows_of("a100-sxm-80gb", "A100-SXM-80GB"))
    measured = read_rows(path, "a100-sxm-80gb")
    found = {column: score(column, measured, "a100-sxm-80gb", tmp_path, Settings())[0].error for column in COLUMNS}
    assert found["new"] == pytest.approx(errors(measured, BARE, BARE)[0].error)
    assert found["shipped"] == pytest.approx(errors(measured, A100, BARE)[0].error)
    assert max(found["random"], found["spread"], found["tenth"]) < 0.5 * found["new"]
    assert found["roofline"] > found["new"]


def test_a_new_chip_is_fitted_on_its_sibling_alone(tmp_path):
    sibling = rows_of("h200-sxm", "H200-SXM")
    folders = [tmp_path / name for name in ("as_it_is", "slower")]
    for folder, slower in zip(folders, (1.0, 3.0), strict=True):
        folder.mkdir()
        write(folder, sibling, rows_of("h100-sxm", "H100-SXM", slower=slower))
    first, second = (new_chip("h100-sxm", "gemm", folder, 200).parameters for folder in folders)
    assert first == second
    assert first["gemm"]["compute_efficiency"] == pytest.approx(TRUE["compute_efficiency"], rel=0.15)


def test_a_new_chip_without_a_sibling_has_the_defaults(tmp_path):
    write(tmp_path, rows_of("a100-sxm-80gb", "A100-SXM-80GB"))
    assert new_chip("a100-sxm-80gb", "gemm", tmp_path, 200).parameters == {}


def test_results_are_kept_until_the_rows_change(tmp_path, monkeypatch):
    monkeypatch.setattr(grades, "CACHE", tmp_path / "runs")
    monkeypatch.setattr(grades, "COLUMNS", ("new",))
    path = write(tmp_path, rows_of("a100-sxm-80gb", "A100-SXM-80GB"))
    first = grades.cell_of(path, "a100-sxm-80gb", Settings())
    file = tmp_path / "runs" / "gemm.a100-sxm-80gb.new.json"
    kept = json.loads(file.read_text())
    kept["sets"][0]["error"] = 0.5
    file.write_text(json.dumps(kept))
    assert grades.cell_of(path, "a100-sxm-80gb", Settings()).error("new") == 0.5
    assert grades.cell_of(path, "a100-sxm-80gb", Settings(seed=1)).error("new") == first.error("new")
    assert grades.cell_of(path, "h100-sxm", Settings()) is None


def test_the_mean_is_that_of_the_datacentre_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(grades, "CACHE", tmp_path / "runs")
    for module in (grades, grade_report):
        monkeypatch.setattr(module, "COLUMNS", ("new", "roofline"))
    rows = [rows_of(profile, name) for profile, name in (("a100-sxm-80gb", "A100-SXM-80GB"), ("h200-sxm", "H200-SXM"))]
    write(tmp_path, *rows, rows_of("l40s", "L40S", slower=9.0))
    found = grades.cells(tmp_path, ["a100-sxm-80gb", "h200-sxm", "l40s"], ["gemm"], Settings())
    means = [line for line in table_lines(found, {"gemm": "products"}) if line.startswith("| **")]
    for line, where, some in zip(means, ("datacentre", "datacentre", "all devices"), (2, 2, 3), strict=True):
        expected = 100.0 * np.mean([cell.error("roofline") for cell in found[:some]])
        assert f"| **{where}** |" in line
        assert line.endswith(f"| {expected:.1f} |")
    assert means[1].startswith("| **products in bf16, fp8 and nvfp4** |")
    assert found[0].only(("gemm_fp8",)).rows == 0
