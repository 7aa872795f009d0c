"""Estimates of the rows of an Arrow table."""

import numpy as np
import pyarrow as pa
import pytest

import gambrel
from gambrel.errors import PlanError
from gambrel.estimation.table import estimate_table

MODEL, MACHINE = "llama-3.2-1b", "h100-sxm"
COLUMNS = {"tp": [1, 3, 2], "batch": [1, 2, 8], "isl": [64, 512], "weights": [None, "fp8"], "microbatches": [None, 4]}


def evaluate(columns: dict[str, object], **options: object) -> pa.Table:
    return gambrel.evaluate_batch(pa.table(columns), model=MODEL, on=MACHINE, **options)


def assert_rows(found: pa.Table, expected: list[dict[str, object]]) -> None:
    assert found.num_rows == len(expected)
    for row, values in zip(found.to_pylist(), expected, strict=True):
        assert row == {n: pytest.approx(x, rel=1e-9) if isinstance(x, float) else x for n, x in values.items()}


def test_rows_keep_their_order_and_are_those_of_the_table() -> None:
    expected = list(estimate_table(MODEL, MACHINE, columns=COLUMNS).rows())
    order = np.random.default_rng(0).permutation(len(expected))
    asked = [dict(zip(COLUMNS, values, strict=True)) for values in np.ndindex(*map(len, COLUMNS.values()))]
    rows = [{name: COLUMNS[name][i] for name, i in asked[number].items()} for number in order]
    table = pa.Table.from_pylist(rows)
    assert_rows(gambrel.evaluate_batch(table, model=MODEL, on=MACHINE), [expected[number] for number in order])


def test_cutting_a_table_into_batches_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    columns = {"batch": rng.integers(1, 64, 40), "osl": rng.integers(1, 99, 40), "tp": rng.choice([1, 2], 40)}
    table = pa.table(columns)
    whole = gambrel.evaluate_batch(table, model=MODEL, on=MACHINE).to_pylist()
    for start in range(0, 40, 9):
        assert_rows(gambrel.evaluate_batch(table.slice(start, 9), model=MODEL, on=MACHINE), whole[start : start + 9])


def test_columns_may_be_of_any_type_that_says_it() -> None:
    plain = evaluate({"batch": [1, 2], "tp": [1, 2], "kv": ["fp8", None], "prefill_chunk": [None, 128]})
    other = evaluate(
        {
            "batch": pa.array([1, 2], pa.uint8()),
            "tp": np.array([1.0, 2.0]),
            "kv": pa.array(["fp8", None]).dictionary_encode(),
            "prefill_chunk": [float("nan"), 128.0],
            "experts": pa.nulls(2),
        }
    )
    assert other.equals(plain)


def test_no_columns_or_rows_or_values_are_the_defaults() -> None:
    one = gambrel.estimate(MODEL, MACHINE)
    assert evaluate({"isl": pa.array([None], pa.int64())}).column("latency_s").to_pylist() == [one.latency_s]
    empty = evaluate({"isl": pa.array([], pa.int64()), "tp": pa.array([], pa.int64())})
    assert (empty.num_rows, empty.schema) == (0, evaluate({"isl": [1], "tp": [1]}).schema)


def test_rows_say_how_many_devices_they_use() -> None:
    found = evaluate({"batch": [16, 16, 16], "devices": [8, None, 2], "tp": [2, 2, 2]}, devices=4)
    assert found.column("devices").to_pylist() == [8, 4, 2]
    assert found.column("dp").to_pylist() == [4, 2, 1]


def test_what_ifs_hold_for_all_rows() -> None:
    found = evaluate({"batch": [4]}, overrides=["memory.hbm.bandwidth=2x"])
    alone = gambrel.estimate(MODEL, MACHINE, workload=gambrel.Workload(batch=4), overrides=["memory.hbm.bandwidth=2x"])
    assert found.column("tpot_s").to_pylist() == [pytest.approx(alone.tpot_s)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"bacth": [1]}, "bacth: unknown column. Did you mean 'batch'"),
        ({"batch": [4, 0]}, "batch, row 1: 0 is not a count of 1 or more"),
        ({"isl": [1.5]}, "isl, row 0: 1.5 is not a count"),
        ({"prefix": [0, -1]}, "prefix, row 1: -1 is not a count of 0 or more"),
        ({"tp": [1, 1.5]}, "plan.tp: 1.5 is not whole"),
        ({"batch": ["8"]}, "batch: holds string. Give numbers"),
        ({"kv": [8]}, "kv: holds int64. Give text"),
        ({"placement": ["tp"]}, "plan.placement: 'tp' is no order"),
        ({"devices": [0]}, "devices: 0 is not a count"),
    ],
)
def test_a_wrong_table_is_an_error(columns: dict[str, list[object]], said: str) -> None:
    with pytest.raises(PlanError) as caught:
        evaluate(columns)
    assert said in str(caught.value)


def test_a_column_that_stands_twice_is_an_error() -> None:
    table = pa.table([[1], [2]], names=["batch", "batch"])
    with pytest.raises(PlanError, match="batch: stands twice"):
        gambrel.evaluate_batch(table, model=MODEL, on=MACHINE)
