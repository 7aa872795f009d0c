"""The engine of hosts: its formulas, its caches, and what never happens."""

from dataclasses import replace

import numpy as np
import pytest

from gambrel.cost.engines import COLD, Residency, price
from gambrel.cost.engines.cpu import DECODE, FRESH_ABOVE, Attend, Product, Stream
from gambrel.cost.kernel import BOUNDS, Attention, Gemm, GroupedGemm, MemoryBound
from gambrel.cost.roofline import kernel_bytes, kernel_flops, roofline
from gambrel.hardware.load import load_device

CORES, CLOCK, PEAK, BANDWIDTH, CACHE = 8.0, 3e9, 1e12, 1e11, 2e7
HOST = replace(
    load_device("h100-sxm"),
    engine="cpu",
    num_units=CORES,
    clock_hz=CLOCK,
    matrix_flops_per_s={"fp32": PEAK},
    vector_flops_per_s=PEAK,
    memory_bandwidth_bytes_per_s=BANDWIDTH,
    cache_bytes=CACHE,
    parameters={},
)
P, S = Product(), Stream()


def product(m=512.0, n=1024.0, k=1024.0, batch=1.0):
    return Gemm(m=m, n=n, k=k, batch=batch, rate="fp32", a_bytes=4.0, b_bytes=4.0, c_bytes=4.0)


def stream(elements, op="elementwise", flops=1.0, write=4.0):
    return MemoryBound(
        op=op,
        rows=elements / 64,
        cols=64.0,
        bytes_read=4.0 * elements,
        bytes_written=write * elements,
        flops=flops * elements,
    )


def attention(q=128.0, kv=128.0, decode=False):
    return Attention(
        batch=2.0,
        q_len=q,
        kv_len=kv,
        pairs=q * kv,
        heads=8.0,
        kv_heads=8.0,
        head_dim=64.0,
        v_head_dim=64.0,
        q_bytes=4.0,
        kv_bytes=4.0,
        kv_bytes_total=2.0 * kv * 8 * 2 * 64 * 4,
        decode=decode,
        rate="fp32",
    )


def seconds(kernel, device=HOST, residency=COLD):
    return float(price(kernel, device, residency).seconds)


def test_a_large_product_is_arithmetic():
    kernel = product(4096.0, 8192.0, 8192.0)
    compute = kernel_flops(kernel) / (P.compute_efficiency * PEAK) * (1.0 + P.rows_half / 4096.0)
    assert seconds(kernel) == pytest.approx(compute, rel=0.05)
    assert BOUNDS[int(price(kernel, HOST).bound)] == "compute"


def test_one_row_streams_the_weights_from_memory():
    kernel = product(m=1.0, n=8192.0, k=8192.0)
    weights = 4.0 * 8192.0**2
    stream = weights / (P.memory_efficiency * BANDWIDTH)
    assert stream < seconds(kernel) < 1.6 * stream
    assert BOUNDS[int(price(kernel, HOST).bound)] == "memory"


def test_more_rows_than_one_pack_the_weights():
    with_packing = replace(HOST, parameters={"gemm": {"packing": 2.0, "overlap_norm": 1.0}})
    without = replace(HOST, parameters={"gemm": {"packing": 0.0, "overlap_norm": 1.0}})
    packed = 2.0 * 4.0 * 1024.0**2 / (P.memory_efficiency * BANDWIDTH)
    for m, expected in ((1.0, 0.0), (2.0, packed)):
        difference = seconds(product(m), with_packing) - seconds(product(m), without)
        assert difference == pytest.approx(expected, abs=1e-12)


def test_a_loop_that_keeps_its_weights_finds_them_in_the_cache():
    kernel = product(m=1.0)
    assert seconds(kernel, residency=Residency(weight_copies=1.0)) < 0.6 * seconds(kernel)


def test_a_stream_runs_at_the_rate_of_where_it_fits():
    small, large = stream(2.0**18), stream(2.0**22)
    assert seconds(small) == pytest.approx(
        S.launch + kernel_bytes(small) / (S.cache_bytes_per_clock_per_unit * CLOCK * CORES), rel=1e-6
    )
    share = (S.cache_share * CACHE / kernel_bytes(large)) ** 2
    cold = kernel_bytes(large) * (1.0 - share) / (S.memory_efficiency * BANDWIDTH)
    assert cold < seconds(large) < 1.2 * cold


def test_exponentials_bound_an_activation_in_the_cache():
    elements = 2.0**18
    kernel = stream(elements, flops=40.0)
    compute = 40.0 * elements / (S.flops_per_clock_per_unit * CLOCK * CORES)
    assert seconds(kernel) == pytest.approx(S.launch + compute)


def test_large_results_are_cleared_on_first_touch():
    elements = FRESH_ABOVE / 4.0
    step = seconds(stream(elements)) - seconds(stream(elements * 0.999))
    assert step == pytest.approx(FRESH_ABOVE / S.fresh_bytes_per_s, rel=0.01)


def test_attention_adds_its_softmax():
    p, kernel = Attend(), attention(1024.0, 1024.0)
    compute = kernel_flops(kernel) / (p.compute_efficiency * PEAK)
    scores = 2.0 * 8 * 1024.0**2 / (p.exponentials_per_clock_per_unit * CLOCK * CORES)
    assert seconds(kernel) == pytest.approx(p.launch + compute + scores)


def test_decode_reads_the_cache_of_keys():
    kernel = attention(1.0, 65536.0, decode=True)
    assert seconds(kernel) == pytest.approx(
        DECODE.launch + kernel_bytes(kernel) / (DECODE.memory_efficiency * BANDWIDTH), rel=0.02
    )


def test_experts_are_products_of_their_rows():
    grouped = GroupedGemm(
        rows=64.0, experts=8.0, hit_experts=8.0, n=512.0, k=512.0, rate="fp32", a_bytes=4.0, b_bytes=4.0, c_bytes=4.0
    )
    assert seconds(grouped) > seconds(product(8.0, 512.0, 512.0))


KERNELS = [product(m) for m in (1.0, 7.0, 512.0)] + [
    product(16.0, batch=12.0),
    stream(2.0**24),
    stream(2.0**12, "norm"),
]
KERNELS += [attention(), attention(1.0, 4096.0, decode=True)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_more_hardware_is_never_slower(kernel):
    for change in (
        {"memory_bandwidth_bytes_per_s": 2 * BANDWIDTH},
        {"matrix_flops_per_s": {"fp32": 2 * PEAK}, "vector_flops_per_s": 2 * PEAK},
        {"cache_bytes": 4 * CACHE},
        {"clock_hz": 2 * CLOCK},
    ):
        assert seconds(kernel, replace(HOST, **change)) <= seconds(kernel) * (1.0 + 1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_only_the_cache_explains_times_below_the_roofline(kernel):
    no_cache = replace(HOST, cache_bytes=0.0)
    assert seconds(kernel, no_cache) >= float(roofline(kernel, no_cache).seconds)
    assert seconds(kernel) >= kernel_flops(kernel) / PEAK


def test_arrays_and_scalars_agree_and_nothing_costs_nothing():
    m = np.array([0.0, 1.0, 64.0, 4096.0])
    together = price(product(m), HOST).seconds
    assert together.tolist() == [seconds(product(x)) for x in m.tolist()]
    assert together[0] == 0.0
    assert np.all(np.diff(together) > 0.0)
