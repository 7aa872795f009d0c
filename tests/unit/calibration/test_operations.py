"""How rows of measured operations become kernels."""

import numpy as np
import pytest

from gambrel.calibration.operation import Call
from gambrel.calibration.priors import parameter_family
from gambrel.calibration.tables import OPERATIONS, read_table
from gambrel.cost.engines import COLD, price
from gambrel.cost.kernel import Attention, Convolution, Gemm, GroupedGemm, MemoryBound, Scan, Transfer
from gambrel.cost.roofline import kernel_bytes, kernel_flops
from gambrel.hardware.load import load_device

H100 = load_device("h100-sxm")


def calls(name: str, table: dict[str, object]) -> list[Call]:
    operation = OPERATIONS[name]
    read = read_table(operation, table)
    assert not read.problems
    assert operation.build is not None
    return [operation.build(group.rows) for group in operation.groups(read.rows)]


@pytest.mark.parametrize(
    ("backend", "dtype", "kernel_source", "library"),
    [
        ("vllm", "fp8_block", "DeepGemmFp8BlockScaledMMKernel", "vllm-deepgemm-eager"),
        ("vllm", "fp8_block", "torch_ops", "vllm-eager"),
        ("vllm", "fp8", "CutlassFP8ScaledMMLinearKernel", "vllm"),
        ("sglang", "int8_wo", "sglang", "sglang-eager"),
        ("sglang", "fp8_block", "deepgemm", "sglang"),
    ],
)
def test_products_that_a_host_issues_one_by_one_are_of_a_library_of_their_own(
    backend: str, dtype: str, kernel_source: str, library: str
) -> None:
    shape = {"m": [16.0], "n": 4096.0, "k": 4096.0}
    (call,) = calls("gemm", {**shape, "dtype": dtype, "backend": backend, "kernel_source": kernel_source})
    (kernel,) = call.kernels
    assert isinstance(kernel, Gemm)
    assert (kernel.library, kernel.quantized_from_bytes > 0) == (library, dtype != "int8_wo")


MLA = {"num_heads": [16.0], "batch": [4.0], "isl": [1.0], "step": [1023.0], "dtype": "bfloat16", "kv_dtype": "fp8"}


def test_latent_decode_reads_the_latents_once() -> None:
    (call,) = calls("mla", {**MLA, "table": "generation_mla", "backend": "trtllm"})
    (kernel,) = call.kernels
    assert isinstance(kernel, Attention)
    assert kernel.decode
    queries_and_outputs = 4 * 16 * (576 + 512) * 2
    assert kernel_bytes(kernel) == 4 * 1024 * 576 * 1 + queries_and_outputs
    assert kernel_flops(kernel) == 2 * 4 * 16 * 1024 * (576 + 512)


def test_latent_prefill_has_keys_and_values_of_every_head() -> None:
    (call,) = calls("mla", {**MLA, "isl": [128.0], "step": [0.0], "table": "context_mla"})
    (kernel,) = call.kernels
    assert isinstance(kernel, Attention)
    assert (kernel.head_dim, kernel.v_head_dim, kernel.decode) == (192.0, 128.0, False)
    assert kernel_flops(kernel) == 2 * 4 * 16 * (128 * 129 / 2) * (192 + 128)


@pytest.mark.parametrize(("table", "tokens"), [("mla_generation_module", 4), ("mla_context_module", 4 * 128)])
def test_a_latent_module_is_the_sum_of_its_kernels(table: str, tokens: int) -> None:
    isl = tokens / 4
    (call,) = calls("mla", {**MLA, "isl": [isl], "table": table, "gemm_type": "bfloat16", "backend": "trtllm"})
    products = sum(kernel_flops(k) for k in call.kernels if isinstance(k, Gemm))
    heads, down, out = 16, 7168 * (1536 + 576), 16 * 128 * 7168
    # Decode multiplies each head's queries and results with the latents' factors; prefill expands the latents.
    up = 1536 * heads * 192 + heads * 2 * 128 * 512
    assert products == 2 * tokens * (down + up + out)
    assert isinstance(call.kernels[call.main], Attention)


def test_a_token_is_sent_to_each_device_that_holds_some_of_its_experts() -> None:
    shape = {"num_tokens": [128.0], "hidden": [7168.0], "topk": [8.0], "num_experts": [256.0], "ep_size": 8.0}
    (normal,) = calls("moe_alltoall", {**shape, "op_name": "normal", "phase": "dispatch", "sms": 20.0})
    (low,) = calls("moe_alltoall", {**shape, "op_name": "ll", "phase": "combine"})
    sent, copied = normal.kernels[0], low.kernels[0]
    assert isinstance(sent, Transfer)
    assert isinstance(copied, Transfer)
    assert sent.message_bytes == pytest.approx(128 * 8 * (1 - (7 / 8) ** 8) * 7168 * 1.03125)
    assert copied.message_bytes == pytest.approx(128 * 8 * 7168 * 2)
    assert (sent.units, copied.units) == (20.0, 0.0)
    assert sent.library == "sglang_deepep_normal-dispatch"


def test_an_encoder_masks_nothing() -> None:
    (call,) = calls(
        "attention_encoder", {"batch": 2.0, "s": [577.0], "num_heads": 16.0, "head_dim": 72.0, "dtype": "bf16"}
    )
    assert kernel_flops(call.kernels[0]) == 2 * 2 * 16 * 577**2 * 144


DELTA = {
    "batch": 4.0,
    "seq_len": [1.0],
    "num_k_heads": 16.0,
    "head_k_dim": 128.0,
    "num_v_heads": 32.0,
    "head_v_dim": 128.0,
}


def test_a_step_of_the_delta_rule_sweeps_over_the_states() -> None:
    source = "fused_recurrent_gated_delta_rule"
    (call,) = calls("linear_attention", {**DELTA, "phase": "generation", "kernel_source": source})
    (kernel,) = call.kernels
    assert isinstance(kernel, Scan)
    states = 2 * 4 * 32 * 128 * 128 * 4
    assert kernel.variant == "step"
    assert states < kernel_bytes(kernel) < 1.05 * states


CONVOLUTION = {**DELTA, "seq_len": [1024.0], "phase": "context", "kernel_source": "causal_conv1d_fn"}


def test_a_short_convolution_is_a_sweep_over_its_channels() -> None:
    (call,) = calls("linear_attention", CONVOLUTION)
    (kernel,) = call.kernels
    assert isinstance(kernel, Scan)
    channels = 2 * 16 * 128 + 32 * 128
    assert (kernel.variant, kernel.chunk) == ("conv", 8.0)
    assert kernel.blocks == 4 * channels
    assert kernel_bytes(kernel) == 2 * 2 * 4 * channels * (1024 + 3)
    assert call.residency == COLD


@pytest.mark.parametrize(
    ("backend", "version", "older"),
    [("trtllm", "1.3.0rc20", True), ("sglang", "0.5.10", True), ("sglang", "0.5.14", False), ("vllm", "0.24.0", False)],
)
def test_the_older_collector_convolves_the_keys_alone(backend: str, version: str, older: bool) -> None:
    (call,) = calls("linear_attention", {**CONVOLUTION, "backend": backend, "version": version})
    (kernel,) = call.kernels
    assert isinstance(kernel, Scan)
    assert kernel.blocks == 4 * (16 * 128 if older else 2 * 16 * 128 + 32 * 128)
    assert kernel.chunk == (1024.0 if older else 8.0)
    assert call.residency.activations_hot


@pytest.mark.parametrize(("phase", "read"), [("generation", 2.0), ("context", 0.0)])
def test_the_older_collector_reads_states_in_bf16_or_not_at_all(phase: str, read: float) -> None:
    source = "fused_recurrent_gated_delta_rule" if phase == "generation" else "chunk_gated_delta_rule"
    table = {**DELTA, "phase": phase, "kernel_source": source}
    (newer,) = calls("linear_attention", {**table, "backend": "vllm", "version": "0.24.0"})
    (older,) = calls("linear_attention", {**table, "backend": "trtllm", "version": "1.3.0rc20"})
    states = 4 * 32 * 128 * 128
    assert kernel_bytes(newer.kernels[0]) - kernel_bytes(older.kernels[0]) == states * (4.0 - read)


EXPERTS = {
    "num_tokens": [64.0],
    "hidden": 4096.0,
    "inter": 1024.0,
    "topk": 8.0,
    "num_experts": 128.0,
    "moe_ep": 8.0,
    "dtype": "bfloat16",
}


IMAGE = {"B": [2.0], "Input_Channel": 3.0, "Output_Channel": 64.0, "Input_Size": 224.0, "dtype": "fp32"}


def test_a_convolution_is_named_as_its_table_spells_it() -> None:
    (call,) = calls("conv", {**IMAGE, "Kernel_Szie": 7.0, "Stride": 2.0, "Padding": 3.0, "source": "neusight"})
    (kernel,) = call.kernels
    assert isinstance(kernel, Convolution)
    assert kernel_flops(kernel) == 2 * 2 * 112 * 112 * 64 * 3 * 49
    assert kernel.host_work > 1.0, "PyTorch issues it by itself"


def test_convolutions_of_one_call_have_the_same_filter() -> None:
    table = {**IMAGE, "B": [1.0, 1.0, 2.0], "Kernel_Size": [3.0, 1.0, 3.0]}
    found = calls("conv", table)
    assert sorted(float(np.max(call.kernels[0].filter)) for call in found) == [1.0, 3.0]


def test_the_columns_of_a_gated_activation_are_those_of_its_input() -> None:
    ((kernel,),) = [
        c.kernels for c in calls("memory_bound", {"op": "mlp_act", "rows": [8.0], "cols": 64.0, "dtype": "fp16"})
    ]
    assert isinstance(kernel, MemoryBound)
    assert (kernel.op, kernel_bytes(kernel)) == ("activation", 8 * (64 + 32) * 2)


@pytest.mark.parametrize(("source", "work"), [("neusight", 1.27), ("vidur", 0.0), ("", 0.0)])
def test_only_frameworks_that_issue_each_operator_make_their_host_work(source: str, work: float) -> None:
    table = {"op": "softmax", "rows": [8.0], "cols": 64.0, "dtype": "fp32", "source": source}
    ((kernel,),) = [call.kernels for call in calls("memory_bound", table)]
    assert isinstance(kernel, MemoryBound)
    assert kernel.host_work == work


def test_an_addition_of_a_parallel_block_is_two() -> None:
    table = {"op": "add", "rows": [8.0, 8.0], "cols": [2560.0, 4096.0], "dtype": "fp16", "source": "vidur"}
    (call,) = calls("memory_bound", table)
    first, second = call.kernels
    assert isinstance(first, MemoryBound)
    assert isinstance(second, MemoryBound)
    assert np.array_equal(second.bytes_read, [np.ravel(first.bytes_read)[0], 0.0])


def test_several_products_are_a_call_of_their_own() -> None:
    table = {"m": [64.0, 64.0], "n": 64.0, "k": 64.0, "b": [1.0, 8.0], "dtype": "fp32", "source": "neusight"}
    single, batched = (call.kernels[0] for call in calls("gemm", table))
    assert isinstance(single, Gemm)
    assert isinstance(batched, Gemm)
    assert single.host_work > batched.host_work > 1.0, "a linear layer adds a bias"


def test_experts_without_an_exchange_combine_the_tokens_of_the_group() -> None:
    (call,) = calls("moe", {**EXPERTS, "backend": "sglang", "kernel_source": "sglang_fused_moe_triton"})
    route, first, *_, combine = call.kernels
    assert isinstance(first, GroupedGemm)
    assert first.library == "sglang-triton"
    assert np.ravel(first.rows)[0] == 64 * 8 / 8
    assert np.ravel(first.offered_rows)[0] == 64 * 8
    assert isinstance(route, MemoryBound)
    assert isinstance(combine, MemoryBound)
    assert combine.bytes_read == 64 * 8 * 4096 * 2


def test_kernels_that_skip_other_devices_pairs_sum_their_own() -> None:
    (call,) = calls("moe", {**EXPERTS, "backend": "trtllm", "kernel_source": "moe_torch_flow_cutlass"})
    combine = call.kernels[-1]
    assert isinstance(combine, MemoryBound)
    assert combine.bytes_read == 64 * 8 / 8 * 4096 * 2
    assert combine.bytes_written == 64 * 4096 * 2


def test_what_the_first_expert_got_depends_on_the_version() -> None:
    """Each of 64 tokens has one of its 8 pairs among 16 experts of 128: all 8 are multiplied, or that one."""
    table = {**EXPERTS, "backend": "sglang", "kernel_source": "sglang_fused_moe_triton"}
    rows = [
        float(np.ravel(kernel.rows)[0])
        for version in ("0.5.10", "0.5.14")
        for kernel in calls("moe", {**table, "version": version})[0].kernels
        if isinstance(kernel, GroupedGemm)
    ]
    assert rows == [64 * 8, 64 * 8, 64, 64]


def test_a_layer_without_expert_parallelism_holds_all_experts() -> None:
    (call,) = calls("moe", {**EXPERTS, "backend": "vllm", "kernel_source": "vllm_mxfp4_moe", "dtype": "w4a16_mxfp4"})
    kernel = call.kernels[call.main]
    assert isinstance(kernel, GroupedGemm)
    assert (np.ravel(kernel.rows)[0], np.ravel(kernel.experts)[0]) == (64 * 8, 128)


def test_weights_that_are_widened_when_loaded_have_two_bytes() -> None:
    table = {**EXPERTS, "backend": "sglang", "dtype": "w4a16_mxfp4"}
    widths = [
        calls("moe", {**table, "kernel_source": source})[0].kernels[1].b_bytes  # type: ignore[union-attr]
        for source in ("sglang_fused_moe_triton", "sglang_marlin_moe")
    ]
    assert widths == [2.0, 0.53125]


@pytest.mark.parametrize(
    ("source", "version", "columns"),
    [("vllm_fused_moe", "0.19.0", 2), ("vllm_unquantizedfusedmoe_triton", "0.24.0", 1), ("moe_torch_nongated", "1", 1)],
)
def test_experts_without_a_gate_have_half_the_columns(source: str, version: str, columns: int) -> None:
    table = {**EXPERTS, "hidden": 2688.0, "inter": 1856.0, "backend": "vllm", "kernel_source": source}
    kernel = calls("moe", {**table, "version": version})[0].kernels[1]
    assert isinstance(kernel, GroupedGemm)
    assert np.ravel(kernel.n)[0] == columns * 1856


def test_a_loop_over_experts_comes_back_to_the_weights_of_both_products() -> None:
    (call,) = calls("moe", {**EXPERTS, "backend": "trtllm", "kernel_source": "moe_torch_flow_cutlass"})
    weights = 16 * 3 * 1024 * 4096 * 2
    activations = 64 * 4096 * 2 + 64 * (1024 * (2 * 2 + 2) + 4096 * 2)
    assert np.ravel(call.residency.working_set_bytes)[0] == weights + activations


def test_copies_of_busy_experts_even_the_devices_out() -> None:
    table = {**EXPERTS, "backend": "trtllm", "kernel_source": "wideep_compute_cutlass", "num_slots": 144.0}
    (call,) = calls("moe", {**table, "distribution": "power_law_1.2_eplb"})
    kernel = call.kernels[call.main]
    assert isinstance(kernel, GroupedGemm)
    assert (np.ravel(kernel.rows)[0], np.ravel(kernel.experts)[0]) == (64.0, 18.0)


@pytest.mark.parametrize("name", ["mla", "attention_encoder", "moe_alltoall", "linear_attention", "conv"])
def test_new_operations_have_engines(name: str) -> None:
    tables = {
        "mla": {**MLA, "table": "generation_mla"},
        "attention_encoder": {"batch": 1.0, "s": [64.0], "num_heads": 8.0, "head_dim": 64.0, "dtype": "bf16"},
        "moe_alltoall": {
            "num_tokens": [8.0],
            "hidden": 4096.0,
            "topk": 2.0,
            "num_experts": 8.0,
            "op_name": "ll",
            "phase": "dispatch",
        },
        "linear_attention": {**DELTA, "phase": "generation", "kernel_source": "fused_recurrent_gated_delta_rule"},
        "conv": {**IMAGE, "Kernel_Size": 3.0, "Padding": 1.0},
    }
    for call in calls(name, tables[name]):
        assert all(np.all(price(kernel, H100).seconds > 0) for kernel in call.kernels)


@pytest.mark.parametrize(
    ("device", "group", "inside", "link"),
    [
        ("h100-sxm", 8.0, 8.0, "nvlink"),
        ("h100-sxm", 2.0, 1.0, "ib"),
        ("a100-pcie-pairs", 2.0, 2.0, "nvlink"),
        ("a100-pcie-pairs", 4.0, 4.0, "pcie"),
        ("a100-pcie-pairs", 2.0, 1.0, "net"),
        ("a100-dgx-one-port", 16.0, 8.0, "net"),
        ("a40-nodes", 2.0, 2.0, "pcie"),
    ],
)
def test_a_layout_says_which_links_a_transfer_crosses(device: str, group: float, inside: float, link: str) -> None:
    table = {"op": "all_reduce", "ngpu": group, "size": [1e6], "devs_per_node": inside, "dtype": "fp16"}
    (call,) = calls("collective_topology", table)
    (kernel,) = call.kernels
    assert isinstance(kernel, Transfer)
    assert kernel.library == "nccl"
    assert parameter_family(kernel, load_device(device)) == f"collective_{link}_all_reduce"


def test_rows_of_each_layout_are_a_call_of_their_own() -> None:
    table = {"op": "send_recv", "ngpu": 2.0, "size": [1e6, 2e6, 3e6], "devs_per_node": [1.0, 2.0, 1.0], "dtype": "fp16"}
    kernels = [call.kernels[0] for call in calls("collective_topology", table)]
    assert [np.ravel(kernel.per_node).tolist() for kernel in kernels] == [[1.0, 1.0], [2.0]]
    assert {kernel.op for kernel in kernels} == {"permute"}
