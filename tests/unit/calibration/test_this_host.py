"""Measuring a machine: the stopwatch, what the system says of itself, the design, and a short run through NumPy."""

import time
from dataclasses import replace

import numpy as np
import pytest

from gambrel.calibration import design, host
from gambrel.calibration.backends import NumpyBackend, open_backend
from gambrel.calibration.calibrate import LEAST_POINTS
from gambrel.calibration.families import families
from gambrel.calibration.predict import with_rate
from gambrel.calibration.stopwatch import median_seconds
from gambrel.calibration.tables import operation_named, read_table
from gambrel.calibration.this_host import Settings, calibrate_host, shipped_gpu
from gambrel.calibration.write import write_profile
from gambrel.errors import UsageError
from gambrel.hardware.load import load_device, load_profile


def test_the_stopwatch_times_a_call():
    assert 0.002 <= median_seconds(lambda: time.sleep(0.002), 0.02, 2) < 0.2  # a loaded machine wakes late


def test_the_stopwatch_times_calls_below_its_resolution():
    assert 0.0 < median_seconds(lambda: None, 0.01, 1) < 5e-6


def test_facts_of_a_processor(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("vendor_id\t: GenuineIntel\nmodel name\t: Some  CPU @ 2.1GHz\ncpu MHz\t\t: 2100.000\n")
    for index, cells in enumerate(
        (("Data", 1, "32K", "0"), ("Instruction", 1, "32K", "0"), ("Unified", 3, "8192K", "0-3"))
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, cell in zip(("type", "level", "size", "shared_cpu_list"), cells, strict=True):
            (folder / name).write_text(f"{cell}\n")
    monkeypatch.setattr(host, "CPUINFO", cpuinfo)
    monkeypatch.setattr(host, "CACHES", tmp_path)
    found = host.this_host()
    assert (found.model, found.vendor, found.clock_hz) == ("Some CPU @ 2.1GHz", "intel", 2.1e9)
    assert found.caches == (host.Cache(1, 32 * 1024, False), host.Cache(3, 8192 * 1024, True))


def test_a_system_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(host, "CACHES", tmp_path / "none")
    found = host.this_host()
    assert not found.clock_known
    assert found.caches == ()


def test_a_busy_machine_is_mentioned(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (3.0, 2.0, 1.0), raising=False)
    assert host.busy_remark(4, 4) == (
        "the machine is busy: a load of 3.0 on 4 cores; several threads would wait for each other, --threads 1 is safer"
    )
    assert host.busy_remark(4, 1) == "the machine is busy: a load of 3.0 on 4 cores"
    assert host.busy_remark(64, 64) == ""


def test_the_design_reaches_every_regime_with_enough_shapes():
    products = design.products()
    assert {shape.m for shape in products if shape.b == 1} == set(design.ROWS)
    assert len([shape for shape in products if shape.b == 1]) >= LEAST_POINTS
    convolutions = design.convolutions()
    pointwise = [shape for shape in convolutions if shape.filter == shape.stride == 1]
    assert min(len(pointwise), len(convolutions) - len(pointwise)) >= LEAST_POINTS
    for op in ("softmax", "layernorm", "emb"):
        assert len([shape for shape in design.streams() if shape.op == op]) >= LEAST_POINTS
    one = [shape for shape in design.attentions() if shape.q == 1]
    for shared in (True, False):
        assert len([shape for shape in one if (shape.kv_heads < shape.heads) == shared]) >= LEAST_POINTS


def test_a_convolution_is_a_product():
    shape = design.Convolution(2, 64, 128, 3, 56, 2).product()
    assert shape == design.Product(2 * 28 * 28, 128, 64 * 9)


def test_numpy_computes_what_it_times():
    backend = NumpyBackend(0)
    assert np.shape(backend.product(design.Product(3, 5, 7))()) == (3, 5)
    assert np.shape(backend.product(design.Product(3, 5, 7, 2))()) == (2, 3, 5)
    for op in ("add", "relu", "copy", "emb"):
        assert np.shape(backend.stream(design.Stream(op, 3, 5))()) == (3, 5)


def test_a_backend_that_is_not_installed(monkeypatch):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr("gambrel.calibration.backends.import_module", fail)
    with pytest.raises(UsageError, match="PyTorch is not installed"):
        open_backend("torch", 0)
    assert open_backend("auto", 0).name.startswith("NumPy")


def test_a_gpu_is_found_among_the_shipped_profiles():
    assert shipped_gpu("NVIDIA B200") == "b200-sxm"
    assert shipped_gpu("NVIDIA GeForce RTX 4090") == "rtx-4090"
    assert shipped_gpu("NVIDIA H100 80GB HBM3") == "h100-sxm"
    assert shipped_gpu("NVIDIA H100 PCIe") == "h100-pcie"
    assert shipped_gpu("NVIDIA A100-PCIE-40GB") == "a100-pcie-40gb"
    assert shipped_gpu("Tesla T4") == "t4"
    with pytest.raises(UsageError, match="a100-pcie-40gb, a100-pcie-80gb"):
        shipped_gpu("NVIDIA A100 PCIe")
    with pytest.raises(UsageError, match="no shipped profile describes this GPU"):
        shipped_gpu("NVIDIA Quadro 4000")


def test_two_seconds_of_this_host_make_a_profile(tmp_path, monkeypatch):
    monkeypatch.setattr("gambrel.calibration.this_host.GRACE_S", 120.0)  # where others keep the machine busy
    out = tmp_path / "mine.yaml"
    remarks: list[str] = []
    found, text = calibrate_host(Settings(seconds=2.0, backend="numpy"), out, remarks.append)
    write_profile(text, out, force=False)
    profile, device = load_profile(out), load_device(out)
    assert (profile.kind, device.engine, device.num_units) == ("cpu", "cpu", host.usable_cores())
    assert found.families
    # A busy machine gives few rows, and these may say no more of a family than its prior.
    assert {family.family for family in found.families if family.values} == set(device.parameters)
    assert device.parameters
    assert all(kind == "calibrated" for kind in device.parameter_grades.values())
    assert device.memory_bandwidth_bytes_per_s > 1e8
    assert device.matrix_flops_per_s["fp32"] > 1e8
    assert str(tmp_path) not in text


def test_a_host_runs_convolutions_as_products_with_parameters_of_their_own():
    device = load_device("h100-sxm")
    processor = replace(device, engine="cpu", matrix_flops_per_s={"fp32": 1e12}, parameters={})
    table = {"B": [1.0, 1.0], "Input_Channel": 64.0, "Output_Channel": 128.0, "Input_Size": 28.0, "dtype": "float32"}
    operation = operation_named("conv")
    rows = read_table(operation, {**table, "Kernel_Size": [1.0, 3.0], "Padding": [0.0, 1.0]}).rows
    kernels = [with_rate(operation.build(group.rows).kernels[0], processor) for group in operation.groups(rows)]
    assert sorted(families(kernel, processor)[-1] for kernel in kernels) == [
        "gemm_fp32@convolution",
        "gemm_fp32@convolution-pointwise",
    ]
    assert {float(np.max(kernel.k)) for kernel in kernels} == {64.0, 9 * 64.0}
