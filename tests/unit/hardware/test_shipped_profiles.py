"""The profiles that come with the package."""

import dataclasses
import subprocess
import sys

import pytest

from gambrel.errors import ProfileError
from gambrel.hardware.checks import quantities
from gambrel.hardware.load import list_profiles, load_device, load_profile, validate_file
from gambrel.hardware.resolve import SHIPPED, shipped_aliases

NAMES = (
    "a100-sxm-80gb",
    "ascend-910b",
    "b200-sxm",
    "gaudi3",
    "gb200-nvl72",
    "h100-sxm",
    "h200-sxm",
    "l40s",
    "mi300x",
    "mi325x",
    "rtx-4090",
    "tpu-v5e",
)


def test_the_twelve_are_listed_without_their_bases():
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
    assert device.matrix_flops_per_s["bf16"] > device.vector_flops_per_s
    assert device.power.idle_w is not None
    assert device.power.energy_per_byte_j is not None
    assert "bf16" in device.power.energy_per_flop_j
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


@pytest.mark.parametrize("name", ["h100", "H100", "h100-pcie"])
def test_an_unknown_device_is_never_guessed(name):
    with pytest.raises(ProfileError, match=r"unknown device.*'h100-sxm'"):
        load_device(name)


@pytest.mark.parametrize("name", ["", "nothing-like-it", "nvidia-hopper"])
def test_what_is_no_device_lists_the_devices(name):
    with pytest.raises(ProfileError) as caught:
        load_device(name)
    assert all(known in str(caught.value) for known in NAMES)


def test_importing_the_loader_leaves_the_yaml_reader_unloaded():
    heavy = "{'ruamel.yaml', 'quantiphy', 'pydantic'}"
    program = f"import sys, gambrel.hardware.load; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_profile_cannot_be_changed():
    profile = load_profile("h100-sxm")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(profile, "id", "other")  # noqa: B010 (pyright refuses the plain assignment, which is the point)
