"""Number formats of weights, activations and caches, with what they take in memory (block scales counted)."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """How one element is stored and which matrix rate multiplies it.

    Attributes:
        name: As written in types, plans and profiles.
        bits: Of one element, scales apart.
        block: Elements that share one scale; 0 where a scale covers a whole channel or tensor (its bytes vanish).
        scale_bits: Of one block's scale (and zero point).
        rate: Number format whose matrix rate applies when both operands have it.
    """

    name: str
    bits: int
    block: int = 0
    scale_bits: int = 0
    rate: str

    @property
    def bytes_per_element(self) -> Fraction:
        """Exact bytes per element, block scales counted."""
        scale = Fraction(self.scale_bits, self.block) if self.block else Fraction(0)
        return (self.bits + scale) / 8


FORMATS: dict[str, NumberFormat] = {
    item.name: item
    for item in (
        NumberFormat(name="fp32", bits=32, rate="fp32"),
        NumberFormat(name="bf16", bits=16, rate="bf16"),
        NumberFormat(name="fp16", bits=16, rate="fp16"),
        NumberFormat(name="fp8", bits=8, rate="fp8"),
        # DeepSeek-V3 technical report (2024), section 3.3: one FP32 scale for each 128 x 128 block of a weight.
        NumberFormat(name="fp8_block", bits=8, block=128 * 128, scale_bits=32, rate="fp8"),
        NumberFormat(name="int8", bits=8, rate="int8"),
        # AWQ and GPTQ checkpoints: groups of 128 with an FP16 scale and a 4-bit zero point.
        NumberFormat(name="int4", bits=4, block=128, scale_bits=20, rate="int4"),
        # OCP Microscaling Formats (MX) v1.0, 2023: 32 elements share an 8-bit exponent.
        NumberFormat(name="mxfp4", bits=4, block=32, scale_bits=8, rate="mxfp4"),
        # NVIDIA Blackwell: 16 elements share an FP8 scale.
        NumberFormat(name="nvfp4", bits=4, block=16, scale_bits=8, rate="nvfp4"),
        NumberFormat(name="i32", bits=32, rate="fp32"),
    )
}
"""All known formats by name; `i32` is for token ids and routing tables."""

NUMERIC_FORMATS = tuple(name for name in FORMATS if name != "i32")
"""Formats that a weight, an activation or a cache can take."""
