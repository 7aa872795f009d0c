"""Cost rules: one file an op family; each says what its kernel is, what it computes and what it moves."""

from gambrel.cost.rules import attention, collectives, experts, matmul, pointwise, scan, tokens
from gambrel.cost.rules.registry import Draft, draft, priced_ops

__all__ = [
    "Draft",
    "attention",
    "collectives",
    "draft",
    "experts",
    "matmul",
    "pointwise",
    "priced_ops",
    "scan",
    "tokens",
]
