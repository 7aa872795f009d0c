"""Maximum a posteriori of engine parameters: soft-L1 of ln(T/y) over the noise, with log-normal priors."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple, Protocol, cast

import numpy as np

from gambrel.calibration.priors import Prior
from gambrel.cost.kernel import Array
from gambrel.errors import Problem, UsageError

NOISE = 0.1
"""Spread of a measured time around the formula, as a standard deviation of ln."""

SOFT = 1.5
"""Residuals beyond so many deviations count linearly rather than squared: outliers do not steer the fit."""

STARTS = 32
"""Random draws from the prior; the best of them and the prior's centre are polished."""

EVALUATIONS = 60
"""Most evaluations of a polish, derivatives not counted."""

STEP = 2e-2
"""Relative step of the numeric derivatives: the formulas have kinks."""

LEAST_EFFECT = 1e-3
"""A parameter that changes no time by more than this, in ln, plays no part in the rows."""

LogErrors = Callable[[Mapping[str, float]], Array]
"""ln(estimate/measurement) of every row with these parameters."""


class Fit(NamedTuple):
    """Parameters of the greatest posterior probability, and minus its logarithm up to a constant."""

    values: Mapping[str, float]
    cost: float


class _Found(Protocol):
    x: Array
    cost: float


def require_scipy() -> None:
    """Refuses to begin what needs scipy at its end.

    Raises:
        UsageError: scipy is not installed.
    """
    _least_squares()


def maximise(  # noqa: PLR0913  (all but the first two are by keyword)
    log_errors: LogErrors,
    prior: Prior,
    *,
    seed: int = 0,
    starts: int = STARTS,
    polished: int = 1,
    evaluations: int = EVALUATIONS,
    known: Mapping[str, float] | None = None,
) -> Fit:
    """The parameters that the rows and the prior make most probable.

    Minimises `sum softL1(ln(T/y)/NOISE) + sum softL1((ln theta - ln theta_0)/sigma)` from the best of random draws,
    from the prior's centre, and from what an earlier fit found.

    Args:
        log_errors: Of the rows.
        prior: Of the parameters that are free.
        seed: Of the random draws.
        starts: How many of these; with one, only the centre is polished.
        polished: How many of the best draws are.
        evaluations: Most that a polish may take.
        known: Parameters of an earlier fit, another start; those that it does not name start at the prior's centre.

    Raises:
        UsageError: scipy is not installed.
    """
    least_squares = _least_squares()
    if not prior.names:
        return Fit({}, 0.0)

    def residual(z: Array) -> Array:
        return np.concatenate([log_errors(prior.values(z)) / NOISE, (z - prior.centre) / prior.spread])

    def cost(z: Array) -> float:
        return float(np.sum(np.sqrt(1.0 + (residual(z) / SOFT) ** 2) - 1.0))

    draws = _draws(prior, seed, starts)
    begun = [*sorted(draws, key=cost)[:polished], draws[0]] if starts > 1 else draws
    if known:
        found = [np.log(known[name]) if known.get(name, 0.0) > 0.0 else z for name, z in zip(*prior[:2], strict=True)]
        begun.append(np.clip(np.array(found), prior.low + 1e-6, prior.high - 1e-6))
    runs = [
        cast(
            "_Found",
            least_squares(
                residual,
                start,
                bounds=(prior.low, prior.high),
                loss="soft_l1",
                f_scale=SOFT,
                diff_step=STEP,
                max_nfev=evaluations,
            ),
        )
        for start in begun
    ]
    best = min(runs, key=lambda run: run.cost)
    return Fit(prior.values(best.x), float(best.cost))


def with_effect(log_errors: LogErrors, prior: Prior, *, seed: int = 0, draws: int = 6) -> Prior:
    """The prior over those parameters that the rows can say something about.

    A parameter is left out where a change by its spread moves no row's time, from any of a few draws of the prior.
    """
    moved: set[str] = set()
    for z in _draws(prior, seed, draws):
        base = log_errors(prior.values(z))
        for i, name in enumerate(prior.names):
            if name in moved:
                continue
            for sign in (1.0, -1.0):
                other = z.copy()
                other[i] = np.clip(z[i] + sign * prior.spread[i], prior.low[i], prior.high[i])
                if np.max(np.abs(log_errors(prior.values(other)) - base)) > LEAST_EFFECT:
                    moved.add(name)
    return prior.only(tuple(name for name in prior.names if name in moved))


def _draws(prior: Prior, seed: int, count: int) -> list[Array]:
    """The centre, and random draws, all inside the bounds."""
    rng = np.random.default_rng(seed)
    shape = (max(count - 1, 0), len(prior.names))
    random = prior.centre + rng.normal(size=shape) * prior.spread
    starts = np.vstack([prior.centre, random])
    return [np.clip(start, prior.low + 1e-6, prior.high - 1e-6) for start in starts]


def _least_squares() -> Callable[..., object]:
    try:
        return cast("Callable[..., object]", import_module("scipy.optimize").least_squares)
    except ImportError:
        fix = "Install it: pip install 'gambrel[calibrate]'"
        raise UsageError(
            Problem(where="calibrate", what="parameters cannot be fitted without scipy", fix=fix)
        ) from None
