"""A report is one file: its numbers are the estimate's, it loads nothing from elsewhere, and a browser draws it."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gambrel.errors import UsageError
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.table import estimate_table
from gambrel.report.asked import Asked
from gambrel.report.figures.figure import FAMILY_NAMES
from gambrel.report.figures.roofline import compute_roofs, roofline_points
from gambrel.report.figures.time import named_phases
from gambrel.report.make import make_report, plan_of
from gambrel.report.page import report_html, roofline_html
from gambrel.report.points import TableSource, plan_points

MODEL, MACHINE = "llama-3.1-8b", "h100-sxm"
COLUMNS = {"tp": [1, 2, 8], "batch": [1, 8, 64], "weights": ["bf16", "fp8"], "isl": [1024], "osl": [64]}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = ("meta", "br", "input")


class Page(HTMLParser):
    """The scripts by id, what tags refer to, and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: dict[str, str] = {}
        self.styles = ""
        self.addresses: list[str | None] = []
        self.words: list[str] = []
        self._id = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        loading = ("src", "href", "srcset", "data", "action", "poster", "background")
        self.addresses += [value for name, value in attrs if name in loading]
        self._id = dict(attrs).get("id") or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[self._id or f"script {len(self.scripts)}"] = data
        elif self.open[-1:] == ["style"]:
            self.styles += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict:
        return json.loads(self.scripts["figures"])


@pytest.fixture(scope="module")
def source():
    return TableSource(estimate_table(MODEL, MACHINE, columns=COLUMNS), MACHINE)


@pytest.fixture(scope="module")
def report(source):
    points = plan_points(source)
    workload, plan = plan_of(source.records([points.detailed])[0])
    return make_report(Asked(model=MODEL, on=MACHINE, workload=workload, plan=plan), points, "a table")


@pytest.fixture(scope="module")
def html(report):
    return report_html(report)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_it_loads_nothing(page, html):
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\(", page.styles)
    assert (
        html.count("<script") - html.count("<\\/script") == 6
    )  # figures, plans, plotly.js, the page's own; two of the sliders
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    assert "http" not in policy[1]


def test_the_front_is_that_of_the_table(page, source):
    (front,) = [trace for trace in page.figures["pareto"]["data"] if trace["name"] == "front"]
    (others,) = [trace for trace in page.figures["pareto"]["data"] if trace["name"] == "other plans"]
    rows = plan_points(source).rows
    assert sorted(zip(front["x"], front["y"], strict=True)) == sorted(
        (1.0 / row.cells["tpot_s"], row.cells["tokens_per_s_per_device"]) for row in rows if row.on_front
    )
    assert front["x"] == sorted(front["x"])
    assert len(front["x"]) + len(others["x"]) == sum(row.fits for row in rows)


def test_the_table_of_plans_is_the_table(page, source):
    data = json.loads(page.scripts["plan-data"])
    names = [column["name"] for column in data["columns"]]
    assert {"tp", "batch", "weights", "ttft_s", "tpot_s", "memory_bytes", "status"} <= set(names)
    for row, record in zip(data["rows"], source.records(range(len(source))), strict=True):
        cells = dict(zip(names, row["cells"], strict=True))
        assert cells == {**{name: record.get(name) for name in names}, "number": row["number"]}


def test_bars_are_the_estimates(page, report):
    for place, phase in enumerate((report.estimate.prefill, report.estimate.decode)):
        whole = sum(phase.seconds_by_family.values()) + phase.bubble_seconds + phase.host_seconds
        shown = {trace["name"]: trace["x"][place] for trace in page.figures["time"]["data"]}
        expected = {FAMILY_NAMES[name]: 100.0 * value / whole for name, value in phase.seconds_by_family.items()}
        assert shown == pytest.approx(expected)
        bound = {trace["name"]: trace["x"][place] for trace in page.figures["bound"]["data"]}
        busy = sum(phase.seconds_by_bound.values())
        assert bound == pytest.approx({name: 100.0 * phase.seconds_by_bound[name] / busy for name in bound})
        assert sum(bound.values()) == pytest.approx(100.0)
    *held, capacity = (trace["x"][0] for trace in page.figures["memory"]["data"])
    assert sum(held) * 1e9 == pytest.approx(report.estimate.memory.total_bytes)
    assert capacity * 1e9 == report.estimate.memory.capacity_bytes


def test_ops_lie_under_their_roofs(page, report):
    markers = [trace for trace in page.figures["roofline"]["data"] if trace["mode"] == "markers"]
    points = roofline_points(named_phases(report.estimate))
    drawn = sorted(point for trace in markers for point in zip(trace["x"], trace["y"], strict=True))
    assert drawn == sorted((point.flops_per_byte, point.flops_per_s) for point in points)
    device = report.device
    for point in points:
        matrix = device.matrix_flops_per_s.get(point.row.rate, device.vector_flops_per_s)
        roof = min(matrix, point.flops_per_byte * device.memory_bandwidth_bytes_per_s)
        assert point.flops_per_s <= roof * (1 + 1e-9)
    roofs = {roof.name: roof.flops_per_s for roof in compute_roofs(device, points)}
    assert roofs["vector fp32"] == device.vector_flops_per_s
    assert set(roofs) <= {"vector fp32", "fp8", "bf16"}


def test_a_lower_bound_has_no_slopes():
    asked = Asked(model="llama-3.2-1b", on=MACHINE, workload=Workload(osl=1), plan=Plan(), allow_unpriced=True)
    page = Page(report_html(make_report(asked)))
    assert "What would change it" not in page.text
    assert not any(name.startswith("tornado") for name in page.figures)


def test_it_says_what_it_rests_on(page, report):
    estimate = report.estimate
    assert estimate.provenance.profile_hash in page.text
    assert all(" ".join(text.split()) in page.text for text in estimate.assumptions)
    assert "fitted on this device" in page.text
    grades = {item.grade for its in report.intervals.values() for item in its}
    assert all(grade in page.text for grade in grades)


def test_names_are_escaped():
    made = make_report(Asked(model="llama-3.2-1b", on=MACHINE, workload=Workload(osl=1), plan=Plan()))
    evil = report_html(made.__class__(**{**fields_of(made), "source": "", "estimate": renamed(made.estimate)}))
    assert "<script>alert" not in evil
    assert "<script>alert(1)</script>" in Page(evil).text


def fields_of(record) -> dict:
    return {name: getattr(record, name) for name in record.__slots__}


def renamed(estimate):
    return type(estimate)(**{**fields_of(estimate), "model": "<script>alert(1)</script>"})


def test_one_question_has_no_table():
    made = make_report(Asked(model="llama-3.2-1b", on=MACHINE, workload=Workload(osl=1), plan=Plan()))
    page = Page(report_html(made))
    assert "pareto" not in page.figures
    assert "plan-data" not in page.scripts
    assert "decode step" not in page.text


def test_what_does_not_fit_says_what_would():
    made = make_report(Asked(model="llama-3.1-70b", on=MACHINE, workload=Workload(), plan=Plan()))
    page = Page(report_html(made))
    assert "It does not fit." in page.text
    assert made.estimate.violations[0].levers[0].change in page.text


def test_without_plotly_the_error_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(UsageError, match=r"pip install 'gambrel\[plot\]'"):
        report_html(report)


def browse(html: str, folder: Path, script: str = "") -> str:
    """The page's elements after its scripts and another one have run in a browser; fails on any message of theirs."""
    path = folder / "page.html"
    path.write_text(f"{html}<script>{script}</script>")
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}"),
            *("--virtual-time-budget=20000", "--window-size=1280,900", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_it(html, page, tmp_path):
    dom = browse(
        html,
        tmp_path,
        """
        const rows = () => document.querySelectorAll("#plans-table tbody tr").length;
        const boxes = document.querySelectorAll("#filters input[type=checkbox]");
        const results = [rows()];
        boxes[1].click(); results.push(rows());
        boxes[1].click(); boxes[0].click(); results.push(rows());
        [...document.querySelectorAll("#plans-table th button")].find((b) => b.textContent === "TPOT").click();
        results.push(document.querySelector("#plans-table tbody tr td").textContent);
        document.body.dataset.results = JSON.stringify(results);
        """,
    )
    data = json.loads(page.scripts["plan-data"])
    place = [column["name"] for column in data["columns"]].index("tpot_s")
    fastest = min(data["rows"], key=lambda row: row["cells"][place])
    fitting, front = (sum(row[name] for row in data["rows"]) for name in ("fits", "front"))
    found = re.search(r'data-results="([^"]*)"', dom)
    assert found is not None
    assert json.loads(found[1].replace("&quot;", '"')) == [fitting, front, len(data["rows"]), str(fastest["number"])]
    assert 'data-ready="yes"' in dom
    assert dom.count('class="main-svg"') >= len(page.figures)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_the_roofline_alone(report, tmp_path):
    dom = browse(roofline_html(report.estimate, report.device), tmp_path)
    assert 'data-ready="yes"' in dom
    assert dom.count('class="main-svg"') >= 1
