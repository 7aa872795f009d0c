from pathlib import Path

import pytest


@pytest.fixture
def toy() -> str:
    """The profile of a device with round numbers."""
    return str(Path(__file__).parent / "toy.yaml")
