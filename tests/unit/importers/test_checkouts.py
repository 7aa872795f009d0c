"""Checkouts of research projects: Vidur and NeuSight."""

import pytest

from .conftest import rows_of, write_csv

TOKENS, TP, HIDDEN, HEADS, KV_HEADS, INNER = 40, 2, 64, 8, 4, 96
STEPS = ("emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "mlp_up_proj", "mlp_act")
STEPS += ("mlp_down_proj", "add")
COMPUTE = "data/profiling/compute/a100/some/model"


def times(*steps):
    return {
        f"time_stats.{step}.{name}": x for step in steps for name, x in (("min", 0.5), ("mean", 9.0), ("median", 1))
    }


def mlp(**changes):
    sizes = {"n_head": HEADS, "n_kv_head": KV_HEADS, "n_embd": HIDDEN, "n_expanded_embd": INNER, "vocab_size": 1000}
    return (
        times(*STEPS)
        | sizes
        | {"use_gated_mlp": True, "num_tokens": TOKENS, "num_tensor_parallel_workers": TP}
        | changes
    )


def attention(*, prefill, **changes):
    sizes = {"n_embd": HIDDEN, "n_q_head": HEADS, "n_kv_head": KV_HEADS, "num_tensor_parallel_workers": TP}
    missing = {f"time_stats.attn_{'decode' if prefill else 'prefill'}.median": ""}
    shape = {"batch_size": 3, "prefill_chunk_size": 50 if prefill else 0, "kv_cache_size": 20, "is_prefill": prefill}
    return times("attn_prefill", "attn_decode") | missing | sizes | shape | {"attention_backend": "FLASH"} | changes


def test_vidur_projections_are_gemms_of_the_shards(imported, tmp_path):
    write_csv(tmp_path / COMPUTE / "mlp.csv", [mlp()])
    record = imported("vidur", tmp_path)
    assert record["tables"] == {"gemm": {"A100-SXM-80GB": 4}, "memory_bound": {"A100-SXM-80GB": 4}}
    assert record["skipped"] == {"attn_rope: the format has no table for it": 1}
    rows = {row["op"]: row for row in rows_of(tmp_path / "out" / "gemm.parquet")}
    head_dim = HIDDEN // HEADS
    assert {op: (row["m"], row["n"], row["k"]) for op, row in rows.items()} == {
        "attn_pre_proj": (TOKENS, (HEADS + 2 * KV_HEADS) * head_dim // TP, HIDDEN),
        "attn_post_proj": (TOKENS, HIDDEN, HIDDEN // TP),
        "mlp_up_proj": (TOKENS, 2 * INNER // TP, HIDDEN),
        "mlp_down_proj": (TOKENS, HIDDEN, INNER // TP),
    }
    expected = {"latency_us": 1 * 1000.0, "lat_min": 0.5 * 1000, "tp": TP, "model": "model", "dtype": "fp16"}
    assert rows["mlp_up_proj"].items() >= expected.items()


@pytest.mark.parametrize(("gated", "width"), [(True, 2 * INNER // TP), (False, INNER // TP)])
def test_vidur_activations_are_as_wide_as_what_they_read(imported, tmp_path, gated, width):
    write_csv(tmp_path / COMPUTE / "mlp.csv", [mlp(use_gated_mlp=gated)])
    imported("vidur", tmp_path, "--op", "memory_bound")
    widths = {row["op"]: (row["rows"], row["cols"]) for row in rows_of(tmp_path / "out" / "memory_bound.parquet")}
    wide = (TOKENS, HIDDEN)
    assert widths == {"emb": wide, "input_layernorm": wide, "add": wide, "mlp_act": (TOKENS, width)}


def test_vidur_shards_that_do_not_divide_are_left_out(imported, tmp_path):
    write_csv(tmp_path / COMPUTE / "mlp.csv", [mlp(), mlp(n_expanded_embd=INNER + 1, use_gated_mlp=False)])
    record = imported("vidur", tmp_path, "--op", "gemm")
    assert record["skipped"]["n is no whole number from 1"] == 1
    assert record["skipped"]["k is no whole number from 1"] == 1


def test_vidur_attention_by_phase(imported, tmp_path):
    write_csv(tmp_path / COMPUTE / "attention.csv", [attention(prefill=True), attention(prefill=False)])
    assert imported("vidur", tmp_path)["skipped"] == {}
    shape = {"batch": 3, "num_heads": HEADS // TP, "num_kv_heads": KV_HEADS // TP, "head_dim": HIDDEN // HEADS}
    (prefill,) = rows_of(tmp_path / "out" / "attention_prefill.parquet")
    (decode,) = rows_of(tmp_path / "out" / "attention_decode.parquet")
    assert prefill.items() >= (shape | {"s": 50, "prefix": 20, "latency_us": 1000.0}).items()
    assert decode.items() >= (shape | {"kv_len": 20 + 1, "latency_us": 1000.0}).items()


def test_vidur_collectives_keep_their_topology(imported, tmp_path):
    row = {"rank": 0, "num_workers": 4, "size": 2048, "collective": "all_reduce", "devices_per_node": 2}
    write_csv(tmp_path / "data/profiling/network/h100_dgx/all_reduce.csv", [times("all_reduce") | row])
    imported("vidur", tmp_path / "data" / "profiling")
    expected = {"device": "h100_dgx", "op": "all_reduce", "ngpu": 4, "size": 2048, "devs_per_node": 2}
    assert rows_of(tmp_path / "out" / "collective_topology.parquet") == [
        expected | {"source": "vidur", "dtype": "fp16", "latency_us": 1000.0, "lat_min": 500.0}
    ]


def test_vidur_files_that_are_something_else_are_listed(imported, tmp_path):
    write_csv(tmp_path / COMPUTE / "mlp.csv", [mlp()])
    write_csv(tmp_path / COMPUTE / "other.csv", [mlp()])
    write_csv(tmp_path / COMPUTE / "attention.csv", [mlp()])
    skipped = imported("vidur", tmp_path)["skipped_files"]
    assert skipped["compute/a100/some/model/other.csv"] == "is neither mlp.csv nor attention.csv"
    assert skipped["compute/a100/some/model/attention.csv"].startswith("has no column n_q_head")


@pytest.mark.parametrize("source", ["vidur", "neusight"])
def test_a_folder_of_something_else(source, refused, tmp_path):
    assert f"{tmp_path}: holds no " in refused(source, tmp_path)


def test_an_unmeasured_device_of_vidur(refused, tmp_path):
    write_csv(tmp_path / COMPUTE / "mlp.csv", [mlp()])
    assert "--device h100: was not measured there" in refused("vidur", tmp_path, "--device", "h100")


NEUSIGHT = "scripts/asplos/data/dataset"
CALL = {"Latency": 0.25, "Device": "Tesla T4", "Kernel Name": "sgemm<a, b>", "Grid x": 3, "Grid y": 2, "Grid z": 1}


def train(tmp_path, op, row):
    return write_csv(tmp_path / NEUSIGHT / "train" / "collect" / op / "p2" / "Tesla T4.csv", [CALL | row])


def test_neusight_products_contract_over_their_n(imported, tmp_path):
    train(tmp_path, "linear", {"OPName": "linear", "Kernels": ";sgemm;splitk", "B": 1, "M": 5, "N": 6, "K": 7})
    imported("neusight", tmp_path)
    assert rows_of(tmp_path / "out" / "gemm.parquet") == [
        {
            "device": "T4",
            "source": "neusight",
            "dtype": "fp32",
            "split": "train",
            "kernel": "sgemm<a, b>",
            "b": 1,
            "m": 5,
            "n": 7,
            "k": 6,
            "gx": 3,
            "gy": 2,
            "gz": 1,
            "nkern": 2,
            "latency_us": 250.0,
        }
    ]


def test_neusight_streams_and_convolutions(imported, tmp_path):
    row = CALL | {"OPName": "add", "B": 9, "H": 11}
    others = [row | {"Device": "NVIDIA H100 80GB HBM3", "OPName": "pow"}, row | {"Device": "Some GPU"}]
    write_csv(tmp_path / NEUSIGHT / "test" / "elem.csv", [row, *others])
    image = {"Kernel_Szie": 3, "Input_Size": 8, "Stride": 1, "Padding": 0}
    train(tmp_path, "conv", {"OPName": "conv", "B": 2, "Input_Channel": 4, "Output_Channel": 6} | image)
    imported("neusight", tmp_path)
    streams = rows_of(tmp_path / "out" / "memory_bound.parquet")
    assert [(row["device"], row["op"], row["rows"], row["cols"], row["split"]) for row in streams] == [
        ("T4", "add", 9, 11, "test"),
        ("H100-SXM", "pow", 9, 11, "test"),
        ("Some GPU", "add", 9, 11, "test"),
    ]
    (conv,) = rows_of(tmp_path / "out" / "conv.parquet")
    assert conv.items() >= (image | {"B": 2, "Input_Channel": 4, "Output_Channel": 6, "latency_us": 250.0}).items()


def test_neusight_devices_are_chosen_row_by_row(imported, tmp_path):
    row = CALL | {"OPName": "add", "B": 9, "H": 11}
    write_csv(tmp_path / NEUSIGHT / "test" / "elem.csv", [row, row | {"Device": "Tesla P4"}])
    record = imported("neusight", tmp_path, "--device", "p4")
    assert record["tables"] == {"memory_bound": {"P4": 1}}
    assert record["skipped"] == {"another device": 1}


def test_neusight_repetitions_are_not_read_twice(imported, tmp_path):
    row = CALL | {"OPName": "add", "B": 9, "H": 11}
    train(tmp_path, "add", row)
    write_csv(tmp_path / NEUSIGHT / "train" / "elem.csv", [row])
    write_csv(tmp_path / NEUSIGHT / "test" / "vec.csv", [row])
    record = imported("neusight", tmp_path)
    assert record["rows_written"] == 1
    assert set(record["skipped_files"]) == {"dataset/train/elem.csv", "dataset/test/vec.csv"}
