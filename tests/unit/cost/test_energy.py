"""Energy of a kernel, and the clock that a power limit leaves it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gambrel.cost.energy import Work, energy_per_flop, has_energy, kernel_joules, operate, standing_w, work
from gambrel.cost.engines import price
from gambrel.cost.kernel import Attention, Gemm, GroupedGemm, Kernel, MemoryBound, Transfer
from gambrel.cost.roofline import kernel_bytes, kernel_flops
from gambrel.cost.whatif import scale_clock
from gambrel.errors import ProfileError
from gambrel.estimation.api import estimate
from gambrel.estimation.points import Workload
from gambrel.hardware.device import Device, Power
from gambrel.hardware.load import load_device

TDP, IDLE, STATIC, ACTIVE = 700.0, 70.0, 150.0, 300.0
PER_FLOP, PER_BYTE, PER_LINK_BYTE = 0.8e-12, 60e-12, 80e-12
POWER = Power(
    tdp_w=TDP,
    idle_w=IDLE,
    static_w=STATIC,
    active_w=ACTIVE,
    energy_per_flop_j={"bf16": PER_FLOP},
    energy_per_byte_j=PER_BYTE,
)


H100 = load_device("h100-sxm")
BASE = replace(H100, links=tuple(replace(link, energy_per_byte_j=PER_LINK_BYTE) for link in H100.links[:1]))


def device(**changes: float) -> Device:
    """An H100 with round energies, and a link that costs some too."""
    return replace(BASE, power=replace(POWER, **changes))


def product(m: float = 4096.0, n: float = 4096.0, k: float = 4096.0) -> Gemm:
    return Gemm(m=m, n=n, k=k, batch=1.0, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0)


STREAM = MemoryBound(op="elementwise", rows=65536.0, cols=4096.0, bytes_read=1e9, bytes_written=1e9, flops=0.0)
EXPERTS = GroupedGemm(
    rows=512.0,
    experts=8.0,
    hit_experts=8.0,
    n=4096.0,
    k=4096.0,
    rate="bf16",
    a_bytes=2.0,
    b_bytes=2.0,
    c_bytes=2.0,
)
PREFILL = Attention(
    batch=4.0,
    q_len=4096.0,
    kv_len=4096.0,
    pairs=4096.0 * 4097.0 / 2.0,
    heads=32.0,
    kv_heads=8.0,
    head_dim=128.0,
    v_head_dim=128.0,
    q_bytes=2.0,
    kv_bytes=2.0,
    kv_bytes_total=4.0 * 4096.0 * 8.0 * 256.0 * 2.0,
    decode=False,
    rate="bf16",
)
REDUCE = Transfer(op="all_reduce", message_bytes=1e8, group=8.0, stride=1.0)
KERNELS: tuple[Kernel, ...] = (product(), product(m=1.0), STREAM, EXPERTS, PREFILL, REDUCE)


def test_work_is_flops_and_bytes_at_their_energies() -> None:
    kernel = product(m=100.0)
    spent = work(kernel, device())
    assert spent.core == pytest.approx(2.0 * 100.0 * 4096.0**2 * PER_FLOP)
    assert spent.memory == pytest.approx(2.0 * (2.0 * 100.0 * 4096.0 + 4096.0**2) * PER_BYTE)


def test_work_of_a_transfer_is_what_the_ring_sends() -> None:
    spent = work(REDUCE, device())
    assert spent.core == 0.0
    assert spent.memory == pytest.approx(2.0 * 7.0 / 8.0 * 1e8 * PER_LINK_BYTE)


def test_cache_bytes_are_operands_fetched_once_a_tile() -> None:
    plain, cached = work(product(), device()), work(product(), device(energy_per_cache_byte_j=1e-12))
    fetched = kernel_flops(product()) / 2.0 * (2.0 + 2.0) / 128.0
    assert cached.core - plain.core == pytest.approx(fetched * 1e-12)
    streamed = work(STREAM, device(energy_per_cache_byte_j=1e-12)).core
    assert streamed == pytest.approx(kernel_bytes(STREAM) * 1e-12), "at least each operand once"


def test_a_missing_format_takes_the_energy_of_a_wider_one() -> None:
    assert energy_per_flop(device(), "nvfp4") == PER_FLOP
    assert energy_per_flop(device(), "fp32") == 0.0


def test_a_kernel_below_the_limit_takes_active_power_and_its_work() -> None:
    point = operate(STREAM, device())
    assert point.joules == pytest.approx(ACTIVE * point.seconds + 2e9 * PER_BYTE)
    assert kernel_joules(Work(1.0, 2.0), 0.1, POWER) == pytest.approx(ACTIVE * 0.1 + 1.0 + 2.0)


def test_a_kernel_above_the_limit_takes_the_limit() -> None:
    point = operate(product(), device())
    assert ACTIVE * point.seconds + work(product(), device()).core > TDP * point.seconds
    assert point.joules == pytest.approx(TDP * point.seconds)


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_a_limit_the_time_is_the_engines(kernel: Kernel) -> None:
    cost, point = price(kernel, device()), operate(kernel, device())
    assert point.seconds == cost.seconds
    assert point.bound == cost.bound


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cap_w", [TDP, 2.0 * TDP])
def test_a_cap_at_or_above_the_default_limit_changes_nothing(kernel: Kernel, cap_w: float) -> None:
    plain, capped = operate(kernel, device()), operate(kernel, device(cap_w=cap_w))
    assert capped.seconds == pytest.approx(plain.seconds, rel=1e-12)
    assert capped.joules == pytest.approx(plain.joules, rel=1e-9)
    assert capped.bound == plain.bound


def test_a_capped_product_runs_at_the_clock_whose_power_is_the_cap() -> None:
    """The clock s solves `idle + memory/t + v(s)^2 (active - idle + core/t) = cap`, from s0 at the default limit."""
    machine, floor, cap = device(cap_w=500.0, voltage_floor=0.4), 0.4, 500.0
    spent, full = work(product(), machine), operate(product(), device()).seconds
    square = (TDP - IDLE - spent.memory / full) / (ACTIVE - IDLE + spent.core / full)
    nominal = (np.sqrt(square) - floor) / (1.0 - floor)
    point = operate(product(), machine)
    slower = price(product(), scale_clock(device(), 3.0 / 4.0)).seconds
    slowdown = 1.0 + (point.seconds - full) / (slower - full) / 3.0
    assert 1.0 < slowdown < 4.0 / 3.0
    voltage = floor + (1.0 - floor) * nominal / slowdown
    watts = IDLE + spent.memory / point.seconds + voltage**2 * (ACTIVE - IDLE + spent.core / point.seconds)
    assert watts == pytest.approx(cap, rel=1e-5)
    assert point.joules == pytest.approx(cap * point.seconds, rel=1e-5)


def test_a_stream_slows_less_than_a_product() -> None:
    lost = [operate(kernel, device(cap_w=450.0)).seconds / operate(kernel, device()).seconds for kernel in KERNELS[:3]]
    assert lost[0] > 1.2
    assert lost[2] == pytest.approx(1.0, abs=0.02)


def test_a_cap_below_the_slowest_clock_rests_in_between() -> None:
    point = operate(product(), device(cap_w=100.0))
    assert point.joules == pytest.approx(100.0 * point.seconds)
    slowest = operate(product(), device(clock_hz=1e6))
    above = slowest.joules - IDLE * slowest.seconds
    assert point.seconds == pytest.approx(above / (100.0 - IDLE), rel=1e-5)


def test_a_locked_clock_above_what_the_limit_leaves_changes_nothing() -> None:
    free, locked = (
        operate(product(), device()),
        operate(product(), device(clock_hz=0.95 * float(np.asarray(BASE.clock_hz)))),
    )
    assert locked.seconds == pytest.approx(free.seconds)


def test_half_the_clock_halves_a_kernel_that_nothing_else_limits() -> None:
    cool = {"energy_per_flop_j": {"bf16": 1e-15}}
    base = replace(device(), power=replace(POWER, **cool))
    half = replace(base, power=replace(base.power, clock_hz=0.5 * base.clock_hz))
    expected = price(product(), scale_clock(base, 0.5))
    point = operate(product(), half)
    assert point.seconds == pytest.approx(expected.seconds, rel=1e-9)
    spent, gain = work(product(), base), (0.4 + 0.6 * 0.5) ** 2
    joules = (IDLE + gain * (ACTIVE - IDLE)) * expected.seconds + gain * spent.core + spent.memory
    assert point.joules == pytest.approx(joules, rel=1e-6)


def test_arrays_and_scalars_agree() -> None:
    sizes = np.array([1.0, 64.0, 1024.0, 8192.0])
    together = operate(product(m=sizes), device(cap_w=450.0))  # pyright: ignore[reportArgumentType]
    alone = [operate(product(m=float(m)), device(cap_w=450.0)) for m in sizes]
    assert together.seconds.tolist() == [float(point.seconds) for point in alone]
    assert together.joules.tolist() == [float(point.joules) for point in alone]


def test_many_caps_at_once() -> None:
    caps = np.array([250.0, 400.0, 550.0])
    together = operate(product(), replace(device(), power=replace(POWER, cap_w=caps)))
    alone = [float(operate(product(), device(cap_w=float(cap))).seconds) for cap in caps]
    assert together.seconds.tolist() == pytest.approx(alone)


def test_an_empty_kernel_costs_nothing() -> None:
    for machine in (device(), device(cap_w=300.0)):
        point = operate(product(m=0.0), machine)
        assert point.seconds == 0.0
        assert point.joules == 0.0


def test_standing_power_is_static_or_idle() -> None:
    assert standing_w(POWER) == STATIC
    assert standing_w(replace(POWER, static_w=None)) == IDLE
    assert standing_w(replace(POWER, static_w=None, idle_w=None)) == 0.0
    assert not has_energy(replace(device(), power=Power(tdp_w=TDP, energy_per_flop_j={})))


kernels = st.sampled_from(KERNELS)
caps = st.floats(80.0, 900.0)


@given(kernel=kernels, low=caps, high=caps)
def test_a_lower_cap_is_never_faster_and_never_exceeded(kernel: Kernel, low: float, high: float) -> None:
    low, high = sorted((low, high))
    tight, loose = operate(kernel, device(cap_w=low)), operate(kernel, device(cap_w=high))
    assert tight.seconds >= loose.seconds * (1.0 - 1e-6)
    assert tight.joules <= low * tight.seconds * (1.0 + 1e-9)
    assert tight.joules >= IDLE * tight.seconds * (1.0 - 1e-9)


@given(kernel=kernels, low=st.floats(3e8, 2.5e9), high=st.floats(3e8, 2.5e9))
def test_a_lower_clock_is_never_faster_and_never_draws_more(kernel: Kernel, low: float, high: float) -> None:
    low, high = sorted((low, high))
    slow, fast = operate(kernel, device(clock_hz=low)), operate(kernel, device(clock_hz=high))
    assert slow.seconds >= fast.seconds * (1.0 - 1e-6)
    assert slow.joules / slow.seconds <= fast.joules / fast.seconds * (1.0 + 1e-6)


@given(kernel=kernels)
def test_energy_lies_between_active_power_and_the_limit(kernel: Kernel) -> None:
    point = operate(kernel, device())
    assert ACTIVE * point.seconds <= point.joules <= TDP * point.seconds * (1.0 + 1e-12)


@given(m=st.floats(1.0, 1e4), factor=st.floats(1.0, 8.0))
def test_energy_grows_with_the_work(m: float, factor: float) -> None:
    less, more = operate(product(m=m), device()), operate(product(m=m, n=4096.0 * factor), device())
    small, large = work(product(m=m), device()), work(product(m=m, n=4096.0 * factor), device())
    assert large.core >= small.core
    assert large.memory >= small.memory
    if more.seconds >= less.seconds:
        assert more.joules >= less.joules


def test_what_ifs_reach_the_estimate() -> None:
    work_load = Workload(batch=16, isl=2048, osl=32)
    plain, capped, locked = (
        estimate("llama-3-8b", "h100-sxm", workload=work_load, overrides=overrides)
        for overrides in ((), ("power.cap=350W",), ("power.clock=900 MHz",))
    )
    assert plain.energy_j is not None
    for other in (capped, locked):
        assert other.energy_j is not None
        assert other.ttft_s > 1.2 * plain.ttft_s
        assert other.tpot_s == pytest.approx(plain.tpot_s, rel=0.2)
        assert other.energy_j < plain.energy_j
    assert capped.energy_j is not None
    assert capped.energy_j <= 350.0 * capped.latency_s


@pytest.mark.parametrize(
    ("override", "why"),
    [("power.cap=50W", "no clock is low enough"), ("power.voltage_floor=1.5", "share of the voltage")],
)
def test_what_ifs_that_make_no_sense_are_refused(override: str, why: str) -> None:
    with pytest.raises(ProfileError, match=why):
        load_device("h100-sxm", [override])
