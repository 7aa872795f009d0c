"""The metrics of a search at many points, each worked out when it is asked for, and at no more points than needed."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.frames import Pick, Scalar
from gambrel.cost.vectorise import Array
from gambrel.estimation.points import Points

Energy = Callable[[Pick | None], Array]
"""Joules of a batch, at all points or at those that are picked."""


class Answers:
    """Values by name of METRICS; arrays broadcast against each other, NaN where something is not known."""

    def __init__(
        self, points: Mapping[str, Array], known: Mapping[str, Array], *, rent: Array, energy: Energy | None
    ) -> None:
        """Take what everything else follows from.

        Args:
            points: `batch`, `osl` and `devices`.
            known: `ttft_s`, `step_s` (of one token after the first), `memory_bytes`; where these do not follow,
                `latency_s` and `tokens_per_s` too.
            rent: Of a device, $/h.
            energy: None where it is not known.
        """
        self._points, self._rent, self._energy = points, rent, energy
        self._known = dict(known)

    @staticmethod
    def columns(points: Points) -> dict[str, Array]:
        """What of the points is needed."""
        return {"batch": points.batch, "osl": points.osl, "devices": points.devices}

    def at(self, pick: Pick) -> "Answers":
        """The same at some of the points."""
        energy = self._energy
        return Answers(
            {name: pick(value) for name, value in self._points.items()},
            {name: pick(value) for name, value in self._known.items()},
            rent=self._rent,
            energy=None if energy is None else lambda again: energy(pick if again is None else _both(pick, again)),
        )

    def __getitem__(self, metric: str) -> Array:
        """One of METRICS."""
        if metric not in self._known:
            self._known[metric] = self._made(metric)
        return self._known[metric]

    def _made(self, metric: str) -> Array:
        batch, osl, devices = self._points["batch"], self._points["osl"], self._points["devices"]
        match metric:
            case "tpot_s":
                return np.where(osl > 1.0, self["step_s"], np.nan)
            case "latency_s":
                return self["ttft_s"] + (osl - 1.0) * self["step_s"]
            case "tokens_per_s":
                return batch * osl / self["latency_s"]
            case "tokens_per_s_per_device":
                return self["tokens_per_s"] / devices
            case "tokens_per_s_per_user":
                return 1.0 / self["tpot_s"]
            case "energy_per_token_j":
                return np.asarray(np.nan) if self._energy is None else self._energy(None) / (batch * osl)
            case "power_w":
                return self["energy_per_token_j"] * self["tokens_per_s"]
            case "usd_per_h":
                return self._rent * devices
            case "usd_per_million_tokens":
                return self["usd_per_h"] / 3600.0 * 1e6 / self["tokens_per_s"]
            case _:
                raise KeyError(metric)


def _both(first: Pick, second: Pick) -> Pick:
    def pick(values: NDArray[Scalar], /) -> NDArray[Scalar]:
        return second(first(values))

    return pick
