"""A device as one software runs it: parameters of the libraries that it calls take the place of those of none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gambrel.cost.engines.attention_defaults import ATTENTION
from gambrel.cost.engines.collective_defaults import known_of_libraries
from gambrel.cost.engines.variant_defaults import LIBRARIES, LIBRARY_DEFAULTS
from gambrel.hardware.device import Device, Number


def with_libraries(device: Device, libraries: Sequence[str]) -> Device:
    """The device with the parameters of some libraries as its own.

    `gemm_fp8@vllm` becomes `gemm_fp8`, on top of what kernels of that name get from `gemm` and `gemm@vllm`. Of several
    libraries that have kernels of one name, the first counts; names that none of them has stay as they are.

    Args:
        device: Whose parameters.
        libraries: Names as after the `@`, the preferred first.
    """
    if not libraries:
        return device
    known = {**LIBRARY_DEFAULTS, **LIBRARIES, **known_of_libraries(device.links)}
    given = {**known, **{k: {**known.get(k, {}), **v} for k, v in device.parameters.items()}}
    folded = dict(device.parameters)
    for library in reversed(libraries):
        for key in {**ATTENTION, **given}:
            name, _, owner = key.partition("@")
            if owner == library:
                folded[name] = _chain(given, name, library)
    return replace(device, parameters=folded)


def _chain(given: Mapping[str, Mapping[str, Number]], name: str, library: str) -> dict[str, Number]:
    """What a kernel of a name gets with a library: of each more general name, the plain values and the library's."""
    parts = name.split("_")
    out: dict[str, Number] = {}
    for end in range(1, len(parts) + 1):
        general = "_".join(parts[:end])
        out |= {**ATTENTION.get(general, {}), **ATTENTION.get(f"{general}@{library}", {})}
        out |= {**given.get(general, {}), **given.get(f"{general}@{library}", {})}
    return out
