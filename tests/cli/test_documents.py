"""The commands that pages show print what the pages say; `--update-golden` writes the output into the page anew.

A block of the language `console` is `$ gambrel ...` and its output at width 80. A line `...` stands for any lines.
"""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?<=```console\n)\$ gambrel (?P<command>[^\n]*)\n(?P<output>.*?)(?=^```)", re.DOTALL | re.MULTILINE
)
GAP = "..."
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shown_output_is_real(page, cli, request, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    renewed = BLOCK.sub(lambda block: renew(block, cli), text)
    if request.config.getoption("--update-golden"):
        page.write_text(renewed)
        return
    shown, real = (list(BLOCK.finditer(version)) for version in (text, renewed))
    for block, now in zip(shown, real, strict=True):
        assert block["output"] == now["output"], f"$ gambrel {block['command']} (--update-golden accepts it)"


def renew(block: re.Match[str], cli) -> str:
    """The block with the output that the command gives now, cut where the shown output is."""
    result = cli(*shlex.split(block["command"]))
    lines = (result.stdout + result.stderr).splitlines()
    shown = block["output"].splitlines()
    if GAP in shown:
        before = shown.index(GAP)
        after = len(shown) - before - 1
        lines = [*lines[:before], GAP, *lines[len(lines) - after :]]
    return f"$ gambrel {block['command']}\n" + "".join(f"{line}\n" for line in lines)


def test_there_are_pages():
    assert ROOT / "docs" / "tutorial.md" in PAGES
