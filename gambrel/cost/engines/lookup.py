"""The parameters that price a kernel on a device: the most specific that its profile or a default gives.

A profile gives them per family (`gemm`) and, where a number format, an operation or a kernel class behaves differently,
per variant (`gemm_fp8`, `attention_decode_mha`, `collective_nvlink_all_gather`). Each of them may also be given for one
library, whose kernels are its own: `gemm_fp8@vllm`. Lookup goes from the variant to the family to the default, the
kernel's library first at each step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from gambrel.cost.engines.parameters import DEFAULTS
from gambrel.cost.engines.variant_defaults import FORMAT_DEFAULTS, LIBRARIES, LIBRARY_DEFAULTS, VARIANTS
from gambrel.hardware.device import Device, Number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Grade = Literal["datasheet", "transferred", "calibrated"]
"""Whether parameters are defaults, come from a sibling of the generation, or were fitted on this device."""

P = TypeVar("P", bound="DataclassInstance")


def resolve(
    default: P,
    device: Device,
    family: str,
    variant: str | Sequence[str],
    library: str = "",
    known: Mapping[str, Number] | None = None,
) -> P:
    """The parameters of a family on a device, the most specific that its profile gives for each.

    Args:
        default: What holds where the profile gives nothing.
        device: Whose profile.
        family: For example `gemm`.
        variant: For example `fp8`; of several, later ones are more specific.
        library: Whose kernels run; empty for none in particular.
        known: What is known of that library's kernels on every device; None for what LIBRARIES says.

    Returns:
        `default` with, in rising order: FORMAT_DEFAULTS and LIBRARY_DEFAULTS; what the profile gives for `family` and
        `family@library`; then for each variant what the engine takes for it, and for the library's kernels, and the
        same two. What is known of a library's kernels stands before what the profile gives for them, and after all that
        it gives for others.
    """
    variants = (variant,) if isinstance(variant, str) else variant
    chain = (family, *(f"{family}_{each}" for each in variants))
    given = software_values(default, chain, library)
    for name in chain:
        given |= {**variant_values(default, name), **variant_values(default, f"{name}@{library}")}
        given |= device.parameters.get(name, {})
        if library:
            own = f"{name}@{library}"
            facts = LIBRARIES.get(own, {}) if known is None else known
            given |= facts if known is None or name == chain[-1] else {}
            given |= device.parameters.get(own, {})
    fitting = {field.name for field in fields(default)}
    return replace(default, **{name: value for name, value in given.items() if name in fitting})


def software_values(default: object, chain: Sequence[str], library: str) -> dict[str, Number]:
    """What kernels of a number format and of a library have where no profile says, the specific families last."""
    if not is_gpu(default):
        return {}
    of_format = {key: value for name in chain for key, value in FORMAT_DEFAULTS.get(name, {}).items()}
    of_library = {key: x for name in chain for key, x in LIBRARY_DEFAULTS.get(f"{name}@{library}", {}).items()}
    return {**of_format, **of_library}


def variant_values(default: object, name: str) -> Mapping[str, Number]:
    """What the engine takes for a variant; nothing where the values are another engine's."""
    return VARIANTS.get(name, {}) if is_gpu(default) else {}


def is_gpu(default: object) -> bool:
    """Whether parameters are those of the `gpu` engine, and of collectives; other engines have their own."""
    return type(default) in map(type, DEFAULTS.values())


def parameter_grade(device: Device, family: str) -> Grade:
    """How well the parameters of a family are known on a device, its variants included.

    `calibrated` where the device's own profile gives one of them, `transferred` where only a generation it extends
    does, `datasheet` where the engine's defaults apply.
    """
    names = [name for name in device.parameters if name == family or name.startswith((f"{family}_", f"{family}@"))]
    if not any(device.parameters[name] for name in names):
        return "datasheet"
    if any(device.parameter_grades.get(name) == "calibrated" for name in names):
        return "calibrated"
    return "transferred"


def unknown_parameters(device: Device) -> Iterator[str]:
    """Parameter paths of a device that no engine reads, for the test that guards the shipped profiles."""
    for family, given in device.parameters.items():
        stem = family.partition("@")[0]
        base = next((name for name in DEFAULTS if stem == name or stem.startswith(f"{name}_")), None)
        known = {field.name for field in fields(DEFAULTS[base])} if base else set[str]()
        yield from (f"{family}.{name}" for name in given if name not in known)
