"""What tests of commands share; makes `tests/` importable: test folders are not packages."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def toy() -> str:
    """The profile of a device with round numbers."""
    return str(Path(__file__).parent / "toy.yaml")
