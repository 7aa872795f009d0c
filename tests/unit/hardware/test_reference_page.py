"""The committed reference page is the one that the code makes."""

import pathlib

from gambrel.hardware.reference import schema_reference

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "reference" / "profile-schema.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == schema_reference(), (
        "run python -m gambrel.hardware.reference > docs/reference/profile-schema.md"
    )


def test_the_page_shows_every_level():
    page = schema_reference()
    for heading in ("compute.matrix.NAME", "memory.NAME", "links.NAME", "host.NAME", "sources.NAME", "power"):
        assert f"## `{heading}`" in page
