"""Profiles made from others: `extends` in files, `--set` on the command line."""

import pytest

from gambrel.errors import ProfileError
from gambrel.hardware.load import ManyWhatIfs, load_device, load_profile, validate_file

CHILD = """\
schema: 1
id: child
title: Child of the toy
extends: toy
year: 2027
default_source: memo
memory:
  hbm:
    capacity: 160 GB
    bandwidth: {value: 2 TB/s, kind: estimated}
links: {slow: null}
sources:
  memo: {kind: measured, ref: "A memo"}
"""


@pytest.fixture
def child(profile_file):
    profile_file()
    return profile_file(text=CHILD, name="child")


def test_a_child_merges_by_key(child):
    profile = load_profile(child)
    assert list(profile.memory) == ["smem", "l2", "hbm"]
    assert list(profile.links) == ["fast"]
    hbm = profile.memory["hbm"]
    assert hbm.bandwidth
    assert hbm.energy
    assert (hbm.capacity.value, hbm.capacity.source, hbm.capacity.kind) == (160e9, "memo", "measured")
    assert (hbm.bandwidth.value, hbm.bandwidth.source, hbm.bandwidth.kind) == (2e12, "memo", "estimated")
    assert (hbm.energy.value, hbm.energy.source, hbm.energy.kind) == (4e-12 * 8, "sheet", "datasheet")
    assert (profile.id, profile.year, profile.power.tdp.value) == ("child", 2027, 300.0)


def test_a_replaced_value_loses_its_old_note(profile_file):
    profile_file(("tdp: 300 W", "tdp: {value: 300 W, note: with air, date: 2020}"))
    child = profile_file(text=CHILD + "power: {tdp: 400 W}\n", name="child")
    tdp = load_profile(child).power.tdp
    assert (tdp.value, tdp.note, tdp.date, tdp.source) == (400.0, "", "", "memo")


def test_identity_is_not_inherited(profile_file):
    profile_file(("year: 2026", "year: 2026\nstatus: retired\naliases: [tiny]"))
    child = profile_file(text=CHILD.replace("title: Child of the toy\n", ""), name="child")
    (problem,) = validate_file(child)
    assert problem.what == "title is missing"


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("extends: toy", "extends: toyy", "4:10", ["'toyy', which is not there"]),
        ("extends: toy", "extends: nvidia-hoper", "4:10", ["'nvidia-hopper'"]),
        ("extends: toy", "extends: child", "4:10", ["circle", "child -> child"]),
        ("{slow: null}", "{slwo: null}", "11:9", ["null removes 'links.slwo'", "'slow'"]),
        ("  memo:", "  sheet: {kind: measured, ref: Other}\n  memo:", "13:3", ["source 'sheet' is defined twice"]),
    ],
)
def test_a_bad_child(profile_file, old, new, where, words):
    profile_file()
    path = profile_file((old, new), text=CHILD, name="child")
    texts = [str(p) for p in validate_file(path) if p.where == f"{path}:{where}"]
    assert texts, validate_file(path)
    for word in words:
        assert word in texts[0]


def test_a_longer_circle_is_named(profile_file):
    profile_file(("id: toy", "id: toy\nextends: child"))
    child = profile_file(text=CHILD, name="child")
    (problem,) = validate_file(child)
    assert problem.why == "child -> toy -> child"


def test_an_error_in_a_base_points_at_the_base(profile_file):
    base = profile_file(("tdp: 300 W", "tdp: 300"))
    child = profile_file(text=CHILD, name="child")
    (problem,) = validate_file(child)
    line = base.read_text().splitlines().index("power: {tdp: 300, idle: 50 W, all_in: 600 W}") + 1
    assert problem.where == f"{base}:{line}:14"


def test_an_abstract_base_may_be_incomplete_but_is_no_device(profile_file):
    text = "schema: 1\nid: base\ntitle: Base\nabstract: true\ndefault_source: s\nclocks: {core: 1 GHz}\n"
    base = profile_file(text=text + "sources: {s: {kind: datasheet, ref: Sheet}}\n", name="base")
    assert validate_file(base) == []
    with pytest.raises(ProfileError, match="base for other profiles"):
        load_profile(base)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2x", 2e12), ("0.5x", 5e11), ("+10%", 1.1e12), ("-10 %", 0.9e12), ("6 TB/s", 6e12), ("400 Gb/s", 5e10)],
)
def test_override_forms(profile_file, value, expected):
    bandwidth = load_profile(profile_file(), [f"memory.hbm.bandwidth={value}"]).memory["hbm"].bandwidth
    assert bandwidth
    assert bandwidth.value == pytest.approx(expected, rel=1e-12)
    assert (bandwidth.kind, bandwidth.source) == ("estimated", "what-if")
    assert bandwidth.note.startswith("what-if")


def test_overrides_reach_text_sections_and_new_fields(profile_file):
    overrides = [
        "links.fast.topology=ring",
        "links.fast.in_network_reduction=true",
        "links.fast.size=16",
        "links.slow=null",
        "engine=roofline",
        "price.rent=2 USD/h",
        "parameters.gemm.launch=3 us",
    ]
    device = load_device(profile_file(), overrides)
    (link,) = device.links
    assert (link.topology, link.in_network_reduction, link.size) == ("ring", True, 16)
    assert (device.engine, device.price_usd_per_h) == ("roofline", 2.0)
    assert device.parameters == {"gemm": {"launch": 3e-6}}


def test_overrides_apply_in_order(profile_file):
    device = load_device(profile_file(), ["power.tdp=500 W", "power.tdp=2x"])
    assert device.power.tdp_w == 1000.0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("memory.hbn.bandwidth=2x", ["no 'memory.hbn'", "'hbm'"]),
        ("memory.hbm.bandwith=2x", ["no 'memory.hbm.bandwith'", "'bandwidth'"]),
        ("memory.hbm.bandwith=6 TB/s", ["unknown key 'bandwith'", "'bandwidth'"]),
        ("memory.hbm.bandwidth=6 TB", ["measured in B", "B/s is wanted"]),
        ("memory.hbm.bandwidth=6", ["bare number"]),
        ("memory.hbm.bandwidth=0x", ["not positive"]),
        ("memory.hbm.bandwidth=-150%", ["not positive"]),
        ("memory.hbm=2x", ["is a section", "bandwidth"]),
        ("power.tdp.value=2x", ["power.tdp is a value"]),
        ("power.idle.watt=null", ["power.idle is a value"]),
        ("links.fast.size=100", ["domains grow outward"]),
        ("links.fast.topology=rings", ["'ring'"]),
        ("links.none=null", ["no 'links.none'"]),
        ("nonsense", ["PATH=VALUE"]),
        ("=2x", ["PATH=VALUE"]),
        ("power.tdp=", ["PATH=VALUE"]),
    ],
)
def test_a_bad_override(profile_file, override, words):
    with pytest.raises(ProfileError) as caught:
        load_profile(profile_file(), [override])
    for word in words:
        assert word in str(caught.value)


def test_all_bad_overrides_come_at_once(profile_file):
    with pytest.raises(ProfileError) as caught:
        load_profile(profile_file(), ["a=2x", "b=2x"])
    assert [p.where for p in caught.value.problems] == ["--set a=2x", "--set b=2x"]


def test_a_what_if_may_leave_physics_behind(profile_file):
    device = load_device(profile_file(), ["clocks.core=2x", "memory.hbm.bandwidth=10x"])
    assert (device.clock_hz, device.memory_bandwidth_bytes_per_s) == (2e9, 1e13)
    assert device.matrix_flops_per_s["bf16"] == 20e12


def test_the_hash_follows_the_numbers(profile_file):
    path = profile_file()
    plain = load_profile(path)
    assert plain.hash == load_profile(path).hash
    assert len(plain.hash) == 12
    assert load_profile(path, ["power.tdp=2x"]).hash != plain.hash
    assert load_profile(path, ["power.tdp=3x"]).hash != load_profile(path, ["power.tdp=2x"]).hash


def test_the_hash_does_not_depend_on_where_the_file_lies(profile_file, tmp_path):
    path = profile_file()
    moved = tmp_path / "folder" / "toy.yaml"
    moved.parent.mkdir()
    moved.write_text(path.read_text())
    assert load_profile(moved).hash == load_profile(path).hash


def test_parameter_grades(profile_file):
    fitted = "{value: 2 us, kind: fitted}"
    profile_file(("sources:", f"parameters: {{gemm: {{launch: {fitted}}}, norm: {{launch: {fitted}}}}}\nsources:"))
    child = profile_file(text=CHILD + "parameters: {gemm: {launch: 3 us}}\n", name="child")
    profile = load_profile(child)
    assert profile.parameter_grades == {"gemm": "calibrated", "norm": "transferred"}
    assert profile.parameters["gemm"]["launch"].value == 3e-6


def test_many_what_ifs_read_the_files_once(child):
    many = ManyWhatIfs.of(child)
    expected = {text: load_profile(child, (text,), residuals=False) for text in ("power.tdp=2x", "power.tdp=1 kW")}
    child.write_text("gone")
    assert {text: many.profile((text,)) for text in expected} == expected
    with pytest.raises(ProfileError, match="Did you mean 'tdp'"):
        many.profile(("power.tpd=2x",))
