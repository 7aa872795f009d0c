"""Hardware profiles by name or path: load, list, validate, and hand to the cost engines as plain numbers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gambrel.errors import Problem, ProfileError
from gambrel.hardware.checks import check
from gambrel.hardware.device import Device, Link, Power
from gambrel.hardware.profile import Grade, Profile, Quantity, Residuals, count_in_device
from gambrel.hardware.read import read_profile
from gambrel.hardware.resolve import Resolved, find_profile, locate, override, resolve, shipped_names
from gambrel.hardware.tree import Mapping as Tree


def list_profiles(*, abstract: bool = False) -> tuple[str, ...]:
    """Names of the shipped profiles, sorted; with `abstract`, those of the bases that they extend instead."""
    return shipped_names(abstract=abstract)


RESIDUALS = "residuals-"
"""How the names of generated bases begin that hold nothing but the residuals of predictions (`uncertainty:`)."""


def load_profile(name_or_path: str | Path, overrides: Iterable[str] = (), *, residuals: bool = True) -> Profile:
    """Reads a profile with its bases, applies overrides, and checks the whole.

    Args:
        name_or_path: A shipped name or alias (`h100-sxm`), or the path of a YAML file.
        overrides: `PATH=VALUE` texts, such as `memory.hbm.bandwidth=2x`, `power.tdp=-10%` or `links.nvlink.size=72`.
            The numbers that they give are of kind `estimated` and are noted as what-ifs. They may leave physics behind
            (a peak that its clock does not reach) but not arithmetic (a negative bandwidth).
        residuals: Whether to read the shipped residuals of predictions; without intervals they only cost time.

    Raises:
        ProfileError: The name is unknown, or the file or an override is wrong; all problems at once.
    """
    return _finished(_merged(name_or_path, overrides, residuals=residuals))


def load_device(name_or_path: str | Path, overrides: Iterable[str] = (), *, residuals: bool = True) -> Device:
    """The numbers of a profile that the cost engines read; arguments as those of `load_profile`.

    Raises:
        ProfileError: As `load_profile`.
    """
    return to_device(load_profile(name_or_path, overrides, residuals=residuals))


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyWhatIfs:
    """A profile whose files are read once and that is loaded with many overrides; without residuals.

    Attributes:
        merged: The profile with its bases.
    """

    merged: Resolved

    @staticmethod
    def of(name_or_path: str | Path) -> "ManyWhatIfs":
        """Read a shipped profile or a file.

        Raises:
            ProfileError: The name is unknown, or a file cannot be read.
        """
        return ManyWhatIfs(merged=_merged(name_or_path, (), residuals=False))

    def profile(self, overrides: Iterable[str] = ()) -> Profile:
        """What `load_profile` gives.

        Raises:
            ProfileError: As there.
        """
        return _finished(override(self.merged, overrides))


def validate_file(path: str | Path) -> list[Problem]:
    """All that is wrong with a profile, form before physics; empty where nothing is."""
    try:
        _, problems = _read(resolve(Path(path)))
    except ProfileError as error:
        return list(error.problems)
    return problems


def to_device(profile: Profile) -> Device:
    """Drops the provenance of a loaded profile."""
    compute, power, price = profile.compute, profile.power, profile.price
    memory = next(level for level in profile.memory.values() if level.role == "device")
    caches = [level for level in profile.memory.values() if level.role == "cache" and level.scope == "device"]
    cache = caches[-1] if caches else None
    rent = price.rent or price.owned
    return Device(
        name=profile.id,
        title=profile.title,
        kind=profile.kind,
        generation=profile.generation,
        engine=profile.engine,
        num_units=count_in_device(profile, compute.unit),
        clock_hz=profile.clocks[compute.clock].value,
        matrix_flops_per_s={name: rate.dense.value for name, rate in compute.matrix.items()},
        sparse_flops_per_s={name: rate.sparse.value for name, rate in compute.matrix.items() if rate.sparse},
        vector_flops_per_s=compute.vector.rate.value,
        memory_bytes=memory.capacity.value,
        memory_bandwidth_bytes_per_s=_value(memory.bandwidth) or float("nan"),
        cache_bytes=cache.capacity.value if cache else 0.0,
        cache_bandwidth_bytes_per_s=_value(cache.bandwidth) if cache else None,
        links=tuple(
            Link(
                name=name,
                size=int(link.size.value),
                bandwidth_bytes_per_s=link.bandwidth.value,
                latency_s=link.latency.value,
                topology=link.topology,
                in_network_reduction=link.in_network_reduction,
                energy_per_byte_j=_value(link.energy),
            )
            for name, link in profile.links.items()
        ),
        power=Power(
            tdp_w=power.tdp.value,
            idle_w=_value(power.idle),
            all_in_w=_value(power.all_in),
            energy_per_flop_j={name: energy.value for name, energy in power.energy_per_flop.items()},
            energy_per_byte_j=_value(memory.energy),
            energy_per_cache_byte_j=_value(cache.energy) if cache else None,
            static_w=_value(power.static),
            active_w=_value(power.active),
            cap_w=_value(power.cap),
            clock_hz=_value(power.clock),
            voltage_floor=_value(power.voltage_floor),
        ),
        price_usd_per_h=_value(rent),
        parameters={
            family: {name: quantity.value for name, quantity in values.items()}
            for family, values in profile.parameters.items()
        },
        profile_hash=profile.hash,
        parameter_grades=profile.parameter_grades,
        uncertainty={family: residual_numbers(bounds) for family, bounds in profile.uncertainty.items()},
        fitted_ranges={
            family: {name: (size.least.value, size.most.value) for name, size in bounds.sizes.items()}
            for family, bounds in profile.uncertainty.items()
            if bounds.sizes
        },
    )


def residual_numbers(bounds: Residuals) -> dict[str, float]:
    """Bounds without their provenance."""
    return {
        "small_lower": bounds.small_lower.value,
        "small_upper": bounds.small_upper.value,
        "large_lower": bounds.large_lower.value,
        "large_upper": bounds.large_upper.value,
    }


def _merged(name_or_path: str | Path, overrides: Iterable[str], *, residuals: bool) -> Resolved:
    return resolve(find_profile(name_or_path), overrides, without="" if residuals else RESIDUALS)


def _finished(resolved: Resolved) -> Profile:
    profile, problems = _read(resolved)
    if not problems and profile.abstract:
        why = "it is a base for other profiles"
        names = ", ".join(list_profiles())
        problems = [Problem(where=resolved.file, what="not a device", why=why, fix=f"Devices: {names}")]
    if problems:
        raise ProfileError(*problems)
    return replace(profile, hash=_hash(profile), parameter_grades=_grades(resolved, profile))


def _read(resolved: Resolved) -> tuple[Profile, list[Problem]]:
    profile, problems = read_profile(resolved)
    for finding in check(profile, physics=not resolved.overridden):
        where = str(locate(resolved.tree, finding.path))
        problems.append(Problem(where=where, what=finding.what, why=finding.why, fix=finding.fix))
    return profile, problems


def _value(quantity: Quantity | None) -> float | None:
    return quantity.value if quantity else None


def _hash(profile: Profile) -> str:
    return hashlib.sha256(repr(replace(profile, uncertainty={}, sources={})).encode()).hexdigest()[:12]


def _grades(resolved: Resolved, profile: Profile) -> dict[str, Grade]:
    section = resolved.tree.get("parameters")
    grades: dict[str, Grade] = {}
    for family, values in profile.parameters.items():
        node = section.get(family) if isinstance(section, Tree) else None
        entries = node.entries if isinstance(node, Tree) else {}
        own = {name for name, entry in entries.items() if entry.node.mark.file == resolved.file}
        fitted = any(name in own and quantity.kind in ("fitted", "measured") for name, quantity in values.items())
        grades[family] = "calibrated" if fitted else "transferred"
    return grades
