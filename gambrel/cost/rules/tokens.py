"""Embedding, the last position, and sampling."""

from gambrel.cost.rules.pointwise import Traffic, memory_draft
from gambrel.cost.rules.registry import Draft, rule
from gambrel.ir.expr import ZERO
from gambrel.ir.tokens import EmbedOp, SampleOp, TakeLastOp
from gambrel.ir.types import tensor

_SAMPLE_FLOPS = 3


@rule(EmbedOp)
def embed(op: EmbedOp) -> Draft:
    """Reads one table row for each id and writes it."""
    out = op.type
    reads = {op.ids: tensor(op.ids).local_bytes, op.table: out.local_bytes}
    return memory_draft(Traffic("embedding", ZERO, reads, {op.res: out.local_bytes}), out, family="movement")


@rule(TakeLastOp)
def take_last(op: TakeLastOp) -> Draft:
    """A gather: reads and writes one position of each sequence."""
    out = op.type
    return memory_draft(
        Traffic("gather", ZERO, {op.x: out.local_bytes}, {op.res: out.local_bytes}), out, family="movement"
    )


@rule(SampleOp)
def sample(op: SampleOp) -> Draft:
    """A reduction over the vocabulary: reads the logits once, writes one id; greedy or temperature sampling."""
    logits = tensor(op.logits)
    flops = logits.local_elements * _SAMPLE_FLOPS
    reads = {op.logits: logits.local_bytes}
    return memory_draft(Traffic("sample", flops, reads, {op.res: op.type.local_bytes}), logits, family="movement")
