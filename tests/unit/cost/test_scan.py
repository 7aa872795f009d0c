"""What a recurrence costs: bytes of the rule, seconds of the engine, and rows and memory of a whole model."""

from dataclasses import replace

import numpy as np
import pytest
from xdsl.ir import Block, SSAValue
from xdsl.parser import Parser

from gambrel.cost.engines import Residency, parameters, price
from gambrel.cost.engines.gpu_scan import STAGED_USES
from gambrel.cost.extract import extract
from gambrel.cost.kernel import BOUNDS, Scan
from gambrel.cost.memory import memory_table
from gambrel.cost.roofline import roofline
from gambrel.cost.rules import draft
from gambrel.cost.rules.scan import staged_bytes
from gambrel.frontends.architecture import Architecture, GatedDeltaNet, Layer, Mamba2, Mlp, Norm, Segment, SelfAttention
from gambrel.frontends.lower import lower
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device
from gambrel.ir.pointwise import MAPS
from gambrel.ir.scan import Conv1dOp, ScanKind, ScanOp
from gambrel.ir.text import new_context
from gambrel.passes.registry import parse_pipeline, run_pipeline

B, S, G, H, N, P, C = 2, 96, 4, 8, 16, 24, 48
BINDING = {"b": B, "s": S}
LOOP = Residency(activations_hot=True)


def values(*texts: str) -> list[SSAValue]:
    types = [Parser(new_context(), f"!model.t<{text}>").parse_type() for text in texts]
    return list(Block(arg_types=types).args)


def scan(kind: ScanKind, tokens: str = "s") -> ScanOp:
    q, v, step = f"bf16, [b, {tokens}, 4, 16]", f"bf16, [b, {tokens}, 8, 24]", f"bf16, [b, {tokens}, 8]"
    q_, k_, v_, state, step_ = values(q, q, v, "fp32, [b, 8, 16, 24]", step)
    return ScanOp(kind, q_, k_, v_, state, step_, chunk=C)


@pytest.mark.parametrize("kind", ["gdn", "mamba2"])
@pytest.mark.parametrize("tokens", ["s", "1"])
def test_a_scan_moves_its_operands_and_its_states_twice(kind: ScanKind, tokens: str) -> None:
    op = scan(kind, tokens)
    made = draft(op)
    assert made is not None
    length = S if tokens == "s" else 1
    states = B * H * N * P * 4
    assert made.bytes_read.evaluate(BINDING) == B * length * (2 * G * N + H * P + H) * 2 + states
    assert made.bytes_written.evaluate(BINDING) == B * length * H * P * 2 + states
    assert made.flops == op.flops
    assert made.family == "recurrence"


def test_kernels_of_the_delta_rule_pass_their_parts_through_memory() -> None:
    """By kernel: what each reads and writes, less operands and results counted once."""
    scores = N * 2 + 4 * C
    inverse = 4 * C + 2 * C
    corrected = 2 * C + (N + P) * 2 + (N + P) * 2
    states = (N + N + P) * 2 + N * P * 2 // C + P * 2
    outputs = (N + N + P) * 2 + N * P * 2 // C + P * 2
    each = scores + inverse + corrected + states + outputs
    once = 2 * G * N * 2 + 2 * H * P * 2
    assert staged_bytes(scan("gdn")).evaluate(BINDING) == B * S * (H * each - once)


def test_kernels_of_the_state_space_pass_states_and_scores_through_memory() -> None:
    states, values_again = 4 * 4 * N * P // C, P * 2
    expected = B * S * (H * (states + values_again) + G * (2 * 4 * C + N * 2))
    assert staged_bytes(scan("mamba2")).evaluate(BINDING) == expected


def test_a_convolution_reads_and_writes_its_state() -> None:
    x, weight, state, bias = values("bf16, [b, s, 8, 24]", "bf16, [8, 24, 4]", "bf16, [b, 8, 24, 3]", "bf16, [8, 24]")
    made = draft(Conv1dOp(x, weight, state, bias, activation="silu"))
    assert made is not None
    tokens, kept = B * S * 8 * 24 * 2, B * 8 * 24 * 3 * 2
    assert made.bytes_read.evaluate(BINDING) == tokens + 8 * 24 * 4 * 2 + kept + 8 * 24 * 2
    assert made.bytes_written.evaluate(BINDING) == tokens + kept
    assert made.family == "recurrence"
    bound = made.kernel.bind({name: size.evaluate(BINDING) for name, size in made.kernel.sizes.items()})
    assert isinstance(bound, Scan)
    assert (bound.variant, bound.tokens, bound.blocks) == ("conv", S, B * 8 * 24)
    assert bound.flops == B * S * 8 * 24 * (2 * 4 + MAPS["silu"].flops)


@pytest.fixture(scope="module")
def gpu() -> Device:
    return replace(load_device("h100-sxm"), parameters={})


def kernel(**changes: float | str) -> Scan:
    plain = Scan(
        variant="gdn",
        tokens=4096.0,
        chunk=64.0,
        blocks=1024.0,
        flops=1e12,
        bytes_read=1e6,
        bytes_written=1e6,
        staged_bytes=0.0,
        rate="bf16",
    )
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]


CHUNKED = parameters.Scan()
START = CHUNKED.launch + CHUNKED.inverse_time
"""Of separate kernels, of which one inverts whole chunks."""


def fused(gpu: Device) -> Device:
    return replace(gpu, parameters={"scan": {"fused": 1.0}})


def test_matrix_work_of_a_full_device(gpu: Device) -> None:
    cost = price(kernel(), gpu)
    assert cost.seconds == pytest.approx(START + 1e12 / (CHUNKED.compute_efficiency * gpu.matrix_flops_per_s["bf16"]))
    assert BOUNDS[int(cost.bound)] == "compute"


def test_the_last_chunk_is_padded(gpu: Device) -> None:
    whole, padded = price(kernel(), gpu).seconds, price(kernel(tokens=4096.0 + 1), gpu).seconds
    assert (padded - START) / (whole - START) == pytest.approx(65 * 64 / 4097)


def test_a_part_of_a_chunk_takes_that_share_of_its_serial_steps(gpu: Device) -> None:
    whole, half = (price(kernel(tokens=tokens, flops=1.0), gpu).seconds for tokens in (64.0, 32.0))
    assert whole - half == pytest.approx(CHUNKED.inverse_time / 2)


@pytest.mark.parametrize(("blocks", "waves"), [(1, 1), (132, 1), (133, 2), (264, 2), (396, 3)])
def test_streams_come_in_waves_where_one_kernel_walks_through_the_chunks(gpu: Device, blocks: int, waves: int) -> None:
    assert gpu.num_units == 132
    each = 1e9
    cost = price(kernel(blocks=float(blocks), flops=blocks * each), fused(gpu))
    unit = CHUNKED.compute_efficiency * gpu.matrix_flops_per_s["bf16"] / 132
    assert cost.seconds == pytest.approx(CHUNKED.launch + waves * each / unit)


def test_separate_kernels_pay_for_staging_and_for_the_chain(gpu: Device) -> None:
    staged = kernel(flops=1.0, staged_bytes=1e10)
    bandwidth = CHUNKED.memory_efficiency * gpu.memory_bandwidth_bytes_per_s
    assert price(staged, gpu).seconds == pytest.approx(START + (2e6 + 1e10) / bandwidth, rel=1e-5)
    assert price(kernel(flops=1.0, bytes_read=1e9), fused(gpu)).seconds == pytest.approx(
        CHUNKED.launch + (1e9 + 1e6) / bandwidth
    )
    chained = price(kernel(flops=1.0), gpu)
    assert chained.seconds == pytest.approx(START + 4096 / 64 * CHUNKED.chunk_time)
    assert BOUNDS[int(chained.bound)] == "latency"


def test_what_kernels_hand_to_each_other_stays_in_the_cache_where_it_fits(gpu: Device) -> None:
    no_chain = replace(gpu, parameters={"scan": {"chunk_time": 1e-12, "cache_share": 1.0}})
    staged = STAGED_USES * gpu.cache_bytes / 2
    bandwidth = CHUNKED.memory_efficiency * gpu.memory_bandwidth_bytes_per_s
    rate = CHUNKED.cache_bytes_per_clock_per_unit * gpu.clock_hz * gpu.num_units
    cost = price(kernel(flops=1.0, staged_bytes=staged), no_chain)
    assert cost.seconds == pytest.approx(START + 2e6 / bandwidth + staged / rate)


def test_one_step_is_a_sweep_over_the_states(gpu: Device) -> None:
    p = parameters.SCANS["step"]
    step = kernel(variant="step", tokens=1.0, chunk=1.0, flops=1e6, bytes_read=1e9, bytes_written=1e9)
    expected = p.launch + 2e9 / (p.memory_efficiency * gpu.memory_bandwidth_bytes_per_s)
    assert price(step, gpu).seconds == pytest.approx(expected)


def test_states_that_a_loop_left_in_the_cache_are_there_once(gpu: Device) -> None:
    p = parameters.SCANS["step"]
    states = 0.9 * p.cache_share * gpu.cache_bytes
    apart = kernel(variant="step", tokens=1.0, flops=1.0, bytes_read=states, bytes_written=states)
    in_place = replace(apart, in_place_bytes=states)
    rate = p.cache_bytes_per_clock_per_unit * gpu.clock_hz * gpu.num_units
    assert price(in_place, gpu, LOOP).seconds == pytest.approx(p.launch + 2 * states / rate)
    assert price(in_place, gpu, LOOP).seconds < roofline(in_place, gpu).seconds < price(apart, gpu, LOOP).seconds
    assert price(in_place, gpu).seconds == price(apart, gpu).seconds


@pytest.mark.parametrize(("tokens", "computed"), [(1.0, 1024.0), (1024.0, 1024.0), (1025.0, 2048.0)])
def test_a_block_of_a_convolution_takes_its_tokens_even_where_there_are_fewer(
    gpu: Device, tokens: float, computed: float
) -> None:
    p = parameters.SCANS["conv"]
    each = 1e6
    conv = kernel(variant="conv", tokens=tokens, chunk=1024.0, flops=each * tokens)
    expected = p.launch + each * computed / (p.compute_efficiency * gpu.vector_flops_per_s)
    assert price(conv, gpu).seconds == pytest.approx(expected)


def test_the_kernels_of_a_library_that_are_known_to_differ_do_so_on_every_device(gpu: Device) -> None:
    staged = kernel(flops=1.0, staged_bytes=1e10)
    assert price(replace(staged, library="vllm-flashinfer"), gpu).seconds == price(staged, fused(gpu)).seconds
    given = replace(gpu, parameters={"scan_gdn@vllm-flashinfer": {"fused": 0.0}})
    assert price(replace(staged, library="vllm-flashinfer"), given).seconds == price(staged, gpu).seconds


def test_an_empty_scan_costs_nothing_and_arrays_price_as_scalars_do(gpu: Device) -> None:
    assert price(kernel(flops=0.0), gpu).seconds == 0.0
    tokens = np.array([1.0, 63.0, 64.0, 65.0, 1e6])
    together = price(replace(kernel(), tokens=tokens), gpu).seconds
    assert list(together) == [price(replace(kernel(), tokens=t), gpu).seconds for t in tokens]


HYBRID = Architecture(
    name="small",
    model_type="test",
    hidden=64,
    vocab=512,
    segments=(
        Segment(
            count=3,
            layers=(
                Layer(
                    attention=GatedDeltaNet(key_heads=4, value_heads=8, key_dim=16, value_dim=24, conv_kernel=4),
                    ffn=Mlp(width=96, gated=True, activation="silu"),
                    norm=Norm(kind="rms"),
                    placement="pre",
                ),
                Layer(
                    attention=Mamba2(heads=8, head_dim=16, state=32, groups=4, conv_kernel=4, chunk=64, norm_groups=4),
                    ffn=None,
                    norm=Norm(kind="rms"),
                    placement="pre",
                ),
                Layer(
                    attention=None,
                    ffn=Mlp(width=96, gated=False, activation="relu2"),
                    norm=Norm(kind="rms"),
                    placement="pre",
                ),
                Layer(
                    attention=SelfAttention(heads=8, kv_heads=2, head_dim=16, v_head_dim=16, output_gate=True),
                    ffn=Mlp(width=96, gated=True, activation="silu"),
                    norm=Norm(kind="rms"),
                    placement="pre",
                ),
            ),
        ),
    ),
    tied_embeddings=False,
    embedding_width=64,
    final_norm=Norm(kind="rms"),
)


@pytest.mark.parametrize("strategy", ["megatron", "sequence-parallel", "moe-ep", "attention-dp-moe-ep"])
def test_every_kernel_of_a_hybrid_is_priced_under_every_strategy(strategy: str) -> None:
    module = lower(HYBRID)
    run_pipeline(module, parse_pipeline(f"shard{{strategy={strategy}}},insert-collectives,stages,fuse"))
    table = extract(module)
    scans = [(row.name, row.phase) for row in table.rows if "model.scan" in row.op]
    assert scans == [
        ("l0.gdn.scan", "prefill"),
        ("l1.mamba.scan", "prefill"),
        ("l0.gdn.scan", "decode"),
        ("l1.mamba.scan", "decode"),
    ]
    assert [(item.repetitions, item.layers_each) for item in table.segments] == [(3, 4)]


def test_convolutions_of_one_layer_are_one_kernel() -> None:
    module = lower(HYBRID)
    run_pipeline(module, parse_pipeline("shard{strategy=megatron axes=tp},insert-collectives,fuse"))
    names = [row.name for row in extract(module).rows if "model.conv1d" in row.op]
    assert (
        names
        == [
            *("l0.gdn.q_conv + l0.gdn.k_conv + l0.gdn.v_conv", "l1.mamba.x_conv + l1.mamba.b_conv + l1.mamba.c_conv"),
        ]
        * 2
    )


def test_states_are_memory_that_does_not_grow_with_the_context() -> None:
    module = lower(HYBRID)
    run_pipeline(module, parse_pipeline("shard{strategy=megatron axes=tp}"))
    kept = {item.name: item.size for item in memory_table(module).residents if item.kind == "kv_cache"}
    state = kept["l0.gdn.state"]
    assert state.evaluate({"b": 5, "tp": 2}) == 5 * (8 // 2) * 16 * 24 * 4
    assert kept["l1.mamba.x_conv_state"].evaluate({"b": 5, "tp": 2}) == 5 * (8 // 2) * 16 * 3 * 2
    assert {name for name, size in kept.items() if "t" in size.symbols} == {"l3.attn.k_cache", "l3.attn.v_cache"}
