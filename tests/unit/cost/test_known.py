"""Prices that are looked up are those that an engine gives."""

import numpy as np

from gambrel.cost import known
from gambrel.cost.energy import operate
from gambrel.cost.kernel import Gemm
from gambrel.cost.known import operate_known
from gambrel.hardware.load import load_device

H100 = load_device("h100-sxm")
FORMAT = {"rate": "bf16", "a_bytes": 2.0, "b_bytes": 2.0, "c_bytes": 2.0}


def product(sizes):
    return Gemm(**sizes, **FORMAT)


def shapes(*rows):
    m, k, n = np.array(rows, dtype=np.float64).T
    return {"m": m, "k": k, "n": n, "batch": np.ones(len(m))}


FIRST = shapes((1, 4096, 4096), (64, 4096, 1024), (1, 4096, 4096))
SECOND = shapes((64, 4096, 1024), (4096, 64, 1024), (8, 8192, 7), (1, 4096, 4096))


def check(sizes, device=H100):
    found, priced = operate_known("test", product, sizes, device), operate(product(sizes), device)
    for value, expected in zip(found, priced, strict=True):
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)


def test_shapes_cost_the_same_whether_known_or_new():
    check(FIRST)
    check(SECOND)
    check(SECOND)


def test_another_device_has_prices_of_its_own():
    check(FIRST)
    check(FIRST, load_device("a100-sxm-80gb"))


def test_shapes_whose_codes_are_equal_keep_their_prices(monkeypatch):
    monkeypatch.setattr(known, "_book", known._Book(None, {}))
    monkeypatch.setattr(known, "_codes", lambda sizes: np.zeros(sizes.shape[1:], dtype=np.uint64))
    check(FIRST)
    check(SECOND)


def test_known_shapes_are_not_priced_again(monkeypatch):
    check(FIRST)
    calls = []
    monkeypatch.setattr(known, "operate", lambda kernel, device: calls.append(kernel) or operate(kernel, device))
    operate_known("test", product, FIRST, H100)
    assert not calls
    operate_known("test", product, shapes((3, 5, 7), (1, 4096, 4096)), H100)
    assert [kernel.m.tolist() for kernel in calls] == [[3.0]]
