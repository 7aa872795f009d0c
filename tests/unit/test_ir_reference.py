import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_sources_say():
    """`python docs/generate_ir_reference.py` writes it anew."""
    page = runpy.run_path(str(DOCS / "generate_ir_reference.py"))["page"]
    assert (DOCS / "reference" / "ir.md").read_text() == page()
