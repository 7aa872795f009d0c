"""How many rows and experts the busiest device of an expert-parallel group gets when tokens are spread unevenly."""

from functools import cache

import numpy as np

DRAWS = 16
"""Random loads averaged per configuration."""


@cache
def busiest_device(num_experts: int, ep: int, alpha: float, pairs: int) -> tuple[float, float]:
    """Rows and hit experts of the busiest device for a power-law load.

    Expert loads are drawn from p(x) ~ x^-alpha on [1, 0.8 pairs], scaled to `pairs` token-expert pairs; the device with
    the most rows counts; an expert with a mean of r rows is hit with probability 1 - exp(-r).

    Source: aiconfigurator 0.12.0, collector documentation "Power-Law Distribution in MoE Workload Simulation".

    Returns:
        (rows, hit experts), means over DRAWS draws with a fixed seed.
    """
    rng = np.random.default_rng(0)
    uniform = rng.random((DRAWS, num_experts))
    top, power = max(0.8 * pairs, 2.0), 1.0 - alpha
    load = ((top**power - 1.0) * uniform + 1.0) ** (1.0 / power)
    load *= pairs / load.sum(axis=1, keepdims=True)
    per_device = load[:, : num_experts // ep * ep].reshape(DRAWS, ep, -1)
    rows = per_device.sum(axis=2)
    busiest = rows.argmax(axis=1)
    chosen = per_device[np.arange(DRAWS), busiest]
    return float(rows.max(axis=1).mean()), float((1.0 - np.exp(-chosen)).sum(axis=1).mean())
