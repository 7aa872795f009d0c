"""Fits the engines' parameters on half of the shape sites and prints them, or writes them into a profile.

Usage: python -m benchmarks.accuracy.fit --device H100-SXM [--device H200-SXM] [--family gemm] [--only launch]
    [--write PROFILE.yaml] [--score-on DEVICE]

Maximum a posteriori: the sum of soft-L1 of ln(T/y)/0.1 plus ((ln theta - ln theta_0)/sigma)^2, theta_0 the engine's
defaults for a family and the family's values for one of its libraries, from the best of several starts. Several devices
give one joint set.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.fit_cases import Case, cases, predict
from benchmarks.accuracy.fit_targets import CHOICES, FIXED, TARGETS, Target
from benchmarks.accuracy.profile_text import Fitted, render, splice
from gambrel.calibration.fit import maximise, with_effect
from gambrel.calibration.priors import CEILINGS, FLOORS, HOP_S, REACH, SPREAD, SPREADS, TILES, Prior
from gambrel.cost.engines import lookup, parameters, variant_defaults
from gambrel.cost.engines.collective_defaults import collective_default, known_of_library
from gambrel.cost.engines.grouping import grouping
from gambrel.cost.kernel import Attention, Gemm, Transfer
from gambrel.cost.roofline import widest_link
from gambrel.hardware.device import Device, Link
from gambrel.hardware.load import load_device

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ROOT = Path(__file__).resolve().parents[2]

LEAST_ROWS = 12
"""Fewest rows that a library's own set is fitted on."""

STARTS, POLISHED = 64, 4
"""Random starts of a fit, and how many of the best are polished: algorithms and tilings that take turns make several
optima."""

UNMOVED = 0.02
"""A parameter this near to its prior, in ln, is one that the data say nothing about: it is not printed."""

SCALED = {"gemm": ("wave_overhead",)}
"""Parameters whose default follows from the device: printed, moved or not, for the devices that inherit them."""

OWN = ("launch", "compute_efficiency", "memory_efficiency")
"""Parameters that the profiles of devices give for kernels of no library: printed, moved or not, for the libraries of
their generation, whose kernels they would change otherwise."""

QUICK = 20
"""Evaluations in which the choices of a family are compared where there are more than two."""

FULLY = 2
"""How many of these are then fitted in full."""

Pairs = Sequence[tuple[Device, Case]]
Options = Sequence[Mapping[str, float]]


def with_values(device: Device, family: str, values: Mapping[str, float]) -> Device:
    """The device with some parameters of a family replaced."""
    merged = {**device.parameters, family: {**device.parameters.get(family, {}), **values}}
    return replace(device, parameters=merged)


def without(device: Device, family: str, only: Sequence[str] = ()) -> Device:
    """The device without the parameters of a family, unless only some of them are fitted."""
    kept = {name: values for name, values in device.parameters.items() if only or name != family}
    return replace(device, parameters=kept)


def log_errors(pairs: Pairs, family: str, values: Mapping[str, float]) -> np.ndarray:
    """ln(estimate/measurement) of every row with some parameters replaced."""
    return np.concatenate(
        [np.log(predict(case, with_values(device, family, values)) / case.seconds) for device, case in pairs]
    )


def mean_error(pairs: Pairs, family: str, values: Mapping[str, float]) -> float:
    """Mean absolute error, in percent."""
    return float(100.0 * np.abs(np.expm1(log_errors(pairs, family, values))).mean())


def choose(
    pairs: Pairs, family: str, prior: Mapping[str, float], options: Options, known: Mapping[str, float]
) -> tuple[dict, Mapping[str, float]]:
    """The parameters of greatest posterior probability, and the rules of the option that they go with.

    Of many options, those that a short fit from the prior's centre leaves far behind are not fitted in full. What an
    option gives beside rules is where its fit starts; so is what is known from an earlier fit.
    """
    kinds = [_rules_of(option) for option in options]
    starts = [{**prior, **option} for option in options]
    if len(options) > 2:
        costs = [fit(pairs, family, start, kind, quick=True)[1] for start, kind in zip(starts, kinds, strict=True)]
        # Of kinds that these rows do not tell apart, one.
        best = np.unique(np.round(costs, 6), return_index=True)[1][:FULLY].tolist()
        # The rules of an earlier fit stay in the race whatever a short one says.
        best += [i for i, kind in enumerate(kinds) if i not in best and kind and kind.items() <= known.items()]
        starts, kinds = [starts[i] for i in best], [kinds[i] for i in best]
    tried = zip(starts, kinds, strict=True)
    runs = [(*fit(pairs, family, start, kind, known=known), kind) for start, kind in tried]
    values, _, kind = min(runs, key=lambda found: found[1])
    return values, kind


def _rules_of(option: Mapping[str, float]) -> Mapping[str, float]:
    return {name: x for name, x in option.items() if name in variant_defaults.RULES or name in TILES}


def fit(
    pairs: Pairs,
    family: str,
    prior: Mapping[str, float],
    fixed: Mapping[str, float],
    *,
    quick: bool = False,
    known: Mapping[str, float] | None = None,
) -> tuple[dict, float]:
    """The parameters of `family` of greatest posterior probability, and the cost reached.

    Those that move no row stay out: nothing would hold them near their prior but the prior itself.
    """
    prior = {name: value for name, value in prior.items() if name not in fixed}
    names = tuple(prior)
    centre = np.log([prior[name] for name in names])
    spread = np.array([SPREADS.get(name, SPREAD) for name in names])
    low = np.maximum(centre - REACH * spread, np.log([FLOORS.get(name, 1e-300) for name in names]))
    high = np.minimum(centre + REACH * spread, np.log([CEILINGS.get(name, 1e300) for name in names]))

    def errors(values: Mapping[str, float]) -> np.ndarray:
        return log_errors(pairs, family, {**fixed, **values})

    found = maximise(
        errors,
        with_effect(errors, Prior(names, centre, spread, low, high)),
        known=known,
        **({"starts": 1, "evaluations": QUICK} if quick else {"starts": STARTS, "polished": POLISHED}),
    )
    return dict(found.values), found.cost


def rows_of(target: Target, case: Case) -> np.ndarray | None:
    """Which rows of a case a target is fitted on; None where the case is another's."""
    if case.op not in target.op or not (not target.dtypes or any(_fits(case.dtype, x) for x in target.dtypes)):
        return None
    kernel = case.call.kernels[0]
    if target.batched is not None and isinstance(kernel, Gemm):
        return np.broadcast_to((np.asarray(kernel.batch) > 1.0) == target.batched, case.seconds.shape)
    everything = np.ones(len(case.seconds), dtype=bool)
    if not isinstance(kernel, Attention):
        return everything
    if kernel.decode != (target.base == "attention_decode"):
        return None
    if kernel.head_dim in target.other_heads or (target.heads and kernel.head_dim not in target.heads):
        return None
    if not target.grouping:
        return everything
    library = kernel.library if "@" in target.family else ""
    each = [grouping(group, library) for group in np.ravel(kernel.heads / kernel.kv_heads).tolist()]
    return np.array(each) == target.grouping


def _fits(dtype: str, wanted: str) -> bool:
    return dtype == wanted or (wanted.startswith("* ") and dtype.endswith(wanted[1:]))


def prior_of(target: Target, family: str, device: Device, only: Sequence[str]) -> dict[str, float]:
    """Where the fit starts: the engine's defaults; for a library, or with `only`, what the device has."""
    prior = before(target, family, device, only)
    prior = {name: HOP_S if np.isnan(value) else value for name, value in prior.items()}
    prior.update(target.start)
    fixed = (*FIXED.get(target.base, ()), *target.absent, *variant_defaults.RULES)
    return {name: x for name, x in prior.items() if x > 0 and name not in fixed and (not only or name in only)}


def before(target: Target, family: str, device: Device, only: Sequence[str]) -> dict[str, float]:
    """Every parameter that a family has before its fit."""
    default = _start(target, family, device, only)
    return {field.name: float(getattr(default, field.name)) for field in fields(default)}


def _start(target: Target, family: str, device: Device, only: Sequence[str]) -> DataclassInstance:
    """The parameters that a fit starts from; those of other libraries count unless the library is known to differ."""
    plain, _, library = family.partition("@")
    stem, variants, facts = target.base, target.variants or _variant(plain, target.base), None
    default = parameters.gemm_defaults(device) if target.base == "gemm" else parameters.DEFAULTS[target.base]
    if target.base == "scan" and target.variants:
        default = parameters.SCANS.get(target.variants[-1], default)
    if target.base == "collective":
        link = link_of(target, device)
        stem, variants = f"collective_{link.name}", _variant(plain, f"collective_{link.name}")
        default, facts = collective_default(link, variants), known_of_library(link, variants, library)
    if not (only or library or target.variants):
        return lookup.resolve(default, replace(device, parameters={}), stem, variants, "", facts)
    differs = facts or family in variant_defaults.LIBRARIES
    left_out = () if only else (family, plain) if differs else (family,)
    known = replace(device, parameters={k: v for k, v in device.parameters.items() if k not in left_out})
    return lookup.resolve(default, known, stem, variants, library, facts)


def link_of(target: Target, device: Device) -> Link:
    """The link that a collective's parameters are of: the one that the target names, or the innermost."""
    return next((link for link in device.links if link.name == target.link), device.links[0])


def family_of(target: Target, devices: Iterable[Device]) -> str:
    """The family that a target is on some devices, which names their link where it is a collective's."""
    links = {target.link} if target.link else {each.links[0].name if each.links else "none" for each in devices}
    return target.family.format(link="_".join(sorted(links)))


def crosses(target: Target, case: Case, device: Device) -> bool:
    """Whether the widest link that a case's rows exchange over is the target's; so for all that is no transfer."""
    kernel = case.call.kernels[0]
    if not isinstance(kernel, Transfer):
        return True
    widest = widest_link(kernel, device)
    return widest is not None and widest.name == (target.link or device.links[0].name)


def _variant(family: str, stem: str) -> str:
    return family.removeprefix(stem).removeprefix("_")


def run(
    target: Target, devices: dict[str, Device], folder: Path, limit: int, only: Sequence[str], other: Device | None
) -> Fitted | None:
    """Fits one target on some devices; None where they have too few rows of it.

    With `other` (a device of its own rows in the tables), the error is that on the other's held-out sites.
    """
    fitted, scored, family = [], [], family_of(target, devices.values())
    for name, device in devices.items():
        for case in cases(folder, target.table, limit=limit, device=name):
            rows = rows_of(target, case)
            if rows is not None and crosses(target, case, device):
                part = (case if "@" in target.family else case.nobodys()).only(target.base, device)
                seen, kept = rows & ~case.held_out, rows & case.held_out
                fitted += [(device, part.take(seen))] if seen.any() else []
                scored += [(device, part.take(kept))] if kept.any() else []
    if sum(len(case.seconds) for _, case in fitted) < LEAST_ROWS:
        return None
    known = {name: float(np.mean(x)) for name, x in fitted[0][0].parameters.get(family, {}).items()}
    fitted = [(without(device, family, only), case) for device, case in fitted]
    scored = [(without(device, family, only), case) for device, case in scored]
    prior = prior_of(target, family, fitted[0][0], only)
    options = target.kinds or (CHOICES.get(target.base, ({},)) if target.searches else ({},))
    options = ({},) if only else options
    values, fixed = choose(fitted, family, prior, options, known)
    had = before(target, family, fitted[0][0], only)
    stated = values if only else OWN if "@" in family else SCALED.get(family, ())
    moved = {
        name: x
        for name, x in values.items()
        if name in stated or not had[name] > 0 or abs(np.log(x / had[name])) >= UNMOVED
    }
    moved.update({name: x for name, x in fixed.items() if x != had[name]})
    if other is not None:
        rows = [(c, rows_of(target, c)) for c in cases(folder, target.table, limit=limit, device=other.title)]
        bare = without(other, family, only)
        scored = [(bare, c.take(r & c.held_out)) for c, r in rows if r is not None and crosses(target, c, other)]
    count = sum(len(case.seconds) for _, case in scored)
    libraries = frozenset(case.dtype.rpartition(" ")[2] for _, case in fitted)
    error = mean_error(scored, family, moved) if count else None
    for name, device in devices.items():
        devices[name] = with_values(without(device, family, only), family, moved)
    return Fitted(family=family, values=moved, error=error, rows=count, devices=tuple(devices), libraries=libraries)


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
    shown: dict[str, frozenset[str]] = {}
    for target in TARGETS:
        if args.family and not target.family.startswith(tuple(args.family)):
            continue
        general, _, library = target.family.partition("@")
        if library and (args.only or shown.get(general) == {library}):
            continue
        found = run(target, devices, args.data, args.limit, args.only or (), other)
        if found is None:
            continue
        shown[target.family] = found.libraries
        if args.write:
            args.write.write_text(splice(args.write.read_text(encoding="utf-8"), found), encoding="utf-8")
        print(render(found), flush=True)


if __name__ == "__main__":
    main()
