"""A device without what was fitted on it: what its generation or the defaults say, as of a new chip."""

from dataclasses import replace

from gambrel.hardware.device import Device
from gambrel.hardware.load import list_profiles, load_device, load_profile, residual_numbers
from gambrel.hardware.profile import Kind, Profile
from gambrel.hardware.read import read_profile
from gambrel.hardware.resolve import find_profile, resolve

FITTED: tuple[Kind, ...] = ("fitted", "measured")
"""Kinds of parameters that measurements of kernels shaped."""


def without_fits(name: str) -> Device:
    """The device with no parameter that was fitted or measured: only what its profile states of the machine.

    Raises:
        ProfileError: As `load_device`.
    """
    profile = load_profile(name)
    stated = {
        family: {x: q.value for x, q in given.items() if q.kind not in FITTED}
        for family, given in profile.parameters.items()
    }
    return replace(
        load_device(name),
        parameters={family: given for family, given in stated.items() if given},
        parameter_grades={},
        uncertainty={},
        fitted_ranges={},
    )


def without_own_fit(name: str) -> Device:
    """The device with the parameters of the profiles that it extends, without those of its own file.

    A base counts only where a sibling that was fitted extends it too: otherwise it says nothing else than this device.
    Without such a sibling the engine's defaults price it. The intervals follow: those of the base, or the pooled ones.

    Raises:
        ProfileError: As `load_device`.
    """
    profile, bare = load_profile(name), without_fits(name)
    shared = {base for sibling in _fitted_siblings(profile) for base in sibling.extends}
    given = {family: dict(values) for family, values in bare.parameters.items()}
    residuals: dict[str, dict[str, float]] = {}
    for base in profile.extends:
        if base not in shared:
            continue
        inherited, _ = read_profile(resolve(find_profile(base)))
        for family, values in inherited.parameters.items():
            given.setdefault(family, {}).update({key: quantity.value for key, quantity in values.items()})
        residuals |= {family: residual_numbers(bounds) for family, bounds in inherited.uncertainty.items()}
    return replace(bare, parameters=given, parameter_grades=dict.fromkeys(given, "transferred"), uncertainty=residuals)


def _fitted_siblings(profile: Profile) -> list[Profile]:
    others = (load_profile(name) for name in list_profiles() if name != profile.id)
    return [
        other
        for other in others
        if set(other.extends) & set(profile.extends) and "calibrated" in other.parameter_grades.values()
    ]
