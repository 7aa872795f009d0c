"""Fits the engines' parameters on half of the shape sites and prints them, or writes them into a profile.

Usage: python -m benchmarks.accuracy.fit --device H100-SXM [--device H200-SXM] [--family gemm] [--only launch]
    [--write PROFILE.yaml] [--score-on DEVICE]

Maximum a posteriori: the sum of soft-L1 of ln(T/y)/0.1 plus ((ln theta - ln theta_0)/sigma)^2, theta_0 the engine's
defaults for a family and the family's values for one of its libraries, from the better of two starts. Several devices
give one joint set.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.fit_cases import Case, cases, predict
from benchmarks.accuracy.fit_targets import CHOICES, FIXED, TARGETS, Target
from benchmarks.accuracy.profile_text import Fitted, render, splice
from gambrel.calibration.fit import maximise
from gambrel.calibration.priors import CEILINGS, FLOORS, HOP_S, REACH, SPREAD, SPREADS, Prior
from gambrel.cost.engines import parameters
from gambrel.cost.kernel import Attention
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

ROOT = Path(__file__).resolve().parents[2]

LEAST_ROWS = 12
"""Fewest rows that a library's own set is fitted on."""

UNMOVED = 0.02
"""A parameter this near to its prior, in ln, is one that the data say nothing about: it is not printed."""

QUICK = 8
"""Evaluations in which the choices of a family are compared where there are more than two."""

Pairs = Sequence[tuple[Device, Case]]
Options = Sequence[Mapping[str, float]]


def with_values(device: Device, family: str, values: Mapping[str, float]) -> Device:
    """The device with some parameters of a family replaced."""
    merged = {**device.parameters, family: {**device.parameters.get(family, {}), **values}}
    return replace(device, parameters=merged)


def log_errors(pairs: Pairs, family: str, values: Mapping[str, float]) -> np.ndarray:
    """ln(estimate/measurement) of every row with some parameters replaced."""
    return np.concatenate(
        [np.log(predict(case, with_values(device, family, values)) / case.seconds) for device, case in pairs]
    )


def mean_error(pairs: Pairs, family: str, values: Mapping[str, float]) -> float:
    """Mean absolute error, in percent."""
    return float(100.0 * np.abs(np.expm1(log_errors(pairs, family, values))).mean())


def choose(pairs: Pairs, family: str, prior: Mapping[str, float], options: Options) -> tuple[dict, Mapping[str, float]]:
    """The parameters of greatest posterior probability, and the option that they go with.

    Of many options, those that a short fit from the prior's centre leaves far behind are not fitted in full.
    """
    if len(options) > 2:
        options = (min(options, key=lambda option: fit(pairs, family, prior, option, quick=True)[1]),)
    runs = [(*fit(pairs, family, prior, option), option) for option in options]
    values, _, option = min(runs, key=lambda found: found[1])
    return values, option


def fit(
    pairs: Pairs, family: str, prior: Mapping[str, float], fixed: Mapping[str, float], *, quick: bool = False
) -> tuple[dict, float]:
    """The parameters of `family` of greatest posterior probability, and the cost reached."""
    prior = {name: value for name, value in prior.items() if name not in fixed}
    names = tuple(prior)
    centre = np.log([prior[name] for name in names])
    spread = np.array([SPREADS.get(name, SPREAD) for name in names])
    low = np.maximum(centre - REACH * spread, np.log([FLOORS.get(name, 1e-300) for name in names]))
    high = np.minimum(centre + REACH * spread, np.log([CEILINGS.get(name, 1e300) for name in names]))
    found = maximise(
        lambda values: log_errors(pairs, family, {**fixed, **values}),
        Prior(names, centre, spread, low, high),
        **({"starts": 1, "evaluations": QUICK} if quick else {}),
    )
    return dict(found.values), found.cost


def rows_of(target: Target, case: Case) -> np.ndarray | None:
    """Which rows of a case a target is fitted on; None where the case is another's."""
    if case.op not in target.op or not (not target.dtypes or any(_fits(case.dtype, x) for x in target.dtypes)):
        return None
    if target.groups is None:
        return np.ones(len(case.seconds), dtype=bool)
    kernel = case.call.kernels[0]
    if not isinstance(kernel, Attention):
        return None
    group = np.asarray(kernel.heads / kernel.kv_heads)
    return (group >= target.groups[0]) & (group <= target.groups[1])


def _fits(dtype: str, wanted: str) -> bool:
    return dtype == wanted or (wanted.startswith("* ") and dtype.endswith(wanted[1:]))


def prior_of(target: Target, family: str, device: Device, only: Sequence[str]) -> dict[str, float]:
    """Where the fit starts: the engine's defaults; for a library, or with `only`, what the device has."""
    default = parameters.gemm_defaults(device) if target.base == "gemm" else parameters.DEFAULTS[target.base]
    family, _, library = family.partition("@")
    if only or library or target.variants:
        stem = "collective_" + device.links[0].name if target.base == "collective" else target.base
        own = f"{family}@{library}" if library else family
        known = device if only else replace(device, parameters={k: v for k, v in device.parameters.items() if k != own})
        default = parameters.resolve(default, known, stem, target.variants or _variant(family, stem), library)
    prior = {field.name: float(getattr(default, field.name)) for field in fields(default)}
    prior = {name: HOP_S if np.isnan(value) else value for name, value in prior.items()}
    if "sharing" in prior and family.startswith("collective_pcie"):
        prior["sharing"] = max(prior["sharing"], 1.0)
    prior.update(target.start)
    choices = {name for option in CHOICES.get(target.base, ()) for name in option}
    fixed = (*FIXED.get(target.base, ()), *target.absent, *choices)
    return {name: x for name, x in prior.items() if x > 0 and name not in fixed and (not only or name in only)}


def _variant(family: str, stem: str) -> str:
    return family.removeprefix(stem).removeprefix("_")


def run(
    target: Target, devices: dict[str, Device], folder: Path, limit: int, only: Sequence[str], other: Device | None
) -> Fitted | None:
    """Fits one target on some devices; None where they have too few rows of it.

    With `other` (a device of its own rows in the tables), the error is that on the other's held-out sites.
    """
    fitted, scored, links = [], [], set()
    for name, device in devices.items():
        links.add(device.links[0].name if device.links else "none")
        for case in cases(folder, target.table, limit=limit, device=name):
            rows = rows_of(target, case)
            if rows is not None:
                part = (case if "@" in target.family else case.nobodys()).only(target.base, device)
                fitted.append((device, part.take(rows & ~case.held_out)))
                scored.append((device, part.take(rows & case.held_out)))
    if sum(len(case.seconds) for _, case in fitted) < LEAST_ROWS:
        return None
    family = target.family.format(link="_".join(sorted(links)))
    prior = prior_of(target, family, fitted[0][0], only)
    options = CHOICES.get(target.base, ({},)) if target.searches and not only else ({},)
    values, fixed = choose(fitted, family, prior, options)
    moved = {name: x for name, x in values.items() if only or abs(np.log(x / prior[name])) >= UNMOVED}
    moved.update(fixed)
    if other is not None:
        rows = [(c, rows_of(target, c)) for c in cases(folder, target.table, limit=limit, device=other.title)]
        scored = [(other, c.take(r & c.held_out)) for c, r in rows if r is not None]
    count = sum(len(case.seconds) for _, case in scored)
    error = mean_error(scored, family, {**values, **fixed}) if count else None
    for name, device in devices.items():
        devices[name] = with_values(device, family, {**values, **fixed})
    return Fitted(family=family, values=moved, error=error, rows=count, devices=tuple(devices))


def main() -> None:
    """Fits the asked families on the asked devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "kernels")
    parser.add_argument("--device", action="append", required=True)
    parser.add_argument("--family", action="append", help="what the family's name starts with")
    parser.add_argument("--only", action="append", help="fit these parameters, keep the rest as the device has them")
    parser.add_argument("--limit", type=int, default=800)
    parser.add_argument("--write", type=Path, help="put the families into this profile instead of printing them")
    parser.add_argument("--score-on", help="score on another device's held-out sites")
    args = parser.parse_args()
    devices = {name: load_device(name) for name in args.device}
    other = replace(load_device(args.score_on), title=args.score_on) if args.score_on else None
    for target in TARGETS:
        if args.family and not target.family.startswith(tuple(args.family)):
            continue
        if args.only and "@" in target.family:
            continue
        found = run(target, devices, args.data, args.limit, args.only or (), other)
        if found is None:
            continue
        if args.write:
            args.write.write_text(splice(args.write.read_text(encoding="utf-8"), found), encoding="utf-8")
        print(render(found), flush=True)


if __name__ == "__main__":
    main()
