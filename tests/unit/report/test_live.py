"""A live page shows in a browser what `gambrel estimate` prints for the command that the page gives."""

import json
import math
import re
import shlex
from functools import lru_cache
from html.parser import HTMLParser

import pytest
from browsers import chromium, needs_chromium

from gambrel.estimation.api import estimate
from gambrel.estimation.points import Plan, Workload
from gambrel.report.asked import Asked
from gambrel.report.live import live_fragment, live_html
from gambrel.report.make import make_report
from gambrel.report.page import report_html

DENSE = Asked(
    model="llama-3.1-8b",
    on="h200-sxm",
    workload=Workload(batch=16, isl=1000, osl=100),
    plan=Plan(tp=2, kv="fp8"),
    overrides=("power.tdp=-10%",),
)
EXPERTS = Asked(
    model="mixtral-8x7b",
    on="b200-sxm",
    workload=Workload(batch=32, isl=2048, osl=64, prefix=100),
    plan=Plan(dp=4, ep=4, strategy="attention-dp-moe-ep"),
)


page_of = lru_cache(live_html)


def data_of(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="live-data">(.*?)</script>', html, re.DOTALL)
    return json.loads(found[1])


class Shown(HTMLParser):
    """The values of the tiles, the classes of all elements, and the text of each by its class."""

    def __init__(self, dom: str) -> None:
        super().__init__()
        self.values: dict[str, float] = {}
        self.text: dict[str, str] = {}
        self.classes: set[str] = set()
        self.places: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(dom)

    def handle_starttag(self, tag, attrs):
        its = dict(attrs)
        if "data-metric" in its:
            self.values[its["data-metric"]] = float(its["data-value"])
            self.places[its["data-metric"]] = [*self._open[-2:], its["class"].strip()]
        self.classes.add(its.get("class") or "")
        if tag not in ("input", "meta", "br"):
            self._open.append(its.get("class") or tag)

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        if self._open:
            self.text[self._open[-1]] = self.text.get(self._open[-1], "") + data


def shown(asked: Asked, folder, moves: dict[str, float | int]) -> Shown:
    """The page after some sliders were moved to values (factors of a machine's numbers)."""
    html = page_of(asked)
    data = data_of(html)
    places = {}
    for name, value in moves.items():
        values = (data["lengths"] | data["degrees"]).get(name, {}).get("values")
        places[name] = values.index(value) if values else round(10 * value) + 40
    script = f"""
    for (const [name, at] of Object.entries({json.dumps(places)})) {{
      const slider = document.getElementById("live-" + name);
      slider.value = at;
      slider.dispatchEvent(new Event("input"));
    }}"""
    # A busy machine may draw no frame before the page is read, so that a frame is due at once here.
    html = html.replace("<head>", "<head><script>window.requestAnimationFrame = (draw) => draw();</script>")
    page = folder / "live.html"
    page.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return Shown(chromium(page, folder, "--dump-dom", "--virtual-time-budget=2000"))


MOVES = {
    "as it starts": (DENSE, {}),
    "lengths": (DENSE, {"batch": 48, "isl": 3072, "osl": 1, "prefix": 512}),
    "degrees": (DENSE, {"tp": 1, "pp": 4, "dp": 2}),
    "the machine": (DENSE, {"memory.bandwidth": 1, "compute": -1, "links.nvlink.bandwidth": 2, "price": 0.5}),
    "too much": (DENSE, {"batch": 4096, "memory.capacity": -1}),
    "experts": (EXPERTS, {"tp": 2, "ep": 8, "memory.bandwidth": 0.5}),
    "experts on one device": (EXPERTS, {"dp": 1, "ep": 1}),
}
"""Sliders of lengths and degrees by value, those of the machine by the log2 of the factor."""


@needs_chromium
@pytest.mark.parametrize("name", MOVES)
def test_the_page_shows_what_its_command_prints(name, tmp_path, cli):
    page = shown(*MOVES[name][:1], tmp_path, MOVES[name][1])
    command = shlex.split(page.text["code"])
    assert command[:2] == ["gambrel", "estimate"]
    result = json.loads(cli(*command[1:], "--format", "json").stdout)
    assert page.values.pop("devices") == result["devices"]
    for path, value in page.values.items():
        if result[path] is None:
            assert math.isnan(value), path
        else:
            assert value == pytest.approx(result[path], rel=1e-9), path
    fits = "It fits the memory." if result["feasible"] else "It does not fit the memory: "
    assert page.text[f"live-status {'good' if result['feasible'] else 'bad'}"].startswith(fits)


@needs_chromium
def test_degrees_that_cannot_run_are_shown_as_such(tmp_path, cli):
    page = shown(EXPERTS, tmp_path, {"dp": 1, "ep": 8})
    assert page.text["live-status bad"] == "This cannot run: ep = 8 does not divide dp x cp x tp = 1."
    assert all(map(math.isnan, page.values.values()))
    assert "live-row wrong" in page.classes
    assert "live-charts stale" in page.classes
    failed = cli(*shlex.split(page.text["code"])[1:])
    assert failed.code == 2
    assert "ep = 8 does not divide" in failed.stderr


@needs_chromium
def test_rules_on_the_workload_are_rules_of_the_page(tmp_path):
    asked = Asked(model="opt-6.7b", on="h200-sxm", workload=Workload(batch=2), plan=Plan())
    page = shown(asked, tmp_path, {"isl": 2048})
    assert page.text["live-status bad"].startswith("This cannot run: workload: opt-6.7b has a table of 2050 learned")


@needs_chromium
def test_a_report_has_the_sliders(tmp_path):
    asked = Asked(model="llama-3.2-1b", on="h200-sxm", workload=Workload(), plan=Plan())
    page = tmp_path / "report.html"
    page.write_text(report_html(make_report(asked)), encoding="utf-8")
    found = Shown(chromium(page, tmp_path, "--dump-dom", "--virtual-time-budget=5000"))
    assert found.values["ttft_s"] == pytest.approx(estimate("llama-3.2-1b", "h200-sxm").ttft_s, rel=1e-9)
    assert found.places["ttft_s"] == ["live", "live-tiles", "tile"]


def test_the_page_needs_nothing_from_elsewhere():
    html = page_of(DENSE)
    assert "default-src 'none'" in html
    assert not re.search(r"https?://", html)
    assert not re.search(r"<(link|img|iframe)|\ssrc=", html)


def test_sliders_are_those_that_matter():
    dense, experts = data_of(page_of(DENSE)), data_of(page_of(EXPERTS))
    assert {knob["key"] for knob in dense["knobs"]} == {
        "memory.bandwidth",
        "memory.capacity",
        "compute",
        "links.nvlink.bandwidth",
        "links.ib.bandwidth",
        "price",
    }
    assert dense["degrees"]["ep"] == {"values": [1], "start": 1}
    assert experts["degrees"]["ep"] == {"values": [1, 2, 4, 8], "start": 4}
    assert dense["degrees"]["tp"]["start"] == 2


def test_what_was_asked_is_a_value_of_its_slider():
    asked = Asked(model="llama-3.2-1b", on="h200-sxm", workload=Workload(batch=9999, isl=777, osl=3), plan=Plan(dp=3))
    data = data_of(live_fragment(asked))
    for name, value in (("batch", 9999), ("isl", 777), ("osl", 3)):
        assert value in data["lengths"][name]["values"]
        assert data["lengths"][name]["start"] == value
    assert 3 in data["degrees"]["dp"]["values"]


def test_the_command_keeps_what_no_slider_changes():
    fixed = data_of(page_of(DENSE))["command"]["fixed"]
    assert fixed == "--plan.kv fp8 --set power.tdp=-10%"
