"""Pareto fronts: the points that no other point beats in every respect."""

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array


def front(values: Array) -> NDArray[np.intp]:
    """Rows on the Pareto front, best first in the first column; of equal rows the first one stands for all.

    Args:
        values: `[points, metrics]`, two or three metrics of which more is better; rows with a NaN or an infinite entry
            take no part.

    Returns:
        Indices of rows that no other row equals or exceeds in all metrics and exceeds in one.
    """
    usable = np.flatnonzero(np.isfinite(values).all(axis=1))
    # Sorted by the first metric, then by the others, best first: a row is only beaten by one before it.
    order = usable[np.lexsort(tuple(-values[usable, column] for column in reversed(range(values.shape[1]))))]
    if values.shape[1] == 2:
        second = values[order, 1]
        best = np.maximum.accumulate(second)
        keep = np.ones(len(order), dtype=np.bool_)
        keep[1:] = second[1:] > best[:-1]
        return order[keep]
    return order[_staircase(values[order, 1], values[order, 2])]


def _staircase(second: Array, third: Array) -> NDArray[np.bool_]:
    """Of rows in falling order of the first metric, those that none before them equals or exceeds in the other two."""
    keep = np.zeros(len(second), dtype=np.bool_)
    steps = np.empty((0, 2))  # the front of what was seen: the second metric falls, the third rises
    for row, point in enumerate(zip(second.tolist(), third.tolist(), strict=True)):
        if len(steps) and np.any((steps[:, 0] >= point[0]) & (steps[:, 1] >= point[1])):
            continue
        keep[row] = True
        beaten = (steps[:, 0] <= point[0]) & (steps[:, 1] <= point[1])
        steps = np.vstack([steps[~beaten], point])
    return keep
