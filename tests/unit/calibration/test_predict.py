"""Predictions from columns: any kind of table, libraries, aliases, bounds, energy, and bad input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import gambrel
from gambrel.calibration.ops.common import LOOP
from gambrel.calibration.ops.gemm import OVERHEAD_S
from gambrel.cost.energy import operate
from gambrel.cost.engines import price
from gambrel.cost.kernel import BOUNDS, Gemm
from gambrel.cost.roofline import roofline
from gambrel.errors import PlanError, UnpricedOpError
from gambrel.hardware.load import load_device

H100 = load_device("h100-sxm")
GEMM = {"m": [64, 4096, 1], "n": [4096, 4096, 8192], "k": [4096, 8192, 8192], "dtype": "bfloat16"}


def plain(device=H100, library="", **changes):
    sizes = {name: np.array(GEMM[name], dtype=float) for name in "mnk"} | changes
    return Gemm(**sizes, batch=1.0, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0, library=library)


def test_a_table_without_provenance_is_priced_cold_and_for_no_library():
    estimates = gambrel.predict_kernels("gemm", "h100-sxm", GEMM)
    assert estimates.seconds == pytest.approx(price(plain(), H100).seconds)
    assert set(estimates.bound) <= set(BOUNDS)
    assert len(estimates) == 3


def test_a_measured_library_has_its_parameters_and_its_loop():
    estimates = gambrel.predict_kernels("gemm", H100, {**GEMM, "backend": "trtllm"})
    assert estimates.seconds == pytest.approx(price(plain(library="trtllm"), H100, LOOP).seconds)


def test_the_overhead_of_a_library_is_added_once():
    fp8 = gambrel.predict_kernels("gemm", H100, {**GEMM, "dtype": "fp8", "backend": ["trtllm", "trtllm", "sglang"]})
    kernel = replace(plain(library="trtllm"), rate="fp8", a_bytes=1.0, b_bytes=1.0, quantized_from_bytes=2.0)
    assert fp8.seconds[:2] == pytest.approx(price(kernel, H100, LOOP).seconds[:2] + OVERHEAD_S["fp8", "trtllm"])


def test_the_kind_of_table_does_not_matter():
    columns = {name: np.array(GEMM[name]) for name in "mnk"} | {"dtype": ["bf16", "fp8", "bf16"]}
    mapping = gambrel.predict_kernels("gemm", H100, columns)
    arrow = gambrel.predict_kernels("gemm", H100, pa.table(columns))
    encoded = pa.table({**columns, "dtype": pa.array(columns["dtype"]).dictionary_encode()})
    frame = pd.DataFrame(columns)
    for other in (
        arrow,
        gambrel.predict_kernels("gemm", H100, encoded),
        gambrel.predict_kernels("gemm", H100, frame),
        gambrel.predict_kernels("gemm", H100, frame.astype({"dtype": "category", "m": "Int64"})),
    ):
        assert np.array_equal(other.seconds, mapping.seconds)


def test_rows_keep_their_order_whatever_calls_they_belong_to():
    alone = gambrel.predict_kernels("gemm", H100, {**GEMM, "dtype": "fp8"}).seconds
    mixed = gambrel.predict_kernels("gemm", H100, {**GEMM, "dtype": ["bf16", "fp8", "bf16"]}).seconds
    bf16 = gambrel.predict_kernels("gemm", H100, GEMM).seconds
    assert mixed.tolist() == [bf16[0], alone[1], bf16[2]]


def test_another_name_of_a_column_fills_the_rows_that_lack_one():
    ours = {
        "batch": [8, 4],
        "kv_len": [4096, 512],
        "num_heads": [32, 8],
        "num_kv_heads": [8, 8],
        "head_dim": [128, 128],
    }
    theirs = {"b": [8, 4], "s": [4096, 512], "hq": [32, 8], "hkv": [8, 0], "d": [128, 128]}
    both = {**{name: [values[0], None] for name, values in ours.items()}, **theirs}
    expected = gambrel.predict_kernels("attention_decode", H100, {**ours, "dtype": "bf16"})
    for table in (theirs, both):
        found = gambrel.predict_kernels("attention_decode", H100, {**table, "dtype": "bf16"})
        assert np.array_equal(found.seconds, expected.seconds), "hkv of 0 means as many key heads as query heads"
    assert len(gambrel.predict_kernels("generation_attention", H100, {**ours, "dtype": "bf16"})) == 2


def test_a_window_bounds_the_keys_of_prefill_also_behind_a_long_prefix():
    shape = {"batch": 1, "num_heads": 8, "num_kv_heads": 8, "head_dim": 128, "dtype": "bf16"}
    from gambrel.calibration.operation import Operation
    from gambrel.calibration.tables import operation_named, read_table

    operation: Operation = operation_named("attention_prefill")
    table = {**shape, "s": [4.0, 4.0, 4.0], "prefix": [0.0, 10.0, 2.0], "window": [0.0, 3.0, 3.0]}
    (group,) = operation.groups(read_table(operation, table).rows)
    (kernel,) = operation.build(group.rows).kernels
    assert kernel.pairs.tolist() == [1 + 2 + 3 + 4, 3 + 3 + 3 + 3, 3 + 3 + 3 + 3]
    assert kernel.kv_len.tolist() == [4.0, 3 + 4, 2 + 4]


def test_watts_are_joules_over_seconds_and_absent_where_the_profile_has_no_energies():
    estimates = gambrel.predict_kernels("gemm", H100, GEMM)
    assert estimates.joules == pytest.approx(operate(plain(), H100).joules)
    assert estimates.watts == pytest.approx(estimates.joules / estimates.seconds)
    assert np.all(estimates.watts <= H100.power.tdp_w * (1 + 1e-9))
    dark = replace(H100, power=replace(H100.power, energy_per_flop_j={}, energy_per_byte_j=None))
    assert gambrel.predict_kernels("gemm", dark, GEMM).watts is None


def test_forms_of_the_answer():
    estimates = gambrel.predict_kernels("gemm", H100, GEMM)
    plain_columns = estimates.to_dict()
    assert {"seconds", "lower_s", "upper_s", "bound", "grade", "watts", "joules"} <= set(plain_columns)
    assert plain_columns["seconds"] == estimates.seconds.tolist()
    assert estimates.to_arrow().to_pydict() == plain_columns
    assert estimates.to_pandas()["bound"].tolist() == plain_columns["bound"]


def test_an_empty_call_takes_no_time_and_an_empty_table_has_no_rows():
    assert gambrel.predict_kernels("gemm", H100, {**GEMM, "m": 0}).seconds.tolist() == [0.0, 0.0, 0.0]
    none = gambrel.predict_kernels("gemm", H100, {"m": [], "n": [], "k": [], "dtype": []})
    assert len(none) == 0


def test_no_estimate_is_below_the_roofline():
    estimates = gambrel.predict_kernels("gemm", H100, GEMM)
    assert np.all(estimates.seconds >= roofline(plain(), H100).seconds)


def test_all_mistakes_at_once():
    table = {"m": [1.0, -2.0], "n": [1.0, np.nan], "dtype": ["bf17", "bf16"]}
    with pytest.raises(PlanError) as caught:
        gambrel.predict_kernels("gemm", "h100-sxn", table)
    assert [problem.where for problem in caught.value.problems] == ["h100-sxn", "m", "n", "k", "dtype"]
    text = str(caught.value)
    assert "unknown device" in text
    assert "Did you mean 'h100-sxm'" in text
    assert "is negative in 1 of 2 rows, first in row 1 (-2)" in text
    assert "has no value in 1 of 2 rows, first in row 1" in text
    assert "no such column: gemm needs it: The contracted dimension" in text
    assert "unknown value 'bf17'. Did you mean 'bf16'" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": [1.0, 2.0]}, "columns: have different lengths: m 2, n 3, k 3"),
        ({"m": [[1.0, 2.0, 3.0]]}, "m: has 2 dimensions"),
        ({"m": ["a", "b", "c"]}, "m: is not numbers"),
        ({"m": [1.0, 2.0, np.inf]}, "m: is infinite in 1 of 3 rows"),
        ({"dtype": ["bf16", None, "bf16"]}, "dtype: has no value in 1 of 3 rows, first in row 1"),
    ],
)
def test_bad_columns(changes, message):
    with pytest.raises(PlanError) as caught:
        gambrel.predict_kernels("gemm", H100, {**GEMM, **changes})
    assert str(caught.value).startswith(message)
    assert len(caught.value.problems) == 1


def test_an_unknown_operation_is_never_guessed():
    with pytest.raises(PlanError, match=r"attention_prefil: unknown operation. Did you mean 'attention_prefill'"):
        gambrel.predict_kernels("attention_prefil", H100, {})


def test_an_operation_without_an_engine_is_refused(monkeypatch):
    from gambrel.calibration import tables

    bare = replace(tables.OPERATIONS["gemm"], build=None)
    monkeypatch.setattr(tables, "OPERATIONS", {"gemm": bare})
    with pytest.raises(UnpricedOpError, match="gemm: cannot be estimated: no engine prices it"):
        gambrel.predict_kernels("gemm", H100, GEMM)


def test_a_collective_needs_links():
    alone = replace(H100, links=())
    with pytest.raises(PlanError, match="has no link"):
        gambrel.predict_kernels("collective", alone, {"collective": "all_reduce", "num_gpus": 8, "message_bytes": 1e6})
