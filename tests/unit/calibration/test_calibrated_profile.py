"""Reading measurements and writing profiles: which rows count, what is refused, and what a profile says afterwards."""

import numpy as np
import pandas as pd
import pytest

from gambrel.calibration.calibrate import FittedFamily
from gambrel.calibration.intervals import Band
from gambrel.calibration.measurements import Choice, read_measurements
from gambrel.calibration.predict import predict_kernels
from gambrel.calibration.write import as_text, calibrated_profile, source_key, write_profile
from gambrel.errors import PlanError, ProfileError, UsageError
from gambrel.hardware.load import load_device, load_profile

H100 = load_device("h100-sxm")
CHOICE = Choice(device=H100, names=("h100-sxm", "H100-SXM"))
ROWS = {"m": [1, 64], "n": [1024, 2048], "k": [1024, 512], "dtype": "bfloat16", "latency_us": [5.0, 7.0]}
FOUND = FittedFamily(
    family="gemm_bf16",
    residual_family="gemm_bf16",
    operation="gemm",
    values={"launch": 4e-6, "load_bytes_per_clock_per_unit": 200.0, "overlap_norm": 2.5},
    unmoved=("overlap_norm",),
    n=24,
    n_held_out=24,
    split_by="site",
    mape_before=0.3,
    mape_after=0.06,
    band=Band(0.8, 1.3, 0.9, 1.2),
    sizes={"m": (1.0, 4096.0)},
    origins=("gemm.csv, sha256 0123456789abcdef",),
)


def write_csv(folder, name="gemm.csv", **changes):
    path = folder / name
    pd.DataFrame({**ROWS, **changes}).to_csv(path, index=False)
    return path


def read(path, choice=CHOICE, **changes):
    return read_measurements(path, choice._replace(**changes))


def test_a_csv_file_is_read_as_the_operation_it_is_named_as(tmp_path):
    part = read(write_csv(tmp_path))[0]
    assert part.operation.name == "gemm"
    assert part.rows.numbers["m"].tolist() == [1.0, 64.0]
    name, checksum = part.origin.split(", sha256 ")
    assert name == "gemm.csv"
    assert len(checksum) == 64


def test_parquet_and_csv_say_the_same(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "gemm.parquet")
    one, other = (read(path)[0].rows for path in (tmp_path / "gemm.parquet", write_csv(tmp_path)))
    assert all(np.array_equal(one.numbers[name], other.numbers[name], equal_nan=True) for name in one.numbers)


def test_a_folder_gives_every_operation_that_it_has(tmp_path):
    write_csv(tmp_path)
    pd.DataFrame({"op": "add", "rows": [1], "cols": [8], "dtype": "fp16", "latency_us": [1.0]}).to_csv(
        tmp_path / "memory_bound.csv", index=False
    )
    (tmp_path / "notes.txt").write_text("no table")
    assert [part.operation.name for part in read(tmp_path)] == ["gemm", "memory_bound"]
    assert [part.operation.name for part in read(tmp_path, ops=("memory_bound",))] == ["memory_bound"]


def test_only_the_rows_of_the_device_count(tmp_path):
    part = read(write_csv(tmp_path, device=["H100-SXM", "A100-SXM-80GB"]))[0]
    assert part.rows.numbers["m"].tolist() == [1.0]
    assert part.remark == "1 rows of h100-sxm"


def test_a_device_column_may_have_another_name(tmp_path):
    path = write_csv(tmp_path, gpu=["A100-SXM-80GB", "H100-SXM"])
    assert read(path, column="gpu")[0].rows.numbers["m"].tolist() == [64.0]
    with pytest.raises(PlanError, match="--device-column gpu"):
        read(path)
    with pytest.raises(PlanError, match=r"no such column.*'gpu'"):
        read(path, column="gpus")


def test_rows_of_another_device_alone_are_refused(tmp_path):
    with pytest.raises(PlanError, match=r"no row is of h100-sxm.*A100-SXM-80GB"):
        read(write_csv(tmp_path, device="A100-SXM-80GB"))


def test_one_name_of_the_users_own_is_taken(tmp_path):
    assert read(write_csv(tmp_path, device="rack 7"))[0].rows.length == 2


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("times.csv", {}, "not named as an operation"),
        ("gemm.txt", {}, r"files .txt are not read"),
        ("gemm.csv", {"latency_us": [-1.0, 2.0]}, "latency_us: is not positive in 1 of 2 rows"),
        ("gemm.csv", {"m": [-4, 1]}, "m: is negative"),
        ("gemm.csv", {"dtype": "bf17"}, "unknown value 'bf17'"),
    ],
)
def test_files_that_are_refused(tmp_path, name, changes, message):
    path = write_csv(tmp_path, name, **changes)
    ops = ("gemm",) if name == "gemm.txt" else ()
    with pytest.raises((UsageError, PlanError), match=message):
        read(path, ops=ops)


def test_missing_files_columns_and_operations(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "gemm.csv")
    with pytest.raises(UsageError, match="nothing to calibrate with"):
        read(tmp_path)
    with pytest.raises(PlanError, match="unknown operation"):
        read(write_csv(tmp_path), ops=("gem",))
    path = tmp_path / "gemm.csv"
    path.write_text("m,n,k,dtype\n1,2,3,bf16\n")
    with pytest.raises(PlanError, match="latency_us: no such column"):
        read(path)
    path.write_text("m,n\n1\n")
    with pytest.raises(UsageError, match="line 2 has not 2 cells"):
        read(path)


def test_parameters_are_written_with_their_unit():
    assert as_text("launch", 1.86e-6) == "1.86 us"
    assert as_text("load_bytes_per_clock_per_unit", 250.0) == "250 B/clk"
    assert as_text("block_bytes_per_s", 55e9) == "55 GB/s"
    assert as_text("compute_efficiency", 0.702) == "0.702"


def test_two_states_of_a_file_are_two_sources():
    assert source_key("gemm.csv, sha256 0123456789", "2026-01-31") == "gemm-01234567-2026-01-31"
    assert source_key("my times.csv, sha256 abcdefghij", "") == "my-times-abcdefgh"


def test_a_written_profile_says_what_was_fitted(tmp_path):
    out = tmp_path / "mine.yaml"
    write_profile(calibrated_profile("h100-sxm", "An H100", [FOUND], out, "2026-01-31"), out, force=False)
    profile, device = load_profile(out), load_device(out)
    launch = profile.parameters["gemm_bf16"]["launch"]
    assert (launch.value, launch.kind, launch.source) == (pytest.approx(4e-6), "fitted", "gemm-01234567-2026-01-31")
    assert launch.note == "n = 24; held out by site: 6.0% mean error on 24, 30.0% before"
    assert "at its prior" in profile.parameters["gemm_bf16"]["overlap_norm"].note
    source = profile.sources["gemm-01234567-2026-01-31"]
    assert (source.ref, source.date) == ("gemm.csv, sha256 0123456789abcdef", "2026-01-31")
    assert device.parameter_grades["gemm_bf16"] == "calibrated"
    assert device.uncertainty["gemm_bf16"] == FOUND.band._asdict()
    assert device.fitted_ranges["gemm_bf16"] == {"m": (1.0, 4096.0)}
    assert device.memory_bandwidth_bytes_per_s == H100.memory_bandwidth_bytes_per_s
    assert device.parameters["attention_prefill"] == H100.parameters["attention_prefill"]
    estimates = predict_kernels("gemm", out, {**ROWS, "m": [1, 8192]})
    assert estimates.grade.tolist() == ["calibrated"] * 2
    assert estimates.extrapolated.tolist() == [False, True]


def test_a_calibrated_profile_can_be_calibrated_again(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    write_profile(calibrated_profile("h100-sxm", "An H100", [FOUND], first, "2026-01-31"), first, force=False)
    write_profile(calibrated_profile(str(first), "An H100", [FOUND], second, "2026-02-01"), second, force=False)
    assert 'extends: "first.yaml"' in second.read_text()
    assert load_device(second).parameters["gemm_bf16"]["launch"] == pytest.approx(4e-6)


def test_nothing_is_written_over_without_force(tmp_path):
    out = tmp_path / "mine.yaml"
    text = calibrated_profile("h100-sxm", "An H100", [FOUND], out, "2026-01-31")
    write_profile(text, out, force=False)
    with pytest.raises(UsageError, match=r"exists already.*--force"):
        write_profile(text, out, force=False)
    write_profile(text.replace("An H100", "Another"), out, force=True)
    assert "Another" in out.read_text()
    with pytest.raises(UsageError, match=r"a profile is a .yaml file"):
        write_profile(text, tmp_path / "mine.json", force=False)
    with pytest.raises(UsageError, match="folder does not exist"):
        write_profile(text, tmp_path / "no" / "mine.yaml", force=False)


def test_a_broken_text_leaves_the_old_profile(tmp_path):
    out = tmp_path / "mine.yaml"
    text = calibrated_profile("h100-sxm", "An H100", [FOUND], out, "2026-01-31")
    write_profile(text, out, force=False)
    with pytest.raises(ProfileError, match=r"mine.yaml:\d+"):
        write_profile(text.replace("4 us", "4 parsecs"), out, force=True)
    assert out.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
