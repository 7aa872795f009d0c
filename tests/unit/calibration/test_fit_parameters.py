"""Fits: known parameters come back, what rows cannot show stays at its prior, and too little is refused."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from gambrel.calibration.calibrate import LEAST_POINTS, calibrate, refit
from gambrel.calibration.cases import Case, predict_case
from gambrel.calibration.fit import maximise, with_effect
from gambrel.calibration.limits import WIDER, beyond_fitted
from gambrel.calibration.measurements import measurements
from gambrel.calibration.operation import Call
from gambrel.calibration.predict import predict_kernels
from gambrel.calibration.priors import Prior, current_values, parameter_family, prior_of
from gambrel.calibration.tables import operation_named
from gambrel.cost.engines import Residency
from gambrel.cost.engines.lookup import resolve
from gambrel.cost.engines.parameters import gemm_defaults
from gambrel.cost.kernel import Gemm, MemoryBound
from gambrel.errors import PlanError, UsageError
from gambrel.hardware.load import load_device

H100 = load_device("h100-sxm")
BARE = replace(H100, parameters={}, parameter_grades={}, uncertainty={}, fitted_ranges={})
TRUE = {"launch": 4.0e-6, "memory_efficiency": 0.74, "compute_efficiency": 0.6, "wave_overhead": 2.0e-6}
NOISE = 0.05


def shapes(count, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "m": 2.0 ** rng.integers(0, 14, count),
        "n": 2.0 ** rng.integers(5, 15, count),
        "k": 2.0 ** rng.integers(5, 14, count),
        "dtype": np.full(count, "bfloat16"),
    }


def noisy_gemm(count, seed=0, device=None):
    """Times of a device with TRUE parameters and log-normal noise."""
    table = shapes(count, seed)
    device = device or replace(BARE, parameters={"gemm_bf16": TRUE})
    seconds = predict_kernels("gemm", device, table).seconds
    noise = np.exp(np.random.default_rng(seed + 1).normal(size=count) * NOISE)
    return {**table, "latency_us": seconds * 1e6 * noise}


def fitted(table, device=BARE, op="gemm", seed=0):
    parts = [measurements(table, operation_named(op), "times.csv")]
    return calibrate(device, parts, seed=seed, report=lambda _: None)


@pytest.mark.parametrize(("count", "tolerance", "error"), [(20, 0.3, 0.13), (300, 0.1, 0.06)])
def test_known_parameters_come_back(count, tolerance, error):
    found = fitted(noisy_gemm(count)).families[0]
    assert found.family == "gemm_bf16"
    assert found.n == found.n_held_out == count
    assert found.values["compute_efficiency"] == pytest.approx(TRUE["compute_efficiency"], rel=tolerance)
    # A kernel has one wave at least: only many waves tell its overhead from the launch.
    start = found.values["launch"] + found.values["wave_overhead"]
    assert start == pytest.approx(TRUE["launch"] + TRUE["wave_overhead"], rel=tolerance)
    assert found.mape_after < found.mape_before
    unseen = noisy_gemm(400, seed=7)
    after = replace(BARE, parameters={"gemm_bf16": dict(found.values)})
    estimates = predict_kernels("gemm", after, unseen).seconds * 1e6
    assert np.abs(estimates / unseen["latency_us"] - 1.0).mean() < error


def kernel(m=1.0):
    return Gemm(m=m, n=1024.0, k=1024.0, batch=1.0, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0)


def test_the_held_out_error_is_that_of_unseen_shapes():
    found = fitted(noisy_gemm(60)).families[0]
    unseen = noisy_gemm(400, seed=7)
    after = replace(BARE, parameters={"gemm_bf16": dict(found.values)})
    real = np.abs(predict_kernels("gemm", after, unseen).seconds * 1e6 / unseen["latency_us"] - 1.0).mean()
    assert found.mape_after == pytest.approx(real, abs=0.04)


def test_a_refit_device_has_the_parameters_that_a_calibration_reports():
    table = noisy_gemm(30) | {"backend": np.array(["vllm"] * 15 + ["sglang"] * 15)}
    parts = [measurements(table, operation_named("gemm"), "times.csv")]
    found = calibrate(BARE, parts, report=lambda _: None)
    assert refit(BARE, parts).parameters == {each.family: each.values for each in found.families}


def collectives(count, seed=0):
    """All-reduces of two libraries on a device where those of NCCL have their own algorithm."""
    rng = np.random.default_rng(seed)
    table = {
        "collective": np.full(count, "all_reduce"),
        "num_gpus": 2.0 ** rng.integers(1, 4, count),
        "message_bytes": 2.0 ** rng.integers(8, 30, count),
        "impl": np.array(["nccl", "custom_allreduce"] * (count // 2)),
    }
    family = "collective_nvlink_all_reduce"
    true = replace(BARE, parameters={family: {"one_shot_launch": 9e-6}, f"{family}@nccl": {"one_shot_launch": 2e-5}})
    return {**table, "latency_us": predict_kernels("collective", true, table).seconds * 1e6}


def test_libraries_that_are_known_to_differ_do_not_shape_the_set_of_the_others():
    both = fitted(collectives(80), op="collective").families
    table = collectives(80)
    custom = {name: values[table["impl"] != "nccl"] for name, values in table.items()}
    alone = fitted(custom, op="collective").families
    assert [each.family for each in both] == [
        "collective_nvlink_all_reduce",
        "collective_nvlink_all_reduce@nccl",
        "collective_nvlink_all_reduce@custom_allreduce",
    ]
    assert both[0].values == alone[0].values


def test_the_set_of_one_library_needs_fewer_rows_than_a_family():
    table = collectives(48)
    few = {name: values[(table["impl"] != "nccl") | (np.arange(48) < 24)] for name, values in table.items()}
    assert (few["impl"] == "nccl").sum() == 12 < LEAST_POINTS
    assert "collective_nvlink_all_reduce@nccl" in [each.family for each in fitted(few, op="collective").families]


def test_same_seed_same_parameters():
    table = noisy_gemm(30)
    assert fitted(table, seed=3).families[0].values == fitted(table, seed=3).families[0].values


def test_a_parameter_without_effect_is_left_out():
    def prior(names):
        zeros = np.zeros(len(names))
        return Prior(names, zeros, zeros + 0.5, zeros - 2.0, zeros + 2.0)

    def errors(values):
        return np.log(values["a"]) * np.ones(3)

    assert with_effect(errors, prior(("a", "b"))).names == ("a",)
    assert maximise(errors, prior(("a",))).values["a"] == pytest.approx(1.0, abs=1e-3)


def test_a_strong_prior_holds_and_many_rows_win():
    prior = Prior(("a",), np.zeros(1), np.full(1, 0.1), np.full(1, -5.0), np.full(1, 5.0))
    few = maximise(lambda values: np.log(values["a"] / 2.0) * np.ones(1), prior).values["a"]
    many = maximise(lambda values: np.log(values["a"] / 2.0) * np.ones(400), prior).values["a"]
    assert 1.0 < few < many == pytest.approx(2.0, rel=0.01)


def test_a_fit_that_begins_where_an_earlier_one_ended_is_no_worse():
    """Two valleys: from the prior's centre alone the far and deeper one is not found."""
    prior = Prior(("a", "b"), np.zeros(2), np.full(2, 3.0), np.full(2, -9.0), np.full(2, 9.0))

    def errors(values):
        x = np.log(values["a"])
        return np.full(50, min(abs(x + 1.0) + 0.4, abs(x - 5.0)) + 0.0 * values["b"])

    cold = maximise(errors, prior, starts=1)
    warm = maximise(errors, prior, starts=1, known={"a": np.exp(4.5)})
    assert np.log(cold.values["a"]) == pytest.approx(-1.0, abs=0.1)
    assert np.log(warm.values["a"]) == pytest.approx(5.0, abs=0.1)
    assert warm.cost < cold.cost


def test_the_prior_is_wider_where_only_defaults_are_known():
    known, unknown = prior_of(kernel(), H100), prior_of(kernel(), BARE)
    assert np.all(unknown.spread > known.spread)
    assert dict(zip(known.names, np.exp(known.centre), strict=True))["launch"] == pytest.approx(
        current_values(kernel(), H100)["launch"]
    )


@pytest.mark.parametrize("library", ["", "vllm", "sglang"])
def test_the_values_that_a_fit_starts_from_are_those_that_price(library):
    eight = replace(kernel(), rate="fp8", a_bytes=1.0, b_bytes=1.0, library=library)
    for device in (H100, BARE):
        priced = resolve(gemm_defaults(device), device, "gemm", "fp8", library)
        assert current_values(eight, device, library) == pytest.approx(asdict(priced))


def test_parameters_of_another_vendor_take_no_part():
    amd = load_device("mi300x")
    defaults = current_values(kernel(), replace(amd, parameters={}))
    assert current_values(kernel(), amd)["wave_overhead"] == defaults["wave_overhead"]


def test_the_roofline_engine_is_fitted_under_its_own_family():
    ascend = load_device("ascend-910b")
    assert parameter_family(kernel(), ascend) == "roofline_bf16"
    assert parameter_family(MemoryBound(op="norm", rows=1, cols=1, bytes_read=1, bytes_written=1, flops=1), ascend) == (
        "roofline_norm"
    )
    found = fitted(noisy_gemm(30, device=replace(ascend, parameters={"roofline": {"launch": 2e-5}})), ascend).families[
        0
    ]
    assert found.values["launch"] == pytest.approx(2e-5, rel=0.1)
    assert (found.family, found.residual_family) == ("roofline_bf16", "gemm_bf16")


def test_the_roofline_engine_is_fitted_from_nothing_but_its_data_sheet():
    bare = replace(load_device("ascend-910b"), parameters={}, parameter_grades={}, uncertainty={})
    true = {"launch": 2e-5, "compute_efficiency": 0.6, "memory_efficiency": 0.75}
    found = fitted(noisy_gemm(40, device=replace(bare, parameters={"roofline": true})), bare).families[0]
    assert found.values == pytest.approx(true, rel=0.2)
    assert found.mape_after < 0.1


def test_few_rows_of_a_device_like_the_ones_before_it_leave_what_is_known(monkeypatch):
    """Twenty noisy rows of a device that its prior already describes must not take it far from there."""
    known = replace(BARE, parameters={"gemm_bf16": TRUE}, parameter_grades={"gemm_bf16": "transferred"})
    unseen = shapes(400, seed=7)
    right = predict_kernels("gemm", known, unseen).seconds

    def away(seed):
        table = noisy_gemm(20, seed, known)
        table["latency_us"] = table["latency_us"] * np.exp(np.random.default_rng(seed).normal(size=20) * 0.3)
        device = refit(known, [measurements(table, operation_named("gemm"), "times.csv")])
        return np.abs(predict_kernels("gemm", device, unseen).seconds / right - 1.0).mean()

    careful = np.mean([away(seed) for seed in range(4)])
    monkeypatch.setattr("gambrel.calibration.calibrate._settled", lambda *args: args[3])
    assert careful < 0.8 * np.mean([away(seed) for seed in range(4)])


def test_libraries_get_sets_of_their_own():
    slow = replace(BARE, parameters={"gemm_bf16": TRUE, "gemm_bf16@slow": {"launch": 20e-6}})
    halves = [noisy_gemm(40, seed, slow) for seed in (0, 5)]
    table = {name: np.concatenate([half[name] for half in halves]) for name in halves[0]}
    table["library"] = np.array(["slow"] * 40 + ["fast"] * 40)
    table["latency_us"][:40] += 16.0
    found = {family.family: family for family in fitted(table).families}
    assert set(found) == {"gemm_bf16", "gemm_bf16@slow", "gemm_bf16@fast"}
    launches = [found[f"gemm_bf16@{name}"].values.get("launch", TRUE["launch"]) for name in ("slow", "fast")]
    assert launches[0] > 3.0 * launches[1]


def test_too_few_rows_are_refused():
    with pytest.raises(UsageError, match=rf"gemm_bf16: {LEAST_POINTS - 1} rows of .* too few"):
        fitted(noisy_gemm(LEAST_POINTS - 1))


def test_one_shape_is_refused():
    table = noisy_gemm(30)
    same = {name: np.full(30, values[0]) for name, values in table.items()}
    with pytest.raises(UsageError, match="all 30 rows are of one shape"):
        fitted(same)


def test_an_operation_without_an_engine_is_named():
    operation = replace(operation_named("gemm"), name="gemm_of_tomorrow", build=None)
    with pytest.raises(UsageError, match="gemm_of_tomorrow: cannot be estimated"):
        calibrate(BARE, [measurements(noisy_gemm(30), operation, "times.csv")], report=lambda _: None)


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
def test_impossible_times_are_refused(bad):
    table = noisy_gemm(30)
    table["latency_us"][4] = bad
    with pytest.raises(PlanError, match="first in row 4"):
        fitted(table)


def test_outside_the_fitted_sizes_estimates_are_marked_and_wider():
    found = fitted(noisy_gemm(60)).families[0]
    least, most = found.sizes["m"]
    after = replace(
        BARE,
        parameters={"gemm_bf16": dict(found.values)},
        uncertainty={"gemm_bf16": found.band._asdict()},
        fitted_ranges={"gemm_bf16": found.sizes},
    )
    row = {"n": 1024, "k": 1024, "dtype": "bfloat16"}
    inside, outside = (predict_kernels("gemm", after, {**row, "m": [m]}) for m in (most, 10.0 * most))
    assert not inside.extrapolated[0]
    assert outside.extrapolated[0]
    ratio = [(x.upper_s / x.seconds)[0] for x in (inside, outside)]
    assert ratio[1] / ratio[0] == pytest.approx(10.0**WIDER)
    assert beyond_fitted(kernel(10.0 * most), after) == pytest.approx(np.log(10.0))
    assert beyond_fitted(kernel(least), after) == 0.0
    assert beyond_fitted(kernel(1e9), BARE) == 0.0


def test_what_a_loop_holds_is_cut_with_the_rows():
    """A fold of the rows of a call keeps what each row's loop leaves in the cache, and the call's own time."""
    sizes = np.array([1.0, 2.0, 4.0])
    call = Call(
        kernels=(kernel(sizes),),
        residency=Residency(activations_hot=True, working_set_bytes=sizes * 1e6),
        overhead_s=sizes * 1e-6,
    )
    case = Case(call=call, named=call, library="", seconds=sizes, sites=("a", "b", "c"), shapes=("a", "b", "c"))
    cut = case.take(np.array([2, 0]))
    assert (cut.sites, cut.call.residency.activations_hot) == (("c", "a"), True)
    for values in (cut.seconds, cut.kernel.m, cut.call.residency.working_set_bytes / 1e6, cut.call.overhead_s * 1e6):
        assert np.asarray(values).tolist() == [4.0, 1.0]
    assert predict_case(cut, BARE) == pytest.approx(predict_case(case, BARE)[[2, 0]])
