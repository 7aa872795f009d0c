import json

import pytest

from gambrel.hardware.load import list_profiles

H100_BANDWIDTH_BYTES_PER_S = 3.35e12


def test_list_has_a_line_for_each_shipped_profile(cli):
    result = cli("hw", "list")
    assert result.code == 0
    assert {line.split()[0] for line in result.stdout.splitlines()} >= set(list_profiles())


def test_list_as_json_is_in_si_units(cli):
    profiles = {profile["name"]: profile for profile in json.loads(cli("hw", "list", "--format", "json").stdout)}
    assert set(profiles) == set(list_profiles())
    assert profiles["h100-sxm"]["memory_bandwidth_bytes_per_s"] == H100_BANDWIDTH_BYTES_PER_S


@pytest.mark.parametrize("name", list_profiles())
def test_show_names_the_source_of_each_number(cli, name):
    result = cli("hw", "show", name)
    assert (result.code, result.stderr) == (0, "")
    shown = json.loads(cli("hw", "show", name, "--format", "json").stdout)
    level = next(level for level in shown["memory"].values() if level["role"] == "device")
    assert level["capacity"]["source"] in shown["sources"]
    assert shown["hash"] in result.stdout


def test_show_with_a_what_if(cli):
    result = cli("hw", "show", "h100-sxm", "--set", "memory.hbm.bandwidth=2x", "--format", "json")
    bandwidth = json.loads(result.stdout)["memory"]["hbm"]["bandwidth"]
    assert bandwidth["value"] == 2 * H100_BANDWIDTH_BYTES_PER_S
    assert bandwidth["kind"] == "estimated"


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("show", "h100-smx"), "h100-sxm"),
        (("show", "h100-sxm", "--set", "memory.hbm.bandwith=2x"), "bandwidth"),
        (("show", "h100-sxm", "--set", "memory.hbm.bandwidth=3"), "TB/s"),
        (("show", "no/such/file.yaml"), "no/such/file.yaml"),
        (("list", "--format", "xml"), '"table", "json"'),
        (("validate",), "FILE"),
    ],
)
def test_bad_input_says_what_to_write(cli, args, part):
    result = cli("hw", *args)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert part in result.stderr


def test_validate_reports_each_file(cli, tmp_path):
    good = tmp_path / "mine.yaml"
    good.write_text("schema: 1\nid: mine\ntitle: Mine\nextends: [h100-sxm]\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: 1\nid: bad\ntitle: Bad\nextends: [h100-sxm]\nclocks:\n  boost: 2\n  boost: 3 GHz\n")
    result = cli("hw", "validate", str(good), str(bad))
    assert result.code == 2
    assert result.stdout == f"{good}: ok\n"
    assert result.stderr.startswith(f"error: {bad}:")
    assert cli("hw", "validate", str(good)).code == 0
