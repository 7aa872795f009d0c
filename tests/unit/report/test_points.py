import math

import numpy as np
import pytest

from gambrel.errors import UsageError
from gambrel.estimation.table import EstimateTable, estimate_table
from gambrel.report import points as module
from gambrel.report.points import TableSource, plan_points


@pytest.fixture(scope="module")
def table() -> EstimateTable:
    columns = {"tp": [1, 3, 8], "batch": [1, 8, 64, 512], "isl": [1024], "osl": [64]}
    return estimate_table("llama-3.1-8b", "h100-sxm", columns=columns)


def made_up(**columns) -> TableSource:
    """A table of plans with these answers; what is not given is the same for all."""
    count = len(next(iter(columns.values())))
    given = {"status": ["ok"] * count, "latency_s": [1.0] * count, "memory_bytes": [1e9] * count, "tp": range(count)}
    return TableSource(
        EstimateTable(columns={name: list(values) for name, values in {**given, **columns}.items()}), "m"
    )


def test_every_plan_is_there_with_its_numbers(table):
    found = plan_points(TableSource(table, "h100-sxm"))
    assert [row.cells for row in found.rows] == [{**record, "machine": "h100-sxm"} for record in table.rows()]
    for row, record in zip(found.rows, table.rows(), strict=True):
        if row.fits:
            assert row.per_user == 1.0 / record["tpot_s"]
            assert row.per_device == record["tokens_per_s_per_device"]
    assert (found.total, found.cannot_run) == (12, 4)  # tp 3 does not divide the heads
    assert "12 plans" in found.counts_text
    assert found.varied == ["batch", "tp", "devices"]


def test_the_front_is_what_nothing_beats(table):
    rows = [row for row in plan_points(TableSource(table, "h100-sxm")).rows if row.fits]
    for row in rows:
        beaten = any(
            other.per_user >= row.per_user and other.per_device >= row.per_device and other is not row for other in rows
        )
        assert row.on_front is not beaten


def test_what_does_not_fit_is_never_on_the_front():
    found = plan_points(
        made_up(tpot_s=[0.1, 0.01], tokens_per_s_per_device=[10.0, 100.0], status=["ok", "does not fit"])
    )
    assert [row.on_front for row in found.rows] == [True, False]
    assert (found.too_big, found.detailed) == (1, 0)


def test_the_plan_with_the_largest_product_is_detailed():
    found = plan_points(made_up(tpot_s=[0.1, 0.05, 0.01], tokens_per_s_per_device=[100.0, 90.0, 10.0]))
    assert found.detailed == 1  # 10 x 100, 20 x 90, 100 x 10
    assert plan_points(made_up(tpot_s=[0.1, 0.05], tokens_per_s_per_device=[1.0, 1.0]), 0).detailed == 0


def test_where_none_fits_the_smallest_is_detailed():
    found = plan_points(
        made_up(
            tpot_s=[0.1, 0.1, 0.1],
            tokens_per_s_per_device=[1.0, 2.0, 3.0],
            memory_bytes=[3e9, 2e9, 1e9],
            status=["does not fit", "does not fit", "plan.tp: no"],
        )
    )
    assert found.detailed == 1


def test_single_tokens_are_compared_by_latency():
    found = plan_points(made_up(tpot_s=[None, None], latency_s=[2.0, 4.0], tokens_per_s_per_device=[1.0, 2.0]))
    assert [row.per_user for row in found.rows] == [0.5, 0.25]
    assert "latency" in found.per_user_title


def test_a_large_table_keeps_its_front_and_says_what_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    x = np.linspace(1.0, 2.0, 1000)
    front, dominated = (1.0 / x).tolist(), (1.0 / x[:500]).tolist()
    source = made_up(
        tpot_s=front + dominated,
        tokens_per_s_per_device=(3.0 - x).tolist() + [0.5] * 500,
        status=["ok"] * 1400 + ["does not fit"] * 100,
    )
    found = plan_points(source)
    assert sum(row.on_front for row in found.rows) == 1000
    assert len(found.rows) == 1000 + 50
    assert "Shown are all 1,000 of the front, and 50 of the others, drawn at random" in found.counts_text
    assert "1,500 plans: 1,400 fit, 100 lack memory" in found.counts_text
    assert [row.number for row in plan_points(source).rows] == [row.number for row in found.rows]
    assert all(math.isfinite(row.per_user) for row in found.rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [(2, "there is no plan 2"), (-1, "there is no plan -1"), (1, "plan 1 cannot run: plan.tp: no")],
)
def test_a_plan_that_cannot_be_detailed(row, message):
    source = made_up(tpot_s=[0.1, None], tokens_per_s_per_device=[1.0, None], status=["ok", "plan.tp: no"])
    with pytest.raises(UsageError, match=message):
        plan_points(source, row)


def test_nothing_to_show():
    with pytest.raises(UsageError, match=r"no plan can run: plan\.tp: no"):
        plan_points(made_up(tpot_s=[None], tokens_per_s_per_device=[None], status=["plan.tp: no"]))
