import pytest

from .conftest import rows_of, write_csv, write_parquet

ENGINE = {"framework": "TRTLLM", "version": "0.0", "device": "NVIDIA H100 80GB HBM3", "kernel_source": "torch_flow"}
GEMM = ENGINE | {"op_name": "gemm", "gemm_dtype": "fp8", "m": 4, "n": 8, "k": 16, "latency": 0.25}
HEADS = {"batch_size": 2, "num_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "beam_width": 1}
ATTENTION = ENGINE | HEADS | {"attn_dtype": "bfloat16", "kv_cache_dtype": "fp8", "latency": 0.5}
MLA = {"mla_dtype": "bfloat16", "kv_cache_dtype": "fp8", "num_heads": 16, "batch_size": 2, "isl": 3, "tp_size": 8}
EXPERTS = {"moe_dtype": "nvfp4", "num_tokens": 7, "hidden_size": 32, "inter_size": 64, "topk": 2, "num_experts": 8}
DEEPEP = ENGINE | {"node_num": 1, "hidden_size": 32, "num_token": 5, "num_topk": 2, "num_experts": 8}


@pytest.fixture
def place(tmp_path):
    """Writes a table where a package has it, and returns the folder that holds the package."""

    def write(rows, name, *, system="h100_sxm", family="any", backend="trtllm", version="1.0"):
        folder = tmp_path / "lib" / "aiconfigurator_core" / "systems" / "data" / system / family / backend / version
        write_parquet(folder / f"{name}_perf.parquet", rows)
        return tmp_path / "lib"

    return write


@pytest.fixture
def rows(place, imported, tmp_path):
    """The rows that a table becomes."""

    def convert(table, row, name, **where):
        imported("aiconfigurator", place(row if isinstance(row, list) else [row], name, **where), "--force")
        return rows_of(tmp_path / "out" / f"{table}.parquet")

    return convert


PLACE = {"device": "H100-SXM", "source": "aiconfigurator", "backend": "trtllm", "version": "1.0"}
PLACE |= {"kernel_source": "torch_flow"}


def test_gemm_is_in_ms_and_named_by_its_folders(rows):
    assert rows("gemm", GEMM, "gemm") == [PLACE | {"dtype": "fp8", "m": 4, "n": 8, "k": 16, "latency_us": 0.25 * 1000}]


def test_prefill_without_window_or_step_has_neither(rows):
    shape = {"batch": 2, "num_heads": 8, "num_kv_heads": 4, "head_dim": 64, "dtype": "bfloat16", "kv_dtype": "fp8"}
    plain = rows("attention_prefill", ATTENTION | {"isl": 100}, "context_attention")
    assert plain == [PLACE | shape | {"s": 100, "prefix": 0, "window": 0, "latency_us": 500.0}]
    windowed = rows("attention_prefill", ATTENTION | {"isl": 100, "step": 40, "window_size": 128}, "context_attention")
    assert (windowed[0]["prefix"], windowed[0]["window"]) == (40, 128)


def test_decode_attends_to_the_cache_and_to_the_new_token(rows):
    step = rows("attention_decode", ATTENTION | {"isl": 1, "step": 99}, "generation_attention")
    assert step[0]["kv_len"] == 99 + 1


def test_beam_search_is_left_out_by_name(place, imported):
    row = ATTENTION | {"isl": 1, "step": 9}
    record = imported("aiconfigurator", place([row, row | {"beam_width": 4}], "generation_attention"))
    assert record["skipped"] == {"beam_width is not 1": 1}


def test_encoder_attention(rows):
    (row,) = rows("attention_encoder", ATTENTION | {"isl": 49}, "encoder_attention")
    assert (row["s"], row["head_dim"], row["latency_us"]) == (49, 64, 500.0)


@pytest.mark.parametrize("name", ["context_mla", "wideep_generation_mla", "mla_context_module"])
def test_latent_attention_says_which_table_it_was(rows, name):
    (row,) = rows("mla", ENGINE | MLA | {"step": 11, "model": "m", "gemm_type": "fp8_block", "latency": 2.0}, name)
    expected = {"table": name, "model": "m", "gemm_type": "fp8_block", "step": 11, "tp_size": 8, "latency_us": 2000.0}
    assert row.items() >= expected.items()


def test_experts(rows):
    row = ENGINE | EXPERTS | {"moe_tp_size": 1, "moe_ep_size": 4, "distribution": "balanced", "latency": 1.0}
    expected = {"table": "moe", "dtype": "nvfp4", "hidden": 32, "inter": 64, "moe_tp": 1, "moe_ep": 4}
    assert rows("moe", row, "moe")[0].items() >= (expected | {"distribution": "balanced"}).items()
    wide = rows("moe", row | {"moe_kernel": "cutlass", "num_slots": 9}, "wideep_moe")[-1]
    assert wide.items() >= {"table": "wideep_moe", "moe_kernel": "cutlass", "num_slots": 9}.items()


def test_scans(rows):
    shape = {"phase": "context", "batch_size": 1, "seq_len": 64, "num_tokens": 64, "d_model": 32, "d_conv": 4}
    delta = {"num_k_heads": 2, "head_k_dim": 16, "num_v_heads": 4, "head_v_dim": 16, "model_name": "m"}
    row = ENGINE | shape | delta | {"op_name": "gdn", "latency": 0.125}
    assert rows("linear_attention", row, "gdn")[0].items() >= {"table": "gdn", "batch": 1, "latency_us": 125.0}.items()


@pytest.mark.parametrize(("dtype", "element_bytes"), [("half", 2), ("int8", 1)])
def test_nccl_counts_elements(rows, dtype, element_bytes):
    row = {"nccl_dtype": dtype, "num_gpus": 4, "message_size": 1024, "op_name": "all_gather", "latency": 0.01}
    (row,) = rows("collective", row, "nccl", backend="nccl", version="2.27")
    assert row["message_bytes"] == 1024 * element_bytes
    assert row.items() >= {"impl": "nccl", "collective": "all_gather", "message_elems": 1024, "num_gpus": 4}.items()


def test_an_unknown_element_leaves_the_row_out_by_name(place, imported):
    row = {"nccl_dtype": "half", "num_gpus": 4, "message_size": 1024, "op_name": "all_gather", "latency": 0.01}
    record = imported("aiconfigurator", place([row, row | {"nccl_dtype": "fp3"}], "nccl", backend="nccl"))
    assert record["skipped"] == {"message_bytes is missing or no number": 1}


@pytest.mark.parametrize("column", ["backend", "implementation"])
def test_the_variant_of_an_own_all_reduce(rows, column):
    row = ENGINE | {"allreduce_dtype": "bfloat16", "num_gpus": 2, "message_size": 8, "op_name": "all_reduce"}
    (row,) = rows("collective", row | {"latency": 0.002, column: "vllm_graph"}, "custom_allreduce")
    assert row.items() >= {"impl": "custom_allreduce", "variant": "vllm_graph", "message_bytes": 8 * 2}.items()


def test_deepep_rows_hold_both_phases_in_us(rows):
    normal = {f"{p}_{c}": x for p, t in (("dispatch", 20.0), ("combine", 30.0)) for c, x in
              (("transmit_us", t), ("notify_us", 1.5), ("sms", 12))}  # fmt: skip
    both = rows("moe_alltoall", DEEPEP | normal | {"op_name": "normal"}, "wideep_deepep_normal")
    assert [(row["phase"], row["latency_us"], row["sms"]) for row in both] == [
        ("dispatch", 20.0 + 1.5, 12),
        ("combine", 30.0 + 1.5, 12),
    ]


def test_deepep_for_low_latency(place, imported, tmp_path):
    row = DEEPEP | {"op_name": "ll", "dispatch_avg_t_us": 9.0, "combine_avg_t_us": 11.0}
    imported("aiconfigurator", place([row], "wideep_deepep_ll"))
    both = rows_of(tmp_path / "out" / "moe_alltoall.parquet")
    assert [(row["phase"], row["latency_us"], row["num_tokens"]) for row in both] == [
        ("dispatch", 9.0, 5),
        ("combine", 11.0, 5),
    ]


def test_the_unified_all_to_all_is_in_us(rows):
    row = {"comm_backend": "deepep_ll", "phase": "combine", "comm_dtype": "fp8", "ep_size": 8, "node_num": 1}
    row |= {"hidden_size": 32, "topk": 2, "num_experts": 8, "num_tokens": 64, "sms": None, "op_name": "moe_a2a"}
    (row,) = rows("moe_alltoall", [ENGINE | row | {"latency": 55.0}], "moe_a2a")
    assert row.items() >= {"latency_us": 55.0, "dtype": "fp8", "comm_backend": "deepep_ll", "sms": 0}.items()


def test_the_nvlink_all_to_all_is_in_ms(rows):
    row = {"op_name": "alltoall_combine_low_precision", "moe_dtype": "nvfp4", "num_tokens": 64, "hidden_size": 32}
    row = ENGINE | row | {"topk": 2, "num_experts": 8, "moe_ep_size": 16, "latency": 0.5}
    (row,) = rows("moe_alltoall", row | {"kernel_source": "NVLinkOneSided"}, "trtllm_alltoall", system="gb200")
    expected = {"phase": "combine", "dtype": "fp4", "node_num": 16 // 4, "latency_us": 500.0, "device": "GB200"}
    assert row.items() >= (expected | {"comm_backend": "nvlink_one_sided"}).items()


def test_power_is_written_beside_the_time(place, imported, tmp_path):
    record = imported("aiconfigurator", place([GEMM | {"power": 420.0, "power_limit": 700.0}], "gemm"))
    assert record["tables"] == {"gemm": {"H100-SXM": 1}, "power": {"H100-SXM": 1}}
    (row,) = rows_of(tmp_path / "out" / "power.parquet")
    assert row.items() >= {"op": "gemm", "m": 4, "power_w": 420.0, "latency_us": 250.0}.items()


def test_tables_without_a_place_are_counted(place, imported):
    place([GEMM], "gemm")
    record = imported("aiconfigurator", place([ENGINE | {"latency": 1.0}] * 3, "mla_bmm"))
    assert record["skipped"] == {"mla_bmm: the format has no table for it": 3}
    assert record["rows_read"] == 1 + 3


def test_files_that_cannot_be_read_are_listed(place, imported):
    place([GEMM], "gemm")
    place([{"gemm_dtype": "fp8", "m": 1}], "gemm", version="2.0")
    base = place([GEMM], "gemm", version="3.0")
    data = base / "aiconfigurator_core/systems/data"
    (data / "h100_sxm/any/trtllm/3.0/gemm_perf.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    write_parquet(data / "h100_sxm" / "gemm_perf.parquet", [GEMM])
    record = imported("aiconfigurator", base)
    assert record["rows_written"] == 1
    assert record["skipped_files"] == {
        "h100_sxm/any/trtllm/2.0/gemm_perf.parquet": "has no column n, k, latency",
        "h100_sxm/any/trtllm/3.0/gemm_perf.parquet": "is a Git LFS pointer, not the file itself: run `git lfs pull`",
        "h100_sxm/gemm_perf.parquet": "is not at <system>/<backend>/<version>/<table>",
    }


def test_times_that_cannot_be_are_left_out_by_name(place, imported):
    rows = [GEMM, GEMM | {"latency": 0.0}, GEMM | {"latency": None}, GEMM | {"m": 0}]
    assert imported("aiconfigurator", place(rows, "gemm"))["skipped"] == {
        "latency_us is not above 0": 1,
        "latency_us is missing or no number": 1,
        "m is no whole number from 1": 1,
    }


def test_text_files_of_older_releases(imported, tmp_path):
    file = tmp_path / "aiconfigurator" / "systems" / "data" / "a100_sxm" / "vllm" / "0.8" / "gemm_perf.txt"
    write_csv(file, [GEMM])
    assert imported("aiconfigurator", tmp_path)["tables"] == {"gemm": {"A100-SXM-80GB": 1}}


def test_the_version_comes_from_the_metadata_beside_the_package(place, imported):
    base = place([GEMM], "gemm")
    (base / "aiconfigurator_core-1.2.3.dist-info").mkdir()
    record = imported("aiconfigurator", base)
    assert (record["label"], record["version"]) == ("aiconfigurator-1.2.3", "1.2.3")


def test_only_what_is_asked_for(place, imported, refused):
    place([GEMM], "gemm", system="h200_sxm")
    place([ATTENTION | {"isl": 9}], "context_attention")
    base = place([GEMM], "gemm")
    assert "Did you mean 'h100_sxm'" in refused("aiconfigurator", base, "--device", "h100-sx")
    record = imported("aiconfigurator", base, "--device", "h100-sxm", "--op", "gemm")
    assert record["tables"] == {"gemm": {"H100-SXM": 1}}
    assert record["files_not_asked_for"] == len(["h200 gemm", "h100 context_attention"])
    rest = imported("aiconfigurator", base / "aiconfigurator_core" / "systems" / "data", "--append")
    assert rest["skipped"] == {"imported before": 1}
    assert rest["tables"] == {"attention_prefill": {"H100-SXM": 1}, "gemm": {"H200-SXM": 1}}


def test_a_folder_without_tables_says_where_they_are(tmp_path, refused):
    assert "are in the package aiconfigurator-core" in refused("aiconfigurator", tmp_path)


def test_nothing_but_unreadable_rows_is_an_error_with_the_reasons(place, refused):
    base = place([GEMM | {"m": -1}], "gemm")
    assert "gives no rows from 1 file: m is no whole number from 1 (1)" in refused("aiconfigurator", base)
