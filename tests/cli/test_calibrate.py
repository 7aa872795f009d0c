"""`gambrel calibrate`: a profile from a file of measurements, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from gambrel.calibration.predict import predict_kernels
from gambrel.cli import EXIT_INTERRUPTED, main
from gambrel.hardware.load import load_device


@pytest.fixture
def measured(tmp_path):
    rng = np.random.default_rng(0)
    sizes = {name: 2.0 ** rng.integers(low, 13, 24) for name, low in (("m", 0), ("n", 6), ("k", 6))}
    table = {**sizes, "dtype": "bfloat16"}
    seconds = predict_kernels("gemm", "h100-sxm", table).seconds
    path = tmp_path / "gemm.csv"
    pd.DataFrame({**table, "latency_us": 1.3e6 * seconds}).to_csv(path, index=False)
    return path


def calibrate(*args):
    return main(["calibrate", *map(str, args)])


def test_a_profile_is_written_and_used(measured, tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    assert calibrate("--device", "h100-sxm", "--from", measured, "-o", out) == 0
    said = capsys.readouterr()
    assert "gemm_bf16" in said.out
    assert f"wrote {out}" in said.err
    assert load_device(out).parameter_grades["gemm_bf16"] == "calibrated"
    assert calibrate("--device", "h100-sxm", "--from", measured, "-o", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert calibrate("--device", "h100-sxm", "--from", measured, "-o", out, "--force") == 0


def test_json_and_nothing_written_without_a_name(measured, tmp_path, capsys):
    assert calibrate("--device", "h100-sxm", "--from", measured, "--format", "json") == 0
    said = capsys.readouterr()
    record = json.loads(said.out)[0]
    assert (record["family"], record["n"], record["n_held_out"]) == ("gemm_bf16", 24, 24)
    assert record["mape_before"] == pytest.approx(1.0 - 1.0 / 1.3, abs=0.01)
    assert record["mape_after"] < record["mape_before"]
    assert "nothing was written" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["gemm.csv"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "needs a device and measurements of it, or --this-host. Give --device and --from"),
        (("--device", "h100-sxm"), "Give --from"),
        (("--this-host", "--device", "h100-sxm"), "--this-host --device: do not go together"),
        (("--this-host", "--minutes", "0"), "--minutes 0: is not a time above 0"),
        (("--device", "h100-sxm", "--from", "nowhere"), "nowhere: no such file or folder"),
        (("--device", "h101", "--from", "nowhere"), "h101: unknown device"),
        (("--device", "h100-sxm", "--from", ".", "--op", "gem"), "unknown operation. Did you mean 'gemm'?"),
        (("--device", "h100-sxm", "--from", ".", "-o", "profile.json"), "a profile is a .yaml file"),
    ],
)
def test_bad_input(args, message, capsys):
    assert calibrate(*args) == 2
    assert message in capsys.readouterr().err


def test_scipy_is_an_extra(measured, monkeypatch, capsys):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr("gambrel.calibration.fit.import_module", fail)
    assert calibrate("--device", "h100-sxm", "--from", measured) == 2
    assert "pip install 'gambrel[calibrate]'" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing_behind(measured, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("gambrel.cli.calibrate.fit_device", interrupted)
    assert calibrate("--device", "h100-sxm", "--from", measured, "-o", tmp_path / "mine.yaml") == EXIT_INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == ["gemm.csv"]
