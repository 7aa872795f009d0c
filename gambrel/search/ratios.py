"""Statistics of many ratios in bounded memory: quantiles, and the rows that changed most."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array

EXACT = 2**20
"""Up to so many ratios are kept; of more, their logarithms are counted."""

WIDTH = 1e-4
"""Relative width of a bin of the count, and so the error of a quantile."""

REACH = 20.0
"""Ratios beyond exp(-REACH) and exp(REACH) count as these."""

SAME = 1e-9
"""Ratios so close to 1 are rounding."""

LARGEST = 3
"""Rows that are shown of each metric."""

Rows = NDArray[np.int64]


class Quantiles:
    """Quantiles of positive numbers that come in pieces."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: list[Array] = []
        self._counts: NDArray[np.int64] | None = None
        self.size = 0

    def add(self, values: Array) -> None:
        """Take in some more."""
        self.size += values.size
        self._kept.append(values)
        if self._counts is not None or self.size > EXACT:
            counts = np.zeros(2 * round(REACH / WIDTH) + 1, dtype=np.int64) if self._counts is None else self._counts
            bins = np.rint(np.clip(np.log(np.concatenate(self._kept)), -REACH, REACH) / WIDTH).astype(np.int64)
            counts += np.bincount(bins + counts.size // 2, minlength=counts.size)
            self._kept, self._counts = [], counts

    @property
    def exact(self) -> bool:
        """Whether quantiles are those of the numbers themselves."""
        return self._counts is None

    def at(self, shares: tuple[float, ...]) -> tuple[float, ...]:
        """Quantiles at some shares; NaN where there are no numbers."""
        if not self.size:
            return tuple(float("nan") for _ in shares)
        if self._counts is None:
            return tuple(np.quantile(np.concatenate(self._kept), shares).tolist())
        ranks = np.array(shares) * (self.size - 1)
        places = np.searchsorted(np.cumsum(self._counts), ranks, side="right") - self._counts.size // 2
        return tuple(np.exp(places * WIDTH).tolist())


class Changed(NamedTuple):
    """One row of one metric: its number among the rows of the first side, and its values."""

    row: int
    a: float
    b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """The ratios b / a of one metric.

    Attributes:
        rows: Rows where both sides have a positive number.
        changed: Of these, the rows where they differ by more than rounding.
        median, p5, p95: Quantiles; NaN without rows.
        least, most: The smallest and the largest.
        exact: Whether the quantiles are exact, or to within 1e-4 of themselves.
        largest: The rows that changed by the largest factors.
    """

    rows: int
    changed: int
    median: float
    p5: float
    p95: float
    least: float
    most: float
    exact: bool
    largest: tuple[Changed, ...]


class RatioCount:
    """Takes in pairs of values, piece by piece."""

    def __init__(self) -> None:
        """Begin with none."""
        self._quantiles = Quantiles()
        self._changed = 0
        self._least, self._most = float("nan"), float("nan")
        self._largest: list[Changed] = []

    def add(self, a: Array, b: Array, rows: Rows) -> None:
        """Take in the values of some rows."""
        both = (a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)
        if not both.any():
            return
        a, b, rows = a[both], b[both], rows[both]
        ratios = b / a
        self._quantiles.add(ratios)
        changed = np.abs(ratios - 1.0) > SAME
        self._changed += int(np.count_nonzero(changed))
        self._least = float(np.fmin(self._least, ratios.min()))
        self._most = float(np.fmax(self._most, ratios.max()))
        if changed.any():
            sizes = np.abs(np.log(ratios))
            first = np.argpartition(-sizes, min(LARGEST, sizes.size - 1))[:LARGEST]
            found = [Changed(int(rows[i]), float(a[i]), float(b[i])) for i in first if changed[i]]
            self._largest = sorted([*self._largest, *found], key=_by_size)[:LARGEST]

    def result(self) -> Ratios:
        """The statistics of all that was taken in."""
        median, p5, p95 = self._quantiles.at((0.5, 0.05, 0.95))
        return Ratios(
            rows=self._quantiles.size,
            changed=self._changed,
            median=median,
            p5=p5,
            p95=p95,
            least=self._least,
            most=self._most,
            exact=self._quantiles.exact,
            largest=tuple(self._largest),
        )


def _by_size(changed: Changed) -> tuple[float, int]:
    return -abs(float(np.log(changed.b / changed.a))), changed.row
