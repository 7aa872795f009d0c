"""Reports of searches: what was asked, the best plan in detail, pools, and what cannot be met."""

import json
import re

import pytest
from browsers import chromium, needs_chromium

from gambrel.estimation.points import Workload
from gambrel.report.pools import pools_html, requests_per_s
from gambrel.search.disaggregated import search_disaggregated
from gambrel.search.plan import search
from gambrel.search.saved import check_folder, read_saved, save
from gambrel.search.space import Space
from gambrel.search.targets import Limits

WORK = Workload(isl=1000, osl=100)
SPACE = Space(batches=(4, 32), prefill_chunks=(100_000,), sub_batches=(1,), strategies=("megatron",))
MODEL, MACHINE = "llama-3.1-8b", "h100-sxm"


def plans(**options):
    return search(MODEL, MACHINE, devices=4, workload=WORK, space=SPACE, points=True, **options)


def pools(**options):
    return search_disaggregated(MODEL, MACHINE, devices=4, workload=WORK, space=SPACE, **options)


def saved(result, folder):
    check_folder(folder)
    save(result, folder)
    return folder


def report(cli, folder, tmp_path, *options) -> str:
    page = tmp_path / "page.html"
    result = cli("report", str(folder), "-o", str(page), *options)
    assert (result.code, result.stderr) == (0, "")
    return page.read_text()


def shown(html: str) -> str:
    body = re.sub(r"<(script|style).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


@pytest.mark.parametrize("limits", [Limits(), Limits(ttft_s=1e-6, tpot_s=1.0)])
@pytest.mark.parametrize("kind", [plans, pools])
def test_what_is_saved_is_read_again(kind, limits, tmp_path):
    result = kind(limits=limits, overrides=("memory.hbm.bandwidth=2x",))
    again = read_saved(saved(result, tmp_path / "run")).result
    assert json.loads(json.dumps(again.to_dict())) == json.loads(json.dumps(result.to_dict()))


def test_a_folder_of_something_else_is_no_search(tmp_path):
    assert read_saved(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"kind": "sweep"}')
    assert read_saved(tmp_path) is None


def test_a_manifest_that_is_not_whole_is_one_error(cli, tmp_path):
    folder = saved(pools(), tmp_path / "run")
    record = json.loads((folder / "manifest.json").read_text())
    del record["result"]["best"]
    (folder / "manifest.json").write_text(json.dumps(record))
    result = cli("report", str(folder), "-o", str(tmp_path / "page.html"))
    assert result.code == 2
    assert "is not the manifest of a search of this version" in result.stderr


@pytest.mark.parametrize("objective", ["tokens_per_s_per_device", "ttft"])
def test_the_best_plan_of_the_search_is_the_one_in_detail(cli, tmp_path, objective):
    result = plans(objective=objective)
    text = shown(report(cli, saved(result, tmp_path / "run"), tmp_path))
    row = read_saved(tmp_path / "run").best_row
    assert f"Plan {row} of the {len(result.points):,} plans of the search run" in text
    assert result.points[row] == result.best[0]
    assert ("wanted: least TTFT" if objective == "ttft" else "wanted: most output tokens/s per device") in text
    assert f"{result.counts.priced:,} points priced" in text


def test_an_infeasible_search_is_a_page_about_the_nearest_plan(cli, tmp_path):
    result = plans(limits=Limits(ttft_s=1e-6))
    text = shown(report(cli, saved(result, tmp_path / "run"), tmp_path))
    assert "Infeasible. Tightest: TTFT 1 us is asked" in text
    assert "The plan that comes nearest" in text


def test_where_nothing_fits_the_page_says_what_is_lacking(cli, tmp_path):
    for number, result in enumerate(
        (
            search("llama-3.1-405b", MACHINE, devices=1, workload=WORK, space=SPACE),
            search_disaggregated("llama-3.1-405b", MACHINE, devices=2, workload=WORK, space=SPACE),
        )
    ):
        folder = saved(result, tmp_path / f"run{number}")
        assert "of a device is the least that is needed" in shown(report(cli, folder, tmp_path))


def test_rates_of_the_parts_have_the_rate_of_the_pair_as_their_least():
    for pair in pools().best:
        rates = requests_per_s(pair, WORK)
        assert min(rates.values()) == pytest.approx(pair.metrics["requests_per_s"])
        assert min(rates, key=lambda name: rates[name]) == pair.bound


@needs_chromium
def test_a_browser_draws_the_page_of_pools(tmp_path):
    html = pools_html(pools())
    page = tmp_path / "page.html"
    script = """<script>addEventListener("error", (e) => { document.body.dataset.error = e.message; });</script>"""
    page.write_text(html.replace("<head>", f"<head>{script}"), encoding="utf-8")
    dom = chromium(page, tmp_path, "--dump-dom", "--virtual-time-budget=20000")
    assert "data-error" not in dom
    keys = set(re.findall(r'data-figure="([^"]*)"', html))
    assert {"rates", "pareto", "prefill-time", "decode-time", "prefill-roofline", "decode-roofline"} <= keys
    assert dom.count('class="main-svg"') >= 2 * len(keys)


def test_the_page_of_pools_needs_nothing_from_elsewhere():
    head = pools_html(pools()).partition("</style>")[0]
    assert "default-src 'none'" in head
    assert "http" not in re.sub(r"http-equiv", "", head)
