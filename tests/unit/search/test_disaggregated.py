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


def test_a_limit_that_no_pair_meets_is_named_with_its_gap():
    missed = found(limits=Limits(ttft_s=1e-6, tpot_s=1.0))
    assert (missed.best, missed.feasible) == ([], False)
    tightest = missed.infeasible.tightest
    assert (tightest.metric, tightest.limit) == ("ttft_s", 1e-6)
    assert tightest.reached == missed.infeasible.nearest.metrics["ttft_s"]
    assert tightest.gap == pytest.approx(tightest.reached - 1e-6)
    assert [miss.metric for miss in missed.infeasible.alone] == ["ttft_s"]


def test_limits_that_contradict_each_other_are_told_from_those_that_nothing_meets(result):
    open_limits = found(limits=Limits()).best[0].metrics
    fastest = found(limits=Limits(), objective="ttft").best[0].metrics
    both = Limits(ttft_s=fastest["ttft_s"], tokens_per_s_per_user=1.0, tokens_per_s=open_limits["tokens_per_s"])
    missed = found(limits=both).infeasible
    assert missed.alone == []
    assert missed.tightest in missed.together


def test_a_model_that_fits_nowhere_is_infeasible_by_memory():
    missed = search_disaggregated("llama-3.1-405b", "h100-sxm", devices=2, workload=WORK).infeasible
    assert missed.nearest is None
    assert (missed.tightest.metric, missed.tightest.ratio > 8) == ("memory_bytes", True)


def test_instances_that_do_not_fit_together_say_how_many_devices_do():
    with pytest.raises(PlanError, match=r"take 2 devices for prefill and 2 for decode\. Give 4 or more, not 3"):
        search_disaggregated("llama-3.1-70b", "h100-sxm", devices=3, workload=WORK)


def test_the_front_is_of_pairs_that_meet_the_limits(result):
    places = [(p.metrics["tokens_per_s_per_user"], p.metrics["tokens_per_s_per_device"]) for p in result.front]
    assert result.best[0].metrics["tokens_per_s_per_device"] == max(device for _, device in places)
    assert all(p.metrics["tpot_s"] <= 0.05 for p in result.front)
    for user, device in places:
        assert not any(u >= user and d >= device and (u, d) != (user, device) for u, d in places)


def test_of_pairs_with_the_same_bound_the_faster_comes_first():
    """Where prefill is the bound, decode may be faster for nothing."""
    space = Space(batches=(1, 4, 16, 64), prefill_chunks=(100_000,), strategies=("megatron",))
    best = found(limits=Limits(), space=space, top=500).best
    ordered = [(-each.metrics["tokens_per_s_per_device"], each.metrics["latency_s"]) for each in best]
    assert ordered == sorted(ordered)
    assert len({goal for goal, _ in ordered}) < len(ordered)


def test_pairs_that_do_the_same_on_as_many_devices_are_one(result):
    def said(each):
        pools = (each.prefill, each.decode)
        used = [(pool.machine, pool.devices * pool.instances) for pool in pools]
        return (*used, *(round(value, 6) for value in each.metrics.values()))

    every = found(top=1000).best
    assert len({said(each) for each in every}) == len(every)


def test_machines_are_called_as_they_were_named(tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text("extends: h100-sxm\nid: own\ntitle: Own\n")
    named = search_disaggregated("llama-3.1-8b", profile, devices=2, workload=WORK, space=SPACE)
    assert named.best[0].prefill.machine == str(profile)
    assert [note.machine for note in named.machines] == [str(profile)]


def test_prices_are_needed_for_limits_in_dollars():
    with pytest.raises(PlanError, match="rtx-4090: the profile has no price"):
        search_disaggregated("llama-3.1-8b", "rtx-4090", devices=2, workload=WORK, objective="cost")


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
