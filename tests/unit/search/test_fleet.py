import itertools
import math

import pytest

from gambrel.errors import PlanError
from gambrel.search.fleet import RequestClass, plan_fleet
from gambrel.search.space import Space
from gambrel.search.targets import Limits

MACHINES = ("h100-sxm", "mi300x", "tpu-v5e")
SPACE = Space(batches=(8, 64), strategies=("megatron",), sub_batches=(1,), prefill_chunks=(100_000,))
CHAT = RequestClass(name="chat", isl=500, osl=200, requests_per_s=60.0, limits=Limits(tpot_s=0.05))
DOCUMENTS = RequestClass(name="documents", isl=8000, osl=300, requests_per_s=6.0, limits=Limits(ttft_s=4.0))


def fleet(*mix, **options):
    return plan_fleet("llama-3.1-8b", MACHINES, mix=mix, sizes=(1, 4), space=SPACE, **options)


@pytest.fixture(scope="module")
def both():
    return fleet(CHAT, DOCUMENTS)


def test_every_request_is_served_and_no_instance_works_more_than_all_the_time(both):
    for each in (CHAT, DOCUMENTS):
        served = sum(instance.requests_per_s.get(each.name, 0.0) for instance in both.instances)
        assert served == pytest.approx(each.requests_per_s, rel=1e-6)
    for instance in both.instances:
        busy = sum(
            rate / (instance.plans[name].metrics["tokens_per_s"] / {"chat": 200, "documents": 300}[name])
            for name, rate in instance.requests_per_s.items()
        )
        assert instance.busy == pytest.approx(busy / instance.count)
        assert instance.busy <= 1.0 + 1e-6
    assert both.usd_per_h == pytest.approx(sum(instance.usd_per_h for instance in both.instances))
    assert both.bound_usd_per_h <= both.usd_per_h * (1 + 1e-6)


def test_plans_meet_the_limits_of_what_they_serve(both):
    for instance in both.instances:
        for name, choice in instance.plans.items():
            limits = {"chat": CHAT, "documents": DOCUMENTS}[name].limits
            for metric, limit in limits.given():
                assert choice.metrics[metric] <= limit


def test_one_class_alone_is_the_cheapest_whole_number_of_instances():
    """With one class the program is: cover its rate with instances of rate R and rent w, by brute force."""
    result = fleet(CHAT)
    kinds = []
    for name in MACHINES:
        for size in (1, 4):
            alone = plan_fleet("llama-3.1-8b", name, mix=(CHAT,), sizes=(size,), space=SPACE)
            if not alone.feasible:
                continue
            (instance,) = alone.instances
            rate = instance.plans["chat"].metrics["tokens_per_s"] / CHAT.osl
            assert instance.count == math.ceil(CHAT.requests_per_s / rate - 1e-9)
            kinds.append((rate, instance.usd_per_h / instance.count))
    most = [math.ceil(CHAT.requests_per_s / rate) for rate, _ in kinds]
    rents = [
        sum(n * rent for n, (_, rent) in zip(counts, kinds, strict=True))
        for counts in itertools.product(*(range(min(count, 6) + 1) for count in most))
        if sum(n * rate for n, (rate, _) in zip(counts, kinds, strict=True)) >= CHAT.requests_per_s * (1 - 1e-9)
    ]
    assert result.usd_per_h == pytest.approx(min(rents))
    assert min(result.single.values()) >= result.usd_per_h * (1 - 1e-9)


def test_scarce_machines_are_not_exceeded():
    result = fleet(CHAT, DOCUMENTS, available={"h100-sxm": 1, "mi300x": 0})
    used = {name: sum(i.count * i.devices for i in result.instances if i.machine == name) for name in MACHINES}
    assert used["h100-sxm"] <= 1
    assert used["mi300x"] == 0
    assert used["tpu-v5e"] > 0


def test_a_class_that_nothing_serves_is_named():
    result = fleet(RequestClass(name="instant", isl=8000, osl=10, requests_per_s=1.0, limits=Limits(ttft_s=1e-6)))
    assert not result.feasible
    assert result.unserved == ("instant",)


@pytest.mark.parametrize(
    ("mix", "options", "what"),
    [
        ((), {}, "no requests"),
        ((CHAT, CHAT), {}, "named 'chat'"),
        ((CHAT,), {"overrides": ("price.rent=unknown",)}, "price"),
    ],
)
def test_bad_input(mix, options, what):
    with pytest.raises(Exception, match=what):
        fleet(*mix, **options)


def test_a_rate_is_positive():
    with pytest.raises(PlanError, match="no rate"):
        RequestClass(name="x", isl=1, osl=1, requests_per_s=0.0)
