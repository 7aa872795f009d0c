import math

import pytest

from gambrel.errors import PlanError
from gambrel.estimation import api
from gambrel.estimation.points import Workload
from gambrel.search.disaggregated import search_disaggregated
from gambrel.search.space import Space
from gambrel.search.targets import Limits

WORK = Workload(isl=2000, osl=101)
SPACE = Space(batches=(1, 4, 16), prefill_chunks=(100_000,), sub_batches=(1,), strategies=("megatron",))


def found(**options):
    asked = {"devices": 6, "workload": WORK, "space": SPACE, "limits": Limits(tpot_s=0.05)} | options
    return search_disaggregated("llama-3.1-8b", "h100-sxm", **asked)


@pytest.fixture(scope="module")
def result():
    return found()


def test_the_rate_is_that_of_the_slowest_part(result):
    for each in result.best:
        p, d, steps = each.prefill, each.decode, WORK.osl - 1
        rates = {
            "prefill": p.instances * p.batch / p.seconds,
            "decode": d.instances * d.batch / (steps * d.seconds),
        }
        rate = each.metrics["requests_per_s"]
        assert each.metrics["tokens_per_s"] == pytest.approx(rate * WORK.osl)
        assert rate <= min(rates.values()) * (1 + 1e-12)
        if each.bound in rates:
            assert rate == pytest.approx(rates[each.bound])
        used = p.instances * p.devices + d.instances * d.devices
        assert used <= 6
        assert each.metrics["tokens_per_s_per_device"] == pytest.approx(rate * WORK.osl / used)


def test_times_are_those_of_estimates_and_the_cache_follows_the_first_token(result):
    each = result.best[0]
    prefill = api.estimate(
        "llama-3.1-8b", "h100-sxm", plan=each.prefill.plan, workload=Workload(batch=each.prefill.batch, isl=2000, osl=1)
    )
    decode = api.estimate(
        "llama-3.1-8b",
        "h100-sxm",
        plan=each.decode.plan,
        workload=Workload(batch=each.decode.batch, prefix=1999, isl=1, osl=101),
    )
    assert each.metrics["ttft_s"] == pytest.approx(prefill.ttft_s)
    assert each.decode.seconds == pytest.approx(decode.tpot_s)
    # 32 layers, 8 key heads of 128, keys and values of two bytes
    cache = 2000 * 32 * 8 * 128 * 2 * 2
    assert each.cache_bytes == cache
    link = api.machine("h100-sxm").links[0]
    narrow = min(each.prefill.devices, each.decode.devices)
    transfer = link.latency_s + each.prefill.batch * cache / (link.bandwidth_bytes_per_s * narrow)
    assert each.transfer_s == pytest.approx(transfer)
    assert each.metrics["tpot_s"] == pytest.approx(decode.tpot_s + transfer / 100)


def test_no_other_numbers_of_instances_are_better(result):
    best = result.best[0]
    p, d, steps = best.prefill, best.decode, WORK.osl - 1
    for x in range(1, 6):
        for y in range(1, 6):
            used = x * p.devices + y * d.devices
            if used > 6:
                continue
            rate = min(x * p.batch / p.seconds, y * d.batch / (steps * d.seconds))
            assert rate * WORK.osl / used <= best.metrics["tokens_per_s_per_device"] * (1 + 1e-9)


def test_pools_of_two_machines_are_joined_by_the_slower_outer_link():
    machines = ("h100-sxm", "a100-sxm-80gb")
    mixed = search_disaggregated("llama-3.1-8b", machines, devices=4, workload=WORK, space=SPACE, top=100)
    kinds = {(each.prefill.machine, each.decode.machine): each.link for each in mixed.best}
    assert len(kinds) == 4
    slower = min((api.machine(name).links[-1] for name in machines), key=lambda link: link.bandwidth_bytes_per_s)
    assert kinds["h100-sxm", "a100-sxm-80gb"] == slower.name
    assert kinds["h100-sxm", "h100-sxm"] == api.machine("h100-sxm").links[0].name


def test_limits_that_no_pair_meets_leave_nothing():
    assert not found(limits=Limits(ttft_s=1e-6)).best


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"workload": Workload(isl=100, osl=1)}, "no decode"),
        ({"devices": 1}, "two pools"),
        ({"objective": "energy"}, "not modelled"),
    ],
)
def test_what_cannot_be_asked(options, what):
    with pytest.raises(PlanError, match=what):
        found(**options)


def test_metrics_are_finite(result):
    assert all(math.isfinite(value) for each in result.best for value in each.metrics.values())
