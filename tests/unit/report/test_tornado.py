import json

import pytest

from gambrel.estimation.points import Plan, Workload
from gambrel.report.figures.tornado import MOST_BARS, tornado
from gambrel.report.sensitivity import FIXED
from gambrel.search.sensitivity import Dependence, Sensitivity, sensitivity


def made_up(*elasticities: tuple[str, float], fixed: float = 0.0) -> Sensitivity:
    numbers = [
        Dependence(name=name, title=name, value=1e12, unit="B/s", elasticity=value) for name, value in elasticities
    ]
    return Sensitivity(
        model="m",
        device="d",
        devices=1,
        workload=Workload(),
        plan=Plan(),
        metric="tpot",
        title="TPOT",
        value=0.01,
        unit="s",
        numbers=numbers,
        fixed=fixed,
        counts=(),
        fits=True,
    )


def test_bars_are_the_elasticities():
    found = sensitivity("llama-3.1-8b", "h100-sxm", "tpot", plan=Plan(tp=2), workload=Workload(batch=8))
    spec = json.loads(tornado(found).spec)
    drawn = {name: x for bars in spec["data"] for name, x in zip(bars["y"], bars["x"], strict=True)}
    expected = {each.title: each.elasticity for each in found.numbers} | {FIXED: found.fixed}
    assert drawn == {name: value for name, value in expected.items() if abs(value) >= 5e-4}
    order = spec["layout"]["yaxis"]["categoryarray"]
    assert order == sorted(drawn, key=lambda name: -abs(drawn[name]))


def test_it_says_what_matters_most():
    figure = tornado(made_up(("matrix peak, bf16", -0.1), ("memory bandwidth", -0.62), ("start-up time", 0.3)))
    assert figure.statement == (
        "1 % more memory bandwidth cuts the TPOT by 0.62 %; start-up time lengthens the TPOT by 0.3 %"
    )
    assert "matrix peak in bf16 cuts" in tornado(made_up(("matrix peak, bf16", -0.1))).statement


@pytest.mark.parametrize(
    ("elasticities", "note"),
    [
        ([("a", -0.5), ("b", -1e-5)], "Not shown: 2 that hardly matter."),
        ([(f"n{n}", -0.1 * n) for n in range(1, MOST_BARS + 3)], "Not shown: 2 that matter less and 1 that hardly"),
        ([(f"n{n}", -0.1) for n in range(1, 3)], "Not shown: 1 that hardly matter."),
    ],
)
def test_what_is_left_out_is_said(elasticities, note):
    assert note in tornado(made_up(*elasticities)).note


def test_nothing_matters():
    assert tornado(made_up()).statement == "No number of the device changes the TPOT"
