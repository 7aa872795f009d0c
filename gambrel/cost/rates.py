"""Which rate a device uses for a number format that it cannot multiply: the next wider one that it can."""

from collections.abc import Iterable

from gambrel.cost.program import Rates
from gambrel.errors import PlanError, Problem
from gambrel.hardware.device import Device

WIDER: dict[str, tuple[str, ...]] = {
    "nvfp4": ("fp8", "bf16", "fp16", "fp32"),
    "mxfp4": ("nvfp4", "fp8", "bf16", "fp16", "fp32"),
    "int4": ("int8", "bf16", "fp16", "fp32"),
    "fp8": ("bf16", "fp16", "fp32"),
    "int8": ("bf16", "fp16", "fp32"),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "fp32": (),
}
"""Formats into which operands are widened, in order of preference; each holds every value of the format before it, but
for fp16, which stands in for bf16 on devices that lack it."""


def resolve_rate(device: Device, rate: str) -> str:
    """The rate that the device uses: the format's own, or the first wider one.

    Raises:
        PlanError: The device has no rate for it.
    """
    for candidate in (rate, *WIDER.get(rate, ())):
        if candidate in device.matrix_flops_per_s or candidate == "fp32":
            return candidate
    raise PlanError(
        Problem(
            where=device.name,
            what=f"no rate for {rate} products and for none that is wider",
            fix=f"It has {', '.join(device.matrix_flops_per_s)}",
        )
    )


def rates_of(device: Device) -> Rates:
    """The choice of rates for one device."""
    return lambda rate: resolve_rate(device, rate)


def upcasts(device: Device, rates: Iterable[str]) -> list[str]:
    """A sentence for each format that is multiplied at another format's rate."""
    notes: list[str] = []
    for rate in sorted(set(rates)):
        used = resolve_rate(device, rate)
        if used != rate:
            notes.append(
                f"{device.name} has no {rate} matrix rate: {rate} operands are widened and multiplied in {used}"
            )
    return notes
