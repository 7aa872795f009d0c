"""Loads of the measured device against routing every token, and what any load must keep."""

import math

import numpy as np
import pytest

from gambrel.calibration.routing import balanced_load, power_law_load


def arrays(*numbers: int) -> list[np.ndarray]:
    return [np.array([float(x)]) for x in numbers]


def routed(tokens: int, experts: int, top_k: int) -> np.ndarray:
    """Experts of each token when routing strides over them."""
    stride = math.ceil(experts / top_k)
    t, i = np.arange(tokens)[:, None], np.arange(top_k)[None]
    return ((t if tokens >= stride else t * stride // tokens) + i * stride) % experts


@pytest.mark.parametrize("tokens", [1, 3, 8, 16, 100, 1000])
@pytest.mark.parametrize(("experts", "top_k", "ep"), [(128, 8, 1), (128, 8, 16), (8, 2, 4), (256, 8, 256), (16, 1, 4)])
def test_balanced_load_counts_the_pairs_of_device_0(tokens: int, experts: int, top_k: int, ep: int) -> None:
    chosen = routed(tokens, experts, top_k)
    mine = chosen < experts // ep
    load = balanced_load(*arrays(tokens, experts, top_k, ep))
    assert load.rows == mine.sum()
    assert load.hit == len(np.unique(chosen[mine]))
    assert load.reached == mine.any(axis=1).sum()


def test_balanced_load_of_a_stride_that_wraps_around() -> None:
    """22 of 512: strides of 24 come back to the first experts after 528."""
    load = balanced_load(*arrays(1024, 512, 22, 8))
    assert load.rows == (routed(1024, 512, 22) < 64).sum()


@pytest.mark.parametrize("tokens", [1, 7, 64, 4096])
@pytest.mark.parametrize("ep", [1, 8, 64])
def test_the_busiest_device_has_at_least_its_share(tokens: int, ep: int) -> None:
    experts, top_k = 128, 8
    load = power_law_load(*arrays(tokens, experts, top_k, ep), 1.2, reached=True)
    rows, hit, reached, distinct = (float(x[0]) for x in load)
    assert tokens * top_k / ep <= rows * 1.001
    assert rows <= tokens * min(top_k, experts // ep) * 1.001
    assert hit <= distinct <= experts // ep
    assert rows / min(top_k, experts // ep) <= reached * (1 + 1e-9)
    assert reached <= tokens * (1 + 1e-9)


def test_one_device_gets_every_pair() -> None:
    load = power_law_load(*arrays(32, 128, 8, 1), 1.01, reached=True)
    assert (load.rows, load.reached) == (32 * 8, 32)


def test_a_steeper_law_loads_the_busiest_device_more() -> None:
    flat, steep = (power_law_load(*arrays(4096, 128, 8, 16), a, reached=False).rows for a in (0.5, 1.5))
    assert steep > flat


def test_loads_between_the_steps_grow_with_the_tokens() -> None:
    tokens = np.arange(1000.0, 1040.0)
    rest = [np.full(tokens.shape, x) for x in (128.0, 8.0, 16.0)]
    rows = power_law_load(tokens, *rest, 1.2, reached=False).rows
    assert np.all(np.abs(rows / tokens / (rows[0] / tokens[0]) - 1.0) < 0.05)
