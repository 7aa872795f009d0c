"""Kinds of sharing key heads in decode attention, which run kernels of their own."""

GROUPINGS = ("mha", "gqa", "mqa")
"""Few query heads per key head, up to MQA_GROUP, more."""

MQA_GROUP = 32.0
"""Groups above this size run a kernel of their own, as multi-query and latent attention do."""

FEW = {"sglang-flashinfer": 3.0}
"""Largest group of the first kind by library, where not 1.

Source: SGLang's FlashInfer back end takes FlashInfer's tensor-core kernels from four query heads per key head on.
"""


def grouping(group: float, library: str = "") -> str:
    """The kind of a number of query heads per key head."""
    if group <= FEW.get(library, 1.0):
        return GROUPINGS[0]
    return GROUPINGS[1] if group <= MQA_GROUP else GROUPINGS[2]
