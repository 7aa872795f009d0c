"""Each way to write a profile wrongly: what is said, and where."""

import pytest

from gambrel.errors import ProfileError
from gambrel.hardware.load import load_profile, validate_file


def place(path, at):
    """file:line:column of the first occurrence of a piece of the file."""
    before = path.read_text().partition(at)[0]
    return f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def test_the_toy_profile_is_valid(profile_file):
    assert validate_file(profile_file()) == []


@pytest.mark.parametrize(
    ("old", "new", "at", "words"),
    [
        ("idle: 50 W", "idle: 50", "50,", ["power.idle", "bare number", "700 W"]),
        ("capacity: 80 GB", "capacity: 80 Gb/s", "80 Gb/s", ["memory.hbm.capacity", "measured in B/s", "80 GiB"]),
        ("bandwidth: 1 TB/s", "bandwidth: 1 TBps", "1 TBps", ["unknown unit", "'TB/s'"]),
        ("bandwidth: 1 TB/s", "bandwidth: fast", "fast,", ["not a quantity"]),
        ("bandwidth: 1 TB/s", "bandwith: 1 TB/s", "bandwith", ["unknown key 'bandwith' in memory.hbm", "'bandwidth'"]),
        ("power:", "pwoer:", "pwoer", ["unknown key 'pwoer'", "'power'"]),
        ("bf16: {dense", "bf61: {dense", "bf61", ["unknown key 'bf61' in compute.matrix", "'bf16'"]),
        ("tdp: 300 W", "tdp: {value: 300 W, source: shet}", "shet", ["undeclared source 'shet'", "'sheet'"]),
        ("tdp: 300 W", "tdp: {value: 300 W, knid: derived}", "knid", ["unknown key 'knid' in power.tdp", "'kind'"]),
        ("tdp: 300 W", "tdp: {value: 300 W, kind: measurd}", "measurd", ["unknown kind 'measurd'", "'measured'"]),
        ("tdp: 300 W", "tdp: {value: 300 W, kind: assumed}", "{value: 300 W", ["assumed without a note"]),
        ("tdp: 300 W", "tdp: {source: sheet}", "{source: sheet}", ["power.tdp has no value"]),
        ("tdp: 300 W", "tdp: [300 W]", "[300 W]", ["power.tdp is a list"]),
        ("tdp: 300 W, ", "", "{idle: 50 W", ["power.tdp is missing", "Add `tdp:`"]),
        ("year: 2026", "year: soon", "soon", ["year is 'soon'", "whole number"]),
        ("kind: gpu", "kind: gpuu", "gpuu", ["kind is 'gpuu'", "'gpu'"]),
        ("schema: 1", "schema: 2", "2\nid", ["schema is '2'"]),
        ("title: Toy device", "title:", "title:", ["null removes 'title'"]),
        ("scope: sm", "scope: ms", "ms,", ["memory.smem.scope is 'ms'", "'sm'"]),
        ("unit: sm", "unit: cu", "cu\n", ["compute.unit is 'cu'", "`units` lacks"]),
        ("clock: core", "clock: cor", "cor\n", ["compute.clock is 'cor'", "'core'"]),
        ("role: device", "role: cache", "smem", ["0 memory levels have the role `device`"]),
        ("links:\n", "links: none\nhosts:\n", "none\nhosts", ["links is not a mapping"]),
        ("  fast: {", "  fa.st: {", "fa.st", ["'fa.st' in links is not a name"]),
    ],
)
def test_one_mistake(profile_file, old, new, at, words):
    path = profile_file((old, new))
    problems = validate_file(path)
    texts = [str(p) for p in problems if p.where == place(path, at)]
    assert texts, (place(path, at), [str(p) for p in problems])
    for word in words:
        assert any(word in text for text in texts), texts


def test_gb_and_gib_differ(profile_file):
    gb = load_profile(profile_file()).memory["hbm"].capacity.value
    gib = load_profile(profile_file(("80 GB", "80 GiB"))).memory["hbm"].capacity.value
    assert (gb, gib) == (80 * 1e9, 80 * 2**30)


def test_a_number_without_a_source(profile_file):
    problems = validate_file(profile_file(("default_source: sheet\n", "")))
    assert any("power.tdp has no source" in p.what for p in problems)
    assert all("has no source" in p.what for p in problems)


def test_a_duplicate_key_shows_both_lines(profile_file):
    path = profile_file(("  l2:", "  hbm: {role: cache, capacity: 1 MB}\n  l2:"))
    (problem,) = validate_file(path)
    assert problem.where == place(path, "hbm: {role: device")
    assert "'hbm' is given twice" in problem.what
    assert place(path, "hbm: {role: cache") in problem.why


def test_all_errors_come_at_once(profile_file):
    path = profile_file(("tdp: 300 W", "tdp: 301"), ("capacity: 80 GB", "capacity: 81"), ("year: 2026", "year: x"))
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert {p.where for p in caught.value.problems} == {place(path, at) for at in ("301", "81", "x\n")}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [1", "not YAML"),
        ("a: 'x", "not YAML"),
        ("\ta: 1", "not YAML"),
        ("- 1\n- 2\n", "not a profile"),
        ("", "not a profile"),
        ("just text", "not a profile"),
        ("a: &x 1\nb: *x\n", "an alias"),
        ("a: 1\n---\nb: 2\n", "a second document"),
    ],
)
def test_not_a_profile_at_all(profile_file, text, word):
    problems = validate_file(profile_file(text=text))
    assert word in problems[0].what


def test_unreadable_files(tmp_path):
    missing = tmp_path / "none.yaml"
    assert "cannot be read" in validate_file(missing)[0].what
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"id: \xff\xfe")
    assert "not UTF-8" in validate_file(binary)[0].what
    assert "cannot be read" in validate_file(tmp_path)[0].what


def test_yaml_1_2_scalars(profile_file):
    # YAML 1.1 would read `no` as false and 1e3 as text.
    profile = load_profile(profile_file(("vendor: acme", "vendor: no"), ("count: 10", "count: 1e1")))
    assert profile.vendor == "no"
    assert profile.units["sm"].count.value == 10.0
