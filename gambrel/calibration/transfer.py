"""A device without what was fitted on it: what its generation or the defaults say, as of a new chip."""

from dataclasses import replace

from gambrel.hardware.device import Device
from gambrel.hardware.load import list_profiles, load_device, load_profile, residual_numbers
from gambrel.hardware.profile import Profile
from gambrel.hardware.read import read_profile
from gambrel.hardware.resolve import find_profile, resolve


def without_own_fit(name: str) -> Device:
    """The device with the parameters of the profiles that it extends, without those of its own file.

    A base counts only where a sibling that was fitted extends it too: otherwise it says nothing else than this device.
    Without such a sibling the engine's defaults price it. The intervals follow: those of the base, or the pooled ones.

    Raises:
        ProfileError: As `load_device`.
    """
    profile, device = load_profile(name), load_device(name)
    bare = replace(device, parameters={}, parameter_grades={}, uncertainty={})
    shared = {base for sibling in _fitted_siblings(profile) for base in sibling.extends}
    given: dict[str, dict[str, float]] = {}
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
