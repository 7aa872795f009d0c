"""Types and values from their text, so that a test reads like the IR."""

from collections.abc import Callable

import pytest
from xdsl.ir import Block, SSAValue
from xdsl.parser import Parser

from gambrel.ir.text import new_context
from gambrel.ir.types import TensorType, tensor


def parse_type(text: str) -> TensorType:
    return tensor(Parser(new_context(), f"!model.t<{text}>").parse_type())


@pytest.fixture
def kind() -> Callable[[str], TensorType]:
    """`kind("bf16, [b, 64{tp}]")` is the type `!model.t<bf16, [b, 64{tp}]>`."""
    return parse_type


@pytest.fixture
def values() -> Callable[..., list[SSAValue]]:
    """`values("bf16, [b]", "i32, [s]")` are two values of these types."""
    return lambda *texts: list(Block(arg_types=[parse_type(text) for text in texts]).args)
