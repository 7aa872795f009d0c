"""From an `Architecture` to a module: one builder for each kind of block, shared by all model families."""

from gambrel.frontends.lower.model import Lowering, lower

__all__ = ["Lowering", "lower"]
