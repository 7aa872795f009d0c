"""Many points at once: each is what `estimate` says of it alone, whatever it is evaluated together with."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import gambrel
from gambrel.cost.rates import rates_of
from gambrel.cost.whatif import SWITCHES, layout, stack
from gambrel.errors import PlanError
from gambrel.estimation.many import Asked, Setting, Words, answer, counts
from gambrel.estimation.metrics import METRICS, metrics
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.table import estimate_table
from gambrel.estimation.variant import Structure, compile_variant
from gambrel.hardware.device import Device, Link, Power

RELATIVE = 1e-9

CASES = {
    "dense, degrees and formats between lengths": (
        "llama-3.1-70b",
        "h100-sxm",
        None,
        {"isl": [128, 4096], "tp": [1, 3, 8], "batch": [1, 7], "weights": [None, "fp8"], "osl": [1, 2, 256]},
    ),
    "stages and what they leave open": (
        "llama-3.1-8b",
        "a100-sxm-80gb",
        None,
        {"pp": [1, 2, 100], "batch": [1, 6, 64], "microbatches": [None, 4], "dp": [None, 2], "sub_batches": [1, 2, 3]},
    ),
    "experts": (
        "mixtral-8x7b",
        "h200-sxm",
        8,
        {"tp": [2, 8], "ep": [None, 3, 4], "strategy": [None, "moe-ep", "attention-dp-moe-ep"], "batch": [4, 32]},
    ),
    "learned positions": (
        "gpt3-175b",
        "a100-sxm-80gb",
        None,
        {"tp": [8, 5], "isl": [1024, 2048], "osl": [1, 1024], "prefix": [0, 7], "strategy": ["megatron", "nonsense"]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_row_of_a_table_is_the_estimate_of_its_point(case: str) -> None:
    model, on, devices, columns = CASES[case]
    table = estimate_table(model, on, columns=columns, devices=devices)
    wanted = list(product(*columns.values()))
    assert len(table) == len(wanted)
    picked = set(np.random.default_rng(0).permutation(len(wanted))[:20].tolist())
    for number, (values, row) in enumerate(zip(wanted, table.rows(), strict=True)):
        asked = dict(zip(columns, values, strict=True))
        assert {name: row[name] for name, value in asked.items() if value is not None}.items() <= asked.items()
        if number in picked:
            check_against_estimate(model, on, devices, asked, row)


def check_against_estimate(
    model: str, on: str, devices: int | None, asked: dict[str, object], row: dict[str, object]
) -> None:
    lengths = {name: value for name, value in asked.items() if name in ("batch", "isl", "osl", "prefix")}
    plan = {name: value for name, value in asked.items() if name not in lengths}
    refused: PlanError | None = None
    try:
        one = gambrel.estimate(model, on, plan=Plan(**plan), workload=Workload(**lengths), devices=devices)
    except PlanError as error:
        refused = error
    if refused is not None:
        assert row["status"] == "; ".join(f"{problem.where}: {problem.what}" for problem in refused.problems)
        assert all(row[name] is None for name in (*METRICS, "fits", "devices"))
        return
    status = "ok" if one.memory.fits else "does not fit"
    assert (row["status"], row["fits"], row["devices"]) == (status, one.memory.fits, one.devices)
    for name in ("ttft_s", "tpot_s", "latency_s", "tokens_per_s", "energy_per_token_j", "usd_per_million_tokens"):
        expected = getattr(one, name)
        assert row[name] == (None if expected is None else pytest.approx(expected, rel=RELATIVE)), name
    assert row["memory_bytes"] == pytest.approx(one.memory.total_bytes, rel=RELATIVE)
    for name in ("strategy", "dp", "ep", "prefill_microbatches", "microbatches"):
        assert row[name] == getattr(one.plan, name)


def test_rows_in_any_order_are_the_rows_of_the_grid() -> None:
    device = gambrel.machine("h100-sxm")
    plans = [Plan(tp=tp, microbatches=parts) for tp, parts in product((1, 3, 8), (None, 2))]
    settings = [Setting(device=device, devices=None, plan=plan) for plan in plans]
    lists = {"batch": [1, 2, 64], "isl": [512], "osl": [8, 64], "prefix": [0]}
    axes = np.meshgrid(*map(np.array, lists.values()), indexing="ij", sparse=True)
    lengths = {name: axis[None].astype(np.float64) for name, axis in zip(lists, axes, strict=True)}
    model = gambrel.load("llama-3.1-8b")
    grid = answer(model, Asked(settings=settings, setting=np.arange(6), lengths=lengths))
    order = np.random.default_rng(1).permutation(int(np.prod(grid.shape)))
    which, *places = np.unravel_index(order, grid.shape)
    columns = {name: lengths[name].ravel()[place] for name, place in zip(lists, places, strict=True)}
    rows = answer(model, Asked(settings=settings, setting=which, lengths=columns))
    assert grid.columns.keys() == rows.columns.keys()
    for name, column in grid.columns.items():
        mine, its = rows.columns[name], column
        if isinstance(mine, Words):
            assert isinstance(its, Words)
            texts = np.array([*its.values, ""])[np.broadcast_to(its.codes, grid.shape).ravel()[order]]
            assert np.array([*mine.values, ""])[np.broadcast_to(mine.codes, rows.shape)].tolist() == texts.tolist()
        else:
            whole = np.broadcast_to(its, grid.shape).ravel()[order]
            np.testing.assert_allclose(np.broadcast_to(mine, rows.shape), whole, rtol=RELATIVE, err_msg=name)


def change_numbers(value: object, change: Callable[[float], float], name: str = "") -> object:
    """A device with each of its numbers changed."""
    if isinstance(value, Device | Power | Link):
        names = value.__dataclass_fields__
        return replace(value, **{name: change_numbers(getattr(value, name), change, name) for name in names})
    if isinstance(value, tuple):
        return tuple(change_numbers(item, change) for item in value)
    if isinstance(value, dict):
        return {key: change_numbers(item, change, key) for key, item in value.items()}
    return change(value) if isinstance(value, float) and name not in SWITCHES else value


@pytest.mark.parametrize(
    ("model", "on", "structure", "degrees"),
    [
        ("llama-3.1-8b", "h100-sxm", Structure(axes=("tp",), weights="fp8", activations="fp8"), {"tp": 4.0}),
        ("llama-3.1-8b", "tpu-v5e", Structure(axes=("tp",)), {"tp": 2.0}),
        ("mixtral-8x7b", "b200-sxm", Structure(strategy="moe-ep", axes=("tp", "tp_ep")), {"tp": 4.0, "ep": 4.0}),
        ("qwen3-next-80b-a3b", "a100-sxm-80gb", Structure(axes=("tp", "pp")), {"tp": 2.0, "pp": 2.0}),
    ],
)
def test_stacked_devices_are_each_alone(model: str, on: str, structure: Structure, degrees: dict[str, float]) -> None:
    rng = np.random.default_rng(2)
    base = gambrel.machine(on)
    devices = [base, *(change_numbers(base, lambda x: x * rng.uniform(0.8, 1.25)) for _ in range(3))]
    assert len({layout(device) for device in devices}) == 1
    index = np.array([3, 0, 1, 2, 1])[:, None, None]
    points = Points.of(batch=np.array([1.0, 48.0])[:, None], isl=np.array([100.0, 3000.0, 9000.0]), osl=50.0, **degrees)
    variant = compile_variant(gambrel.load(model), structure)
    together = metrics(variant, stack(devices, index), rates_of(base), points)
    for place, number in enumerate(index.ravel()):
        alone = metrics(variant, devices[number], rates_of(base), points)
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][place], value, rtol=RELATIVE, err_msg=name)


def test_devices_that_differ_in_more_than_numbers_are_not_stacked() -> None:
    base = gambrel.machine("h100-sxm")
    others = [
        replace(base, matrix_flops_per_s={"bf16": 1e15}),
        replace(base, power=replace(base.power, cap_w=500.0)),
        replace(base, links=(replace(base.links[0], size=4), *base.links[1:])),
        replace(base, parameters={**base.parameters, "gemm": {"tile_search": 0.5}}),
    ]
    assert layout(replace(base, name="x", clock_hz=1e9)) == layout(base)
    assert all(layout(other) != layout(base) for other in others)


def test_a_large_space_with_what_ifs_is_evaluated_in_pieces() -> None:
    base = gambrel.machine("h100-sxm")
    faster = [replace(base, memory_bandwidth_bytes_per_s=base.memory_bandwidth_bytes_per_s * f) for f in (1.0, 2.0)]
    batch, isl = np.arange(1.0, 201.0)[:, None], np.arange(100.0, 300.0)
    points = Points.of(batch=batch, isl=isl, osl=4.0)
    variant = compile_variant(gambrel.load("llama-3.2-1b"), Structure())
    together = metrics(variant, stack(faster, np.arange(2)[:, None, None]), rates_of(base), points)
    for place, device in enumerate(faster):
        alone = metrics(variant, device, rates_of(base), points)
        np.testing.assert_allclose(together["latency_s"][place], alone["latency_s"], rtol=RELATIVE)


@pytest.mark.parametrize(("name", "value"), [("batch", 0), ("isl", 1.5), ("osl", float("nan")), ("prefix", -1)])
def test_a_length_that_is_no_count_is_refused(name: str, value: float) -> None:
    with pytest.raises(PlanError, match=f"workload.{name}"):
        counts(name, [1, 2, value])


def test_no_prefix_is_a_length() -> None:
    assert counts("prefix", [0, 3]).tolist() == [0.0, 3.0]
