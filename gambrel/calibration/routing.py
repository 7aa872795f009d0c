"""How many pairs of token and expert the measured device of an expert-parallel group gets, as the collectors route.

Balanced routing strides over the experts, and device 0 is measured; with a power law the busiest device is.

Source: aiconfigurator 0.12.0, collector/helper.py: `balanced_logits`, `power_law_logits_v3`.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from gambrel.cost.kernel import Array

DRAWS = 5
"""Random loads that one measurement runs through in turn."""

REPEATS = 2
"""Measurements whose mean is taken: which loads were drawn is not known."""

EXACT = 64
"""Tokens up to which loads are drawn for their very number; beyond, for the nearest of STEPS numbers an octave."""

STEPS = 16


class Load(NamedTuple):
    """What the measured device gets, arrays of one length.

    Attributes:
        rows: Pairs of its experts.
        hit: Its experts that get some.
        reached: Tokens that have a pair there.
        distinct: Its experts that get some in any of the loads that the loop runs through.
    """

    rows: Array
    hit: Array
    reached: Array
    distinct: Array


def balanced_load(tokens: Array, experts: Array, top_k: Array, ep: Array) -> Load:
    """Token t goes to experts `t + i s` modulo e with `s = ceil(e/k)`; fewer tokens than s are spread over it."""
    local, stride = experts / ep, np.ceil(experts / top_k)
    many = tokens >= stride
    rows = np.zeros_like(tokens)
    for i in range(int(np.max(top_k, initial=0.0))):
        start = i * stride
        around = _residues(start + tokens, experts, local) - _residues(start, experts, local)
        spread = _below(local - start, tokens, stride) - _below(-start, tokens, stride)
        wrapped = _below(experts + local - start, tokens, stride) - _below(experts - start, tokens, stride)
        rows = rows + np.where(i < top_k, np.where(many, around, spread + wrapped), 0.0)
    hit = np.where(many, local, np.minimum(rows, local))
    touched = np.where(many, _residues(tokens, stride, np.minimum(local, stride)), _below(local, tokens, stride))
    return Load(rows, hit, touched, hit)


def _residues(count: Array, modulus: Array, below: Array) -> Array:
    """How many of 0 to count-1 leave a remainder below a bound."""
    return np.floor(count / modulus) * below + np.minimum(np.mod(count, modulus), below)


def _below(bound: Array, tokens: Array, stride: Array) -> Array:
    """How many of the tokens' offsets `floor(t s/T)` lie below a bound."""
    return np.clip(np.ceil(bound * tokens / stride), 0.0, tokens)


def power_law_load(tokens: Array, experts: Array, top_k: Array, ep: Array, alpha: float, *, reached: bool) -> Load:
    """The busiest device's load where the experts' loads follow p(x) ~ x^-alpha; means over random draws.

    Args:
        tokens: Of the group, as the other sizes an array.
        experts: Of the group.
        top_k: Experts of a token.
        ep: Devices.
        alpha: Exponent.
        reached: Whether to count the tokens that have a pair there; all of them where not.
    """
    steps = np.exp2(np.round(np.log2(np.maximum(tokens, 1.0)) * STEPS) / STEPS)
    near = np.where(tokens > EXACT, np.round(steps), tokens)
    columns = [np.unique(values, return_inverse=True) for values in (near, experts, top_k, ep)]
    code = np.zeros(len(tokens), dtype=np.intp)
    for values, inverse in columns:
        code = code * len(values) + inverse
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    cases = [(int(near[i]), int(experts[i]), int(top_k[i]), int(ep[i])) for i in first.tolist()]
    found = np.array([_busiest(*case, alpha, reached) for case in cases]).reshape(-1, 4)[inverse].T
    scale = tokens / np.maximum(near, 1.0)
    return Load(found[0] * scale, found[1], found[2] * scale, found[3])


@cache
def _busiest(tokens: int, experts: int, top_k: int, ep: int, alpha: float, reached: bool) -> tuple[float, ...]:
    """The load of the device with the most pairs, the mean over all draws."""
    counts = _drawn(tokens, experts, top_k, ep, alpha)
    local = experts // ep
    per_device = counts[:, : local * ep].reshape(len(counts), ep, local)
    busiest = per_device.sum(axis=2).argmax(axis=1)
    mine = per_device[np.arange(len(counts)), busiest]
    hit = mine >= 0.5  # counts are whole but for what is spread at the end
    distinct = hit.reshape(REPEATS, DRAWS, local).any(axis=1).sum(axis=1)
    seen = [
        _reached(row, tokens, slice(at * local, (at + 1) * local)) if reached else float(tokens)
        for row, at in zip(counts, busiest.tolist(), strict=True)
    ]
    return tuple(float(np.mean(x)) for x in (mine.sum(axis=1), hit.sum(axis=1), seen, distinct))


def _drawn(tokens: int, experts: int, top_k: int, ep: int, alpha: float) -> Array:
    """Pairs of each expert, one row a draw: from [1, 0.8 tokens], or from [0.01, 2] where experts outnumber the pairs.

    No expert gets a token twice. What is missing after rounding is dealt to the devices in turn, to experts without any
    first; what is too much is taken from their largest in turn.
    """
    pairs, local = tokens * top_k, experts // ep
    low, high = (1.0, 0.8 * tokens) if pairs > experts else (0.01, 2.0)
    power = 1.0 - alpha
    uniform = np.random.default_rng(0).random((DRAWS * REPEATS, experts))
    load = ((high**power - low**power) * uniform + low**power) ** (1.0 / power)
    counts = np.minimum(np.rint(load * (pairs / np.sum(load, axis=1, keepdims=True))), tokens)
    groups = counts[:, : local * ep].reshape(-1, ep, local)
    missing = pairs - np.sum(counts, axis=1, keepdims=True)
    off = np.abs(missing)
    share = np.sign(missing) * (np.floor(off / ep) + (np.arange(ep) < np.mod(off, ep)))
    empty = groups == 0.0
    filled = empty & (np.cumsum(empty, axis=2) <= share[:, :, None])
    rest = (share - filled.sum(axis=2))[:, :, None]
    groups = groups + filled
    largest = groups == np.max(groups, axis=2, keepdims=True)
    where = np.asarray(np.where(rest < 0.0, largest, groups > 0.0), dtype=np.float64)
    groups = groups + where * rest / np.maximum(np.sum(where, axis=2, keepdims=True), 1.0)
    counts[:, : local * ep] = np.clip(groups, 0.0, tokens).reshape(len(counts), -1)
    return counts


def _reached(counts: Array, tokens: int, local: slice) -> float:
    """Tokens that have a pair of some of the experts: experts fill the tokens' choices in turn, the fullest first."""
    order = np.argsort(-counts, kind="stable")
    ends = np.empty_like(counts)
    ends[order] = np.cumsum(counts[order])
    begin, width = np.mod(ends[local] - counts[local], tokens), counts[local]
    over = np.maximum(begin + width - tokens, 0.0)
    starts = np.concatenate([begin, np.zeros_like(over)])
    stops = np.concatenate([begin + width - over, over])
    by_start = np.argsort(starts, kind="stable")
    starts, stops = starts[by_start], stops[by_start]
    seen = np.maximum.accumulate(np.concatenate([[0.0], stops[:-1]]))
    return float(np.maximum(stops - np.maximum(starts, seen), 0.0).sum())
