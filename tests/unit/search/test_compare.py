"""What changed between two sweeps, or between two estimates."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gambrel
from gambrel.errors import UsageError
from gambrel.estimation.metrics import METRICS
from gambrel.search import ratios
from gambrel.search.compare import Comparison, compare
from gambrel.search.ratios import Quantiles, RatioCount
from gambrel.search.runs import Run
from gambrel.search.sweep import Listener, sweep

MODEL = "llama-3.2-1b"


def run(folder: Path, on: str = "h100-sxm", part_rows: int = 7, **question: object) -> Run:
    return sweep(MODEL, on, output=folder, part_rows=part_rows, **question)


def answers(run: Run) -> dict[tuple[object, ...], dict[str, object]]:
    """Rows by what they ask."""
    names = ("memory.hbm.bandwidth", "tp", "batch", "isl")
    rows = run.dataset().to_table().to_pylist()
    return {tuple(row.get(name) for name in names): row for row in rows}


def metric(found: Comparison, name: str):
    return next(each for each in found.metrics if each.metric == name)


def test_rows_are_joined_by_what_they_ask(tmp_path: Path) -> None:
    """Other machines, other orders, other lists, another cut into parts, and a what-if on one side alone."""
    a = run(tmp_path / "a", columns={"tp": [1, 2], "batch": [1, 2, 4, 8], "isl": [64, 256]})
    b = run(
        tmp_path / "b",
        on="h200-sxm",
        part_rows=5,
        columns={"tp": [2, 1, 3], "batch": [8, 4, 16, 1], "isl": [256, 64]},
        overrides={"memory.hbm.bandwidth": ["2x", "1x"]},
    )
    found = compare(tmp_path / "a", tmp_path / "b")
    rows_a, rows_b = answers(a), answers(b)
    common = [key for key in rows_a if ("1x", *key[1:]) in rows_b]
    assert (found.rows_a, found.rows_b, found.common) == (16, 48, len(common)) == (16, 48, 12)
    assert (found.only_a, found.only_b) == (4, 36)
    assert [each._asdict() for each in found.differences] == [{"what": "on", "a": "h100-sxm", "b": "h200-sxm"}]
    assert {each.column: (each.a, each.b) for each in found.only} == {
        "memory.hbm.bandwidth": ([], ["2x"]),
        "tp": ([], [3]),
        "batch": ([2], [16]),
    }
    for name in METRICS:
        expected = {key: rows_b["1x", *key[1:]][name] / rows_a[key][name] for key in common}
        its = metric(found, name)
        assert its.rows == 12
        assert its.changed == sum(abs(ratio - 1) > 1e-9 for ratio in expected.values())
        quantiles = np.quantile(list(expected.values()), [0.5, 0.05, 0.95, 0.0, 1.0])
        assert [its.median, its.p5, its.p95, its.least, its.most] == pytest.approx(quantiles.tolist())
        for change in its.largest:
            key = (None, *(change.point[column] for column in ("tp", "batch", "isl")))
            assert change.ratio == pytest.approx(expected[key])
            assert (change.a, change.b) == (rows_a[key][name], rows_b["1x", *key[1:]][name])
    ttft = metric(found, "ttft_s")
    sizes = sorted((abs(np.log(rows_b["1x", *k[1:]]["ttft_s"] / rows_a[k]["ttft_s"])) for k in common), reverse=True)
    assert [abs(np.log(change.ratio)) for change in ttft.largest] == pytest.approx(sizes[:3])


def test_a_sweep_is_the_same_as_itself(tmp_path: Path) -> None:
    run(tmp_path / "a", columns={"tp": [1, 3], "batch": [1, 2, 4]})
    found = compare(tmp_path / "a", tmp_path / "a")
    assert (found.common, found.only_a, found.only_b, found.differences, found.statuses) == (6, 0, 0, [], {})
    assert {(each.rows, each.changed, each.median, each.largest == []) for each in found.metrics} == {(3, 0, 1.0, True)}


def test_rows_that_begin_or_cease_to_run_are_counted(tmp_path: Path) -> None:
    columns = {"batch": [1, 2048, 65536]}
    run(tmp_path / "a", columns=columns)
    run(tmp_path / "b", columns=columns, overrides={"memory.hbm.capacity": ["4x"]})
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.statuses == {"does not fit -> ok": 1}
    assert [each._asdict() for each in found.differences] == [{"what": "memory.hbm.capacity", "a": "1x", "b": "4x"}]


def test_another_version_or_profile_is_a_difference(tmp_path: Path) -> None:
    for name in "ab":
        run(tmp_path / name, columns={"batch": [1, 2]})
    path = tmp_path / "b" / "manifest.json"
    record = json.loads(path.read_text())
    record["version"] = "9.9"
    record["inputs"]["on"]["h100-sxm"] = "0" * 12
    path.write_text(json.dumps(record))
    found = compare(tmp_path / "a", tmp_path / "b")
    assert [(each.what, each.b) for each in found.differences] == [
        ("version", "9.9"),
        ("content of on h100-sxm", "0" * 12),
    ]


def test_sweeps_without_a_common_row(tmp_path: Path) -> None:
    run(tmp_path / "a", columns={"batch": [1, 2], "isl": [64, 128]})
    run(tmp_path / "b", columns={"batch": [3, 4], "isl": [64, 128]})
    found = compare(tmp_path / "a", tmp_path / "b")
    assert (found.common, found.only_a, found.only_b) == (0, 4, 4)
    assert {(each.rows, each.median) for each in found.metrics} == {(0, None)}


def test_two_estimates(tmp_path: Path) -> None:
    one = gambrel.estimate(MODEL, "h100-sxm")
    two = gambrel.estimate(MODEL, "h100-sxm", plan=gambrel.Plan(tp=2), overrides=["power.tdp=2x"])
    for name, estimate in (("a", one), ("b", two)):
        (tmp_path / name).write_text(json.dumps(estimate.to_dict(), default=lambda record: record.__dict__))
    found = compare(tmp_path / "a", tmp_path / "b")
    assert (found.rows_a, found.rows_b, found.common) == (1, 1, 1)
    changed = {each.what: (each.a, each.b) for each in found.differences}
    assert changed.keys() == {"tp", "devices", "overrides", "profile_hash"}
    assert changed["overrides"] == ([], ["power.tdp=2x"])
    assert metric(found, "latency_s").median == two.latency_s / one.latency_s
    assert metric(found, "memory_bytes").median == two.memory.total_bytes / one.memory.total_bytes
    assert metric(found, "decode_mbu").median == two.decode.mbu / one.decode.mbu


def test_two_tables(tmp_path: Path) -> None:
    lists = {"a": {"tp": [1, 3], "batch": [1, 2]}, "b": {"batch": [2, 4, 1], "weights": ["fp8"]}}
    for name, columns in lists.items():
        rows = list(gambrel.estimate_table(MODEL, "h100-sxm", columns=columns).rows())
        (tmp_path / name).write_text(json.dumps(rows))
    found = compare(tmp_path / "a", tmp_path / "b")
    # Keys are columns that vary on a side: there, rows that cannot run leave open ones empty.
    assert {each.column for each in found.only} >= {"tp", "batch"}
    assert (found.rows_a, found.rows_b, found.common) == (4, 3, 2)
    assert {each.what for each in found.differences} == {"weights", "activations"}
    assert metric(found, "latency_s").most < 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "holds no estimates"),
        ("[]", "holds no estimates"),
        ("[1]", "holds no estimates"),
        ('{"a": 1}', "holds no"),
    ],
)
def test_a_file_without_estimates_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(UsageError, match=said):
        compare(tmp_path / "a", tmp_path / "a")


def test_what_cannot_be_compared_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        compare(tmp_path / "a", tmp_path / "b")
    (tmp_path / "file").write_text("{}")
    with pytest.raises(UsageError, match="a folder and a file"):
        compare(tmp_path, tmp_path / "file")
    with pytest.raises(UsageError, match="holds no sweep"):
        compare(tmp_path, tmp_path)


def test_an_unfinished_sweep_is_an_error(tmp_path: Path) -> None:
    class Stopped(BaseException):
        pass

    def stop(progress) -> None:
        if progress.rows:
            raise Stopped

    with pytest.raises(Stopped):
        run(tmp_path / "a", columns={"batch": [1, 2, 3]}, part_rows=1, listener=Listener(progress=stop))
    with pytest.raises(UsageError, match="is unfinished: 1 of 3 files"):
        compare(tmp_path / "a", tmp_path / "a")


@given(
    numbers=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    share=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
)
def test_quantiles_of_pieces(numbers: list[float], cuts: list[int], share: float) -> None:
    exact, counted = Quantiles(), Quantiles()
    counted._counts = np.zeros(2 * round(ratios.REACH / ratios.WIDTH) + 1, dtype=np.int64)
    for piece in np.split(np.array(numbers), sorted(cuts)):
        exact.add(piece)
        counted.add(piece)
    assert exact.at((share,))[0] == pytest.approx(np.quantile(numbers, share))
    nearest = np.quantile(numbers, share, method="lower")
    assert counted.at((share,))[0] == pytest.approx(nearest, rel=2 * ratios.WIDTH)


def test_beyond_a_million_ratios_are_counted() -> None:
    quantiles = Quantiles()
    values = np.exp(np.random.default_rng(0).normal(size=(3, 500_000)))
    for piece in values:
        quantiles.add(piece)
    assert not quantiles.exact
    assert not quantiles._kept
    shares = (0.05, 0.5, 0.95)
    assert quantiles.at(shares) == pytest.approx(np.quantile(values, shares).tolist(), rel=2 * ratios.WIDTH)


def test_the_largest_changes_of_all_pieces_are_kept() -> None:
    count = RatioCount()
    rng = np.random.default_rng(1)
    factors = np.exp(rng.normal(size=1000))
    rows = np.arange(1000)
    for piece in np.split(rows, 10):
        count.add(np.ones(100), factors[piece], piece)
    order = np.argsort(-np.abs(np.log(factors)))[:3]
    assert [change.row for change in count.result().largest] == order.tolist()


def test_rows_without_a_number_on_either_side_count_for_nothing() -> None:
    count = RatioCount()
    values = np.array([1.0, np.nan, 0.0, np.inf, 2.0])
    count.add(values, np.array([2.0, 1.0, 1.0, 1.0, 2.0 * (1 + 1e-12)]), np.arange(5))
    result = count.result()
    assert (result.rows, result.changed, result.least, result.most) == (2, 1, pytest.approx(1.0), 2.0)
