"""The profiles that come with the package."""

import dataclasses
import subprocess
import sys

import pytest

from gambrel.errors import ProfileError
from gambrel.hardware.checks import quantities
from gambrel.hardware.load import list_profiles, load_device, load_profile, validate_file
from gambrel.hardware.resolve import SHIPPED, canonical, shipped_aliases

NAMES = (
    "a10",
    "a100-dgx-one-port",
    "a100-pcie-40gb",
    "a100-pcie-80gb",
    "a100-pcie-pairs",
    "a100-sxm-40gb",
    "a100-sxm-80gb",
    "a30",
    "a40",
    "a40-nodes",
    "a800-sxm-80gb",
    "arc-pro-b60",
    "ascend-910b",
    "b200-sxm",
    "b300-sxm",
    "gaudi2",
    "gaudi3",
    "gb200-nvl72",
    "gb300-nvl72",
    "gh200",
    "h100-nvl",
    "h100-nvl-pairs",
    "h100-pcie",
    "h100-sxm",
    "h20",
    "h200-sxm",
    "h800-sxm",
    "jetson-agx-orin",
    "jetson-agx-thor",
    "l4",
    "l40",
    "l40s",
    "max-1550",
    "mi100",
    "mi210",
    "mi250x",
    "mi300x",
    "mi325x",
    "mi350x",
    "mi355x",
    "p100-pcie",
    "p4",
    "rtx-3090",
    "rtx-4090",
    "rtx-5090",
    "rtx-6000-ada",
    "rtx-a6000",
    "rtx-pro-6000-server",
    "t4",
    "tpu-v4",
    "tpu-v5e",
    "tpu-v5p",
    "tpu-v6e",
    "tpu-v7x",
    "v100-pcie",
    "v100-sxm2-32gb",
)


def test_all_are_listed_without_their_bases():
    assert list_profiles() == NAMES
    assert set(list_profiles(abstract=True)).isdisjoint(NAMES)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_is_valid_and_named_as_its_id(path):
    assert validate_file(path) == []
    assert f"\nid: {path.stem}\n" in path.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_device_is_complete(name):
    profile, device = load_profile(name), load_device(name)
    assert device.name == name
    sixteen = [device.matrix_flops_per_s[x] for x in ("bf16", "fp16") if x in device.matrix_flops_per_s]
    assert device.generation == "pascal" or min(sixteen) > device.vector_flops_per_s
    assert device.power.idle_w is not None
    assert device.power.energy_per_byte_j is not None
    assert device.power.energy_per_flop_j
    assert set(device.power.energy_per_flop_j) <= {*device.matrix_flops_per_s, "tf32", "int4"}
    assert set(device.sparse_flops_per_s) <= set(device.matrix_flops_per_s)
    assert device.links, "every device can be joined with others"
    assert device.profile_hash == profile.hash
    assert {q.source for _, q in quantities(profile)} <= set(profile.sources)


def test_matrix_peaks_follow_from_units_width_and_clock():
    h100 = load_device("h100-sxm")
    assert h100.matrix_flops_per_s["bf16"] == pytest.approx(132 * 4 * 512 * 2 * 1.83e9, rel=0.01)
    tpu = load_device("tpu-v5e")
    assert tpu.matrix_flops_per_s["bf16"] == pytest.approx(4 * 128 * 128 * 2 * 1.5e9, rel=0.01)
    mi300x = load_device("mi300x")
    assert mi300x.num_units == 8 * 38
    assert mi300x.matrix_flops_per_s["bf16"] == pytest.approx(304 * 4 * 256 * 2 * 2.1e9, rel=0.01)


def test_the_numbers_that_are_often_confused():
    h100, gaudi3, l40s = load_device("h100-sxm"), load_device("gaudi3"), load_device("l40s")
    assert h100.memory_bytes == 81559 * 2**20, "what the driver reports, not 80 GB"
    assert load_device("tpu-v5e").memory_bytes == 16 * 2**30
    assert h100.sparse_flops_per_s["fp8"] == pytest.approx(2 * h100.matrix_flops_per_s["fp8"])
    assert l40s.matrix_flops_per_s["fp8"] == 733e12, "1466 is the sparse peak"
    assert gaudi3.matrix_flops_per_s["bf16"] == 1677e12, "1835 is not the shipping clock"
    assert h100.links[0].bandwidth_bytes_per_s == 450e9, "900 counts both directions"


def test_formats_that_a_device_lacks_are_missing():
    assert "fp8" not in load_device("a100-sxm-80gb").matrix_flops_per_s
    assert "int4" not in load_device("h100-sxm").matrix_flops_per_s
    assert "nvfp4" in load_device("b200-sxm").matrix_flops_per_s


def test_h200_is_an_h100_with_another_memory():
    h100, h200 = load_device("h100-sxm"), load_device("h200-sxm")
    assert h200.memory_bandwidth_bytes_per_s / h100.memory_bandwidth_bytes_per_s == pytest.approx(4.8 / 3.35)
    same = ("generation", "num_units", "clock_hz", "matrix_flops_per_s", "cache_bytes", "links")
    assert all(getattr(h100, field) == getattr(h200, field) for field in same)


def test_an_alias_loads_the_same_device():
    assert load_device("H100-SXM") == load_device("h100-sxm")


def test_aliases_are_unique():
    aliases = shipped_aliases()
    assert not set(aliases) & set(NAMES)
    spelled = [a for n in NAMES for a in load_profile(n).aliases]
    assert sorted(spelled) == sorted(aliases)


@pytest.mark.parametrize("name", ["A100_PCIE_40GB", "NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"])
def test_names_are_compared_without_case_and_separators(name):
    assert load_device(name).name == "a100-pcie-40gb"


def test_no_two_devices_have_names_that_compare_equal():
    spelled = {canonical(name): name for name in NAMES}
    for alias, path in shipped_aliases().items():
        assert spelled.setdefault(canonical(alias), path.stem) == path.stem


TABLES = ("P100", "V100-PCIe", "T4", "A40", "A100-PCIe-40GB", "A100-PCIe-80GB", "MI100", "MI210", "Orin", "L4")


@pytest.mark.parametrize("name", TABLES)
def test_devices_of_measured_tables_have_profiles(name):
    assert load_device(name).memory_bandwidth_bytes_per_s > 1e11


def test_a_card_has_the_units_of_its_chip_and_its_own_clock():
    a100, a30 = load_device("a100-pcie-80gb"), load_device("a30")
    assert a30.matrix_flops_per_s["bf16"] == pytest.approx(
        a100.matrix_flops_per_s["bf16"] * 56 / 108 * 1440 / 1410, rel=0.01
    )
    h100, h20 = load_device("h100-sxm"), load_device("h20")
    assert h20.memory_bandwidth_bytes_per_s > h100.memory_bandwidth_bytes_per_s
    assert h20.matrix_flops_per_s["bf16"] < h100.matrix_flops_per_s["bf16"] / 6
    assert not load_device("h100-pcie").links[0].in_network_reduction, "a bridge of two cards has no switch"


@pytest.mark.parametrize("name", ["h100", "H100", "a100-pcie", "V100"])
def test_an_unknown_device_is_never_guessed(name):
    with pytest.raises(ProfileError, match=r"unknown device.*(h100-|v100-|a100-)"):
        load_device(name)


@pytest.mark.parametrize("name", ["", "nothing-like-it"])
def test_what_is_no_device_lists_the_first_ones_and_says_where_all_are(name):
    with pytest.raises(ProfileError) as caught:
        load_device(name)
    assert all(known in str(caught.value) for known in NAMES[:20])
    assert "gambrel hw list" in str(caught.value)


def test_a_base_is_no_device():
    with pytest.raises(ProfileError) as caught:
        load_device("nvidia-hopper")
    assert all(known in str(caught.value) for known in NAMES)


def test_importing_the_loader_leaves_the_yaml_reader_unloaded():
    heavy = "{'ruamel.yaml', 'quantiphy', 'pydantic'}"
    program = f"import sys, gambrel.hardware.load; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_profile_cannot_be_changed():
    profile = load_profile("h100-sxm")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(profile, "id", "other")  # noqa: B010 (pyright refuses the plain assignment, which is the point)
