from dataclasses import replace

import numpy as np
import pytest

from gambrel.cost.engines import price
from gambrel.cost.engines.collective import START_UPS
from gambrel.cost.kernel import Gemm, Transfer
from gambrel.cost.numbers import TIME_POWERS, device_numbers, with_numbers
from gambrel.estimation.api import machine
from gambrel.hardware.load import list_profiles
from gambrel.units import DIMENSIONS

PRODUCT = Gemm(m=8.0, n=4096.0, k=4096.0, batch=1.0, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0)


def reduction(message_bytes: float) -> Transfer:
    return Transfer(op="all_reduce", message_bytes=message_bytes, group=8.0, stride=1.0)


@pytest.mark.parametrize("name", list_profiles())
def test_the_same_numbers_are_the_same_device(name):
    device = machine(name)
    numbers = device_numbers(device)
    same = with_numbers(device, {number: each.value for number, each in numbers.items()})
    assert replace(same, parameters=device.parameters) == device
    assert device_numbers(same) == numbers
    if device.links:
        for size in (1e3, 1e6, 1e9):
            assert price(reduction(size), same).seconds == pytest.approx(price(reduction(size), device).seconds)


@pytest.mark.parametrize("name", list_profiles())
def test_every_number_changes_alone(name):
    device = machine(name)
    numbers = device_numbers(device)
    for number, each in numbers.items():
        changed = device_numbers(with_numbers(device, {number: each.value * 2.0}))
        assert {n: c.value / numbers[n].value for n, c in changed.items()} == {
            n: 2.0 if n == number else 1.0 for n in numbers
        }


def test_all_start_ups_of_a_transfer_scale_with_that_of_the_link():
    device = machine("h200-sxm")
    slower = with_numbers(device, {"links.nvlink.latency": device.links[0].latency_s * 3.0})
    nothing = reduction(1e-3)
    assert price(nothing, slower).seconds == pytest.approx(3.0 * float(price(nothing, device).seconds), rel=1e-6)


def test_a_device_whose_parameters_are_defaults_scales_too():
    device = replace(machine("h200-sxm"), parameters={})
    slower = with_numbers(device, {"links.nvlink.latency": device.links[0].latency_s * 3.0})
    assert price(reduction(1e-3), slower).seconds == pytest.approx(
        3.0 * float(price(reduction(1e-3), device).seconds), rel=1e-6
    )


def test_numbers_may_be_arrays():
    device = machine("h200-sxm")
    factors = np.array([1.0, 2.0, 4.0])
    many = with_numbers(device, {"memory.bandwidth": device.memory_bandwidth_bytes_per_s * factors})
    each = [
        price(PRODUCT, with_numbers(device, {"memory.bandwidth": device.memory_bandwidth_bytes_per_s * f})).seconds
        for f in factors
    ]
    np.testing.assert_array_equal(price(PRODUCT, many).seconds, each)


def test_a_number_that_is_not_there():
    with pytest.raises(KeyError, match=r"h200-sxm has no links\.ether"):
        with_numbers(machine("h200-sxm"), {"links.ether.bandwidth": 1e9})


def test_units_are_known_and_start_ups_are_parameters():
    assert set(TIME_POWERS) < set(DIMENSIONS)
    assert {each.unit for name in list_profiles() for each in device_numbers(machine(name)).values()} <= set(DIMENSIONS)
    assert "low_latency_launch" in START_UPS
    assert "ring_hop" in START_UPS
