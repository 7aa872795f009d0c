"""Fits the parameters of a device to measured rows: one set for each family and variant that the rows show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.cases import Case, Family, collect, predict_case
from gambrel.calibration.families import families
from gambrel.calibration.fit import STARTS, Fit, LogErrors, maximise, require_scipy, with_effect
from gambrel.calibration.intervals import TAIL, WIDENED, Band, band_from, band_of
from gambrel.calibration.kinds import Kind, kinds_of
from gambrel.calibration.limits import size_ranges, sizes_of
from gambrel.calibration.measurements import Measurements
from gambrel.calibration.operation import fold
from gambrel.calibration.priors import Prior, current_values, known_of, prior_of, some_kinds
from gambrel.cost.kernel import Array, Kernel
from gambrel.errors import Problem, UsageError
from gambrel.hardware.device import Device

LEAST_POINTS = 20
"""Fewest rows that a set of parameters is fitted on."""

LEAST_SHAPES = 8
"""Fewest distinct shapes among them."""

LEAST_OWN_POINTS = 10
"""Fewest rows that the set of one library is fitted on: its prior is what prices them without it."""

MOST_POINTS = 1200
"""Rows beyond this, drawn with the seed, do not change the parameters, and take time."""

FOLDS = 4
"""Parts of the shape sites; each is predicted by a fit on the others."""

MANY = 400
"""Rows from which one held-out part shows the error well enough."""

FEW = 100
"""Rows below which it is tried how far they may move parameters from their prior."""

TIGHTER = (0.3,)
"""Shares of the prior's spread that are tried instead, besides nothing that moves."""

QUICK = 8
"""Evaluations in which kinds of a library's kernels are compared."""

UNMOVED = 0.02
"""A parameter this near to its prior, in ln, is one that the rows say nothing about."""

Report = Callable[[str], None]
"""Where progress and remarks go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedFamily:
    """One fitted set of parameters.

    Attributes:
        family: Key under `parameters` and `uncertainty`.
        residual_family: Key under `uncertainty`, which differs for the engine `roofline`.
        operation: What was measured.
        values: Parameters that the profile needs, SI units.
        unmoved: Those of them that stayed at their prior.
        n: Rows.
        n_held_out: Rows that were predicted by a fit that had not seen their site.
        split_by: What was kept apart: `site`, or `shape` where there are too few sites.
        mape_before, mape_after: Of the profile as it was on all rows, and of the held-out predictions; fractions.
        band: Bounds of measured over estimated.
        sizes: Smallest and largest of each size.
        origins: Files.
    """

    family: str
    residual_family: str
    operation: str
    values: Mapping[str, float]
    unmoved: tuple[str, ...]
    n: int
    n_held_out: int
    split_by: str
    mape_before: float
    mape_after: float
    band: Band
    sizes: Mapping[str, tuple[float, float]]
    origins: tuple[str, ...]


class Calibration(NamedTuple):
    """What a calibration found, and what it left out and why."""

    families: tuple[FittedFamily, ...]
    skipped: tuple[Problem, ...]


def calibrate(device: Device, parts: Iterable[Measurements], *, seed: int = 0, report: Report) -> Calibration:
    """Fits every family that the measurements show on a device.

    A family is fitted on the rows that name no library, or else on those of all libraries together whose kernels are
    not known to differ; where there are several, or where the profile has a set of one of them, also on the rows of
    each.

    Args:
        device: With the parameters that it has; they are the prior.
        parts: Measured rows of that device.
        seed: Of random starts, of the split, and of the choice among many rows.
        report: Gets a line before each fit.

    Raises:
        UsageError: No family has enough rows, or scipy is not installed.
    """
    require_scipy()
    fitted: list[FittedFamily] = []
    skipped: list[Problem] = []

    def fit(name: str, family: Family, device: Device, known: Device) -> Mapping[str, float]:
        fitted.append(_fit_family(name, family, device, known, seed, report))
        return fitted[-1].values

    _fit_all(device, parts, fit, skipped)
    if not fitted:
        problems = skipped or [Problem(where="calibrate", what="there are no rows of the device")]
        raise UsageError(*problems)
    return Calibration(tuple(fitted), tuple(skipped))


def refit(device: Device, parts: Iterable[Measurements], *, seed: int = 0) -> Device:
    """The device with the parameters that `calibrate` finds, without the further fits that show what those are worth.

    A family with too few rows keeps what it has.

    Raises:
        UsageError: scipy is not installed.
    """
    require_scipy()

    def fit(name: str, family: Family, device: Device, known: Device) -> Mapping[str, float]:
        cases = _thinned(family.cases, seed)
        device, known, kind = _with_kind(name, cases, device, known, seed)
        prior = _settled(name, cases, device, _free(name, cases, device, known, seed), seed)
        return {**kind, **_fit_values(name, cases, device, prior, seed).needed}

    return _fit_all(device, parts, fit, [])


def _fit_all(
    device: Device,
    parts: Iterable[Measurements],
    fit: Callable[[str, Family, Device, Device], Mapping[str, float]],
    skipped: list[Problem],
) -> Device:
    """Fits each family, then those of its libraries, each on the device that the ones before have left.

    The prior of a set that the device has is what that set made of its kernels before any fit.
    """
    before = device
    found: dict[str, Family] = {}
    for part in parts:
        collect(part, device, found, skipped)
    for name, family in found.items():
        problem = too_little(name, family.cases)
        if problem:
            skipped.append(problem)
            continue
        general = family._replace(cases=_general(name, family.cases, device))
        device = _with(device, name, fit(name, general, device, device))
        for library, cases in _own_libraries(name, family.cases, device).items():
            own = f"{name}@{library}"
            problem = too_little(own, cases, LEAST_OWN_POINTS)
            if problem:
                skipped.append(problem)
                continue
            known = before if own in before.parameters else device
            device = _with(device, own, fit(own, family._replace(cases=cases), device, known))
    return device


def _general(name: str, cases: Sequence[Case], device: Device) -> list[Case]:
    """The cases of a family for no library: those that name none, else those of libraries of which nothing is known."""
    unnamed = [case for case in cases if not case.library]
    common = [case for case in cases if not known_of(case.kernel, device, case.library)]
    return next((some for some in (unnamed, common) if some and not too_little(name, some)), list(cases))


def too_little(name: str, cases: Sequence[Case], least: int = LEAST_POINTS) -> Problem | None:
    """Why a family cannot be fitted on fewer rows than the least; None where it can."""
    count = sum(len(case.seconds) for case in cases)
    shapes = {shape for case in cases for shape in case.shapes}
    if len(shapes) == 1:
        what, fix = f"all {count} rows are of one shape", "Measure others too: small and large, narrow and wide"
        return Problem(where=name, what=what, why="one shape says nothing about others", fix=fix)
    if count < least or len(shapes) < LEAST_SHAPES:
        what = f"{count} rows of {len(shapes)} shapes are too few"
        why = f"a fit needs {least} rows of {LEAST_SHAPES} shapes"
        return Problem(where=name, what=what, why=why)
    return None


def _with(device: Device, family: str, values: Mapping[str, float]) -> Device:
    merged = {**device.parameters, family: {**device.parameters.get(family, {}), **values}}
    return replace(device, parameters=merged)


def _own_libraries(name: str, cases: Sequence[Case], device: Device) -> dict[str, list[Case]]:
    """Cases of the libraries that need a set of their own; their calls keep the library."""
    libraries = {case.library for case in cases}
    own: dict[str, list[Case]] = {}
    for case in cases:
        has_set = f"{name}@{case.library}" in device.parameters or f"{name}@{case.library}" in device.uncertainty
        differs = has_set or bool(
            known_of(case.kernel, device, case.library) or _kinds(f"{name}@{case.library}", device)
        )
        if case.library and (len(libraries) > 1 or differs):
            own.setdefault(case.library, []).append(replace(case, call=case.named))
    return own


def _fit_family(name: str, family: Family, device: Device, known: Device, seed: int, report: Report) -> FittedFamily:
    cases = _thinned(family.cases, seed)
    count = sum(len(case.seconds) for case in cases)
    report(f"fitting {name} on {count} of {sum(len(c.seconds) for c in family.cases)} rows")
    before = np.concatenate([predict_case(case, device, named=True) / case.seconds for case in cases])
    device, known, kind = _with_kind(name, cases, device, known, seed)
    prior = _settled(name, cases, device, _free(name, cases, device, known, seed), seed)
    parts, split_by = _folds(cases, seed)
    held_estimates, held_seconds = _held_out(cases, parts, _fitting(name, device, prior, seed))
    found = _fit_values(name, cases, device, prior, seed)
    return FittedFamily(
        family=name,
        residual_family=_residual_family(name, cases[0].kernel, device),
        operation=family.operation,
        values={**kind, **found.needed},
        unmoved=found.unmoved,
        n=count,
        n_held_out=len(held_seconds),
        split_by=split_by,
        mape_before=float(np.abs(before - 1.0).mean()),
        mape_after=float(np.abs(held_estimates / held_seconds - 1.0).mean()),
        band=bounds(held_estimates, held_seconds, cases[0].kernel, device),
        sizes=_sizes(cases),
        origins=tuple(family.origins),
    )


class _Values(NamedTuple):
    """Fitted parameters that the profile must give, and those of them that stayed at their prior."""

    needed: Mapping[str, float]
    unmoved: tuple[str, ...]


def _kinds(name: str, device: Device) -> tuple[Kind, ...]:
    return kinds_of(name) if device.engine == "gpu" else ()


def _with_kind(
    name: str, cases: Sequence[Case], device: Device, known: Device, seed: int
) -> tuple[Device, Device, Kind]:
    """Both devices with the rules of the kind of kernel that a library runs, and those rules that they did not have.

    Each kind that the library is known to have is fitted in a few evaluations from where the device stands; the rules
    that it has stay unless another kind leaves a smaller cost. A device of a generation that was fitted runs its kinds.
    """

    def quick(kind: Kind) -> Fit:
        tried = _with(device, name, kind)
        prior = _free(name, cases, tried, _with(known, name, kind), seed)
        return maximise(_log_errors(cases, name, tried), prior, starts=1, evaluations=QUICK)

    kinds = _kinds(name, device)
    if not kinds or name in known.parameters:
        return device, known, {}
    options: list[Kind] = [{}, *kinds]
    costs = [quick(kind).cost for kind in options]
    kind = options[int(np.argmin(costs))]
    own = device.parameters.get(name, {})
    new = {x: value for x, value in kind.items() if own.get(x) != value}
    return _with(device, name, kind), _with(known, name, kind), new


def _free(name: str, cases: Sequence[Case], device: Device, known: Device, seed: int) -> Prior:
    """The prior of the parameters that play a part in the rows, as one device knows them, on another."""
    return with_effect(_log_errors(cases, name, device), _prior(name, cases, known), seed=seed)


def _settled(name: str, cases: Sequence[Case], device: Device, prior: Prior, seed: int) -> Prior:
    """The prior, as wide as lets fits predict those rows best that they have not seen.

    Few rows of a device that is like those behind its prior say less of it than the prior does.
    """
    if not prior.names or sum(len(case.seconds) for case in cases) >= FEW:
        return prior
    parts, _ = _folds(cases, seed)
    options = [prior, *(prior._replace(spread=prior.spread * share) for share in TIGHTER), prior.only(())]
    errors: list[float] = []
    for option in options:
        estimates, seconds = _held_out(cases, parts, _fitting(name, device, option, seed, starts=1))
        errors.append(float(np.mean(np.abs(np.log(estimates / seconds)))))
    return options[int(np.argmin(errors))]


def _fit_values(name: str, cases: Sequence[Case], device: Device, prior: Prior, seed: int) -> _Values:
    values = maximise(_log_errors(cases, name, device), prior, seed=seed).values
    centre = prior.values(prior.centre)
    unmoved = tuple(x for x in values if abs(np.log(values[x] / centre[x])) < UNMOVED)
    needed = _needed(name, cases, device, values, unmoved)
    return _Values(needed, tuple(x for x in unmoved if x in needed))


def _prior(name: str, cases: Sequence[Case], device: Device) -> Prior:
    """The prior of a family; of a library's set, the values that its rows would be priced with.

    A library whose kernels are known to differ has nothing from what others showed.
    """
    prior = prior_of(cases[0].kernel, device)
    family, _, library = name.partition("@")
    if not library:
        return prior
    if known_of(cases[0].kernel, device, library):
        device = replace(device, parameters={x: values for x, values in device.parameters.items() if x != family})
    values = current_values(cases[0].kernel, device, library)
    prior = prior.joined(some_kinds(values, prior.names))
    centre = np.log([values[x] if np.isfinite(values[x]) and values[x] > 0 else 1.0 for x in prior.names])
    return prior._replace(centre=np.clip(centre, prior.low + 1e-6, prior.high - 1e-6))


def _residual_family(name: str, kernel: Kernel, device: Device) -> str:
    if not name.startswith("roofline"):
        return name
    return next(each for each in reversed(families(kernel, device)) if "@" not in each)


def _thinned(cases: Sequence[Case], seed: int) -> list[Case]:
    total = sum(len(case.seconds) for case in cases)
    if total <= MOST_POINTS:
        return list(cases)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(total, dtype=np.bool_)
    chosen[rng.choice(total, MOST_POINTS, replace=False)] = True
    starts = np.cumsum([len(case.seconds) for case in cases])[:-1]
    parts = zip(cases, np.split(chosen, starts), strict=True)
    return [case.take(np.flatnonzero(mask)) for case, mask in parts if mask.any()]


def _log_errors(cases: Sequence[Case], name: str, device: Device) -> LogErrors:
    def errors(values: Mapping[str, float]) -> Array:
        changed = _with(device, name, values)
        return np.concatenate([np.log(predict_case(case, changed) / case.seconds) for case in cases])

    return errors


def _folds(cases: Sequence[Case], seed: int) -> tuple[list[NDArray[np.intp]], str]:
    """The part of each row, and what was kept apart; rows of one shape are always in the same."""
    sites = {site for case in cases for site in case.sites}
    by_site = len(sites) >= 2 * FOLDS
    keys = [list(case.sites) if by_site else list(case.shapes) for case in cases]
    names = sorted({key for part in keys for key in part})
    order = np.argsort(fold([f"{seed}/{name}" for name in names]), kind="stable")
    ranked: list[int] = order.tolist()
    part_of = {names[i]: rank % FOLDS for rank, i in enumerate(ranked)}
    return [np.array([part_of[key] for key in part], dtype=np.intp) for part in keys], "site" if by_site else "shape"


def _held_out(
    cases: Sequence[Case], parts: Sequence[NDArray[np.intp]], fit: Callable[[Sequence[Case]], Device]
) -> tuple[Array, Array]:
    """Estimates of rows by fits that did not see their part, and their measured seconds."""
    count = sum(len(case.seconds) for case in cases)
    estimates: list[Array] = []
    seconds: list[Array] = []
    for number in range(FOLDS if count < MANY else 1):
        pairs = list(zip(cases, parts, strict=True))
        seen = [case.take(np.flatnonzero(part != number)) for case, part in pairs if np.any(part != number)]
        kept = [case.take(np.flatnonzero(part == number)) for case, part in pairs if np.any(part == number)]
        changed = fit(seen)
        estimates += [predict_case(case, changed) for case in kept]
        seconds += [case.seconds for case in kept]
    return np.concatenate(estimates), np.concatenate(seconds)


def bounds(estimates: Array, seconds: Array, kernel: Kernel, device: Device) -> Band:
    """The interval that held-out residuals show.

    Fewer than LEAST_ROWS of them cover too little: with those, the wider of theirs and of other devices' counts on a
    GPU, and theirs WIDENED on a host.
    """
    found = band_from(estimates, seconds)
    if found is not None:
        return found
    residuals = np.log(seconds / estimates) * (WIDENED if device.engine == "cpu" else 1.0)
    low, high = np.quantile(residuals, [TAIL, 1.0 - TAIL]).tolist()
    lower, upper = float(np.exp(min(low, 0.0))), float(np.exp(max(high, 0.0)))
    if device.engine == "cpu":
        return Band(lower, upper, lower, upper)
    others = band_of(kernel, replace(device, uncertainty={}))
    return Band(
        min(lower, others.small_lower),
        max(upper, others.small_upper),
        min(lower, others.large_lower),
        max(upper, others.large_upper),
    )


def _fitting(
    name: str, device: Device, prior: Prior, seed: int, *, starts: int = STARTS
) -> Callable[[Sequence[Case]], Device]:
    """What fits a family on some rows and gives the device with it."""

    def fit(cases: Sequence[Case]) -> Device:
        return _with(device, name, maximise(_log_errors(cases, name, device), prior, seed=seed, starts=starts).values)

    return fit


def _needed(
    name: str, cases: Sequence[Case], device: Device, values: Mapping[str, float], unmoved: Sequence[str]
) -> dict[str, float]:
    """Parameters that the profile must give: those that moved, and those that a lookup would not find as fitted."""
    own = {x: value for x, value in values.items() if x not in unmoved}
    changed = _with(device, name, own)
    for library in {"", *(case.library for case in cases)}:
        if "@" in name and not name.endswith(f"@{library}"):
            continue
        seen = current_values(cases[0].kernel, changed, library)
        own |= {x: value for x, value in values.items() if not abs(seen[x] / value - 1.0) < 2.0 * UNMOVED}
    return {x: own[x] for x in values if x in own}


def _sizes(cases: Sequence[Case]) -> dict[str, tuple[float, float]]:
    ranges = size_ranges(case.kernel for case in cases)
    return {name: ranges[name] for name in sizes_of(cases[0].kernel)}
