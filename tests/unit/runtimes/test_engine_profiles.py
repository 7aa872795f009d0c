"""Engine profiles: what they add to each phase, and what is refused."""

from pathlib import Path

import pytest

import gambrel
from gambrel.errors import ProfileError
from gambrel.runtimes import IDEAL, list_engines, load_engine, load_engine_profile

WORKLOAD = gambrel.Workload(batch=8, isl=512, osl=128)
PLAN = gambrel.Plan(tp=4)

PROFILE = """\
schema: 1
id: toy
title: A toy engine
default_source: authors
launch: {prefill: eager, decode: graph}
kernel_launch: 100 us
prefill_overhead: 3 ms
step_overhead: 2 ms
sequence_overhead: 10 us
runtime_memory: 2 GB
sources:
  authors: {kind: assumed, ref: the authors of this test, note: made up}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "toy.yaml"
    path.write_text(text)
    return str(path)


def test_every_shipped_profile_loads_and_ideal_adds_nothing() -> None:
    names = list_engines()
    assert names[0] == "ideal"
    for name in names[1:]:
        profile = load_engine_profile(name)
        assert profile.id == name
        assert load_engine(name).step_overhead_s == profile.step_overhead.value
    assert load_engine("ideal") is IDEAL


def test_decode_adds_step_and_sequences_and_prefill_hides_launches_behind_kernels(tmp_path: Path) -> None:
    ideal = gambrel.estimate("llama-3.1-8b", "h100-sxm", plan=PLAN, workload=WORKLOAD)
    plan = gambrel.Plan(tp=4, engine=write(tmp_path, PROFILE))
    real = gambrel.estimate("llama-3.1-8b", "h100-sxm", plan=plan, workload=WORKLOAD)
    assert ideal.tpot_s is not None
    assert real.tpot_s == pytest.approx(ideal.tpot_s + 2e-3 + 8 * 10e-6)
    launches = sum(row.count for row in ideal.prefill.rows if row.seconds > 0)
    assert real.ttft_s == pytest.approx(max(ideal.ttft_s, launches * 100e-6) + 3e-3)
    assert real.prefill.host_seconds == pytest.approx(real.ttft_s - ideal.ttft_s)
    assert real.memory.bytes_by_kind["runtime"] == 2e9
    assert any("A toy engine" in text for text in real.assumptions)


def test_data_parallel_replicas_share_the_sequences(tmp_path: Path) -> None:
    path = write(tmp_path, PROFILE)
    one, two = (
        gambrel.estimate("llama-3.1-8b", "h100-sxm", plan=gambrel.Plan(dp=dp, engine=path), workload=WORKLOAD)
        for dp in (1, 2)
    )
    assert one.decode is not None
    assert two.decode is not None
    assert one.decode.host_seconds - two.decode.host_seconds == pytest.approx((8 - 4) * 10e-6)


def test_activations_are_quantised_by_kernels_of_their_own_where_the_engine_says_so(tmp_path: Path) -> None:
    def rows(model: str, lines: str) -> dict[str, gambrel.estimation.result.RowEstimate]:
        engine = write(tmp_path, PROFILE.replace("sources:", f"{lines}\nsources:"))
        plan = gambrel.Plan(tp=4, weights="fp8", engine=engine)
        found = gambrel.estimate(model, "h100-sxm", plan=plan, workload=WORKLOAD).decode
        assert found is not None
        return {row.name.removeprefix("layers0: "): row for row in found.rows}

    fused, apart = rows("llama-3.1-8b", ""), rows("llama-3.1-8b", "quantize_apart: [norm, activation, attention]")
    down, alone = apart["mlp.down.quantize + mlp.down"], fused["mlp.down"]
    # The wide activations are read besides, and the narrow ones written.
    narrow = WORKLOAD.batch * 14336 / 4
    assert down.bytes_read - alone.bytes_read == pytest.approx(2 * narrow)
    assert down.bytes_written - alone.bytes_written == pytest.approx(narrow)
    assert down.seconds > alone.seconds + 2e-6
    assert "attn_add + mlp_norm" in apart
    assert "attn_add + mlp_norm + mlp.gate.quantize" in fused

    some = "quantize_apart: [norm]\nnorms_quantize: [llama]"
    assert "mlp.gate.quantize + mlp.gate + mlp.up" in rows("qwen3-32b", some)
    assert "mlp.gate + mlp.up" in rows("llama-3.1-8b", some)


def test_a_table_varies_the_engine(tmp_path: Path) -> None:
    path = write(tmp_path, PROFILE)
    table = gambrel.estimate_table("llama-3.1-8b", "h100-sxm", columns={"engine": ["ideal", path], "batch": [1, 8]})
    rows = list(table.rows())
    assert [row["engine"] for row in rows] == ["ideal", "ideal", path, path]
    for ideal, real in zip(rows[:2], rows[2:], strict=True):
        assert isinstance(ideal["tpot_s"], float)
        assert isinstance(ideal["batch"], int)
        assert real["tpot_s"] == pytest.approx(ideal["tpot_s"] + 2e-3 + ideal["batch"] * 10e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("step_overhead: 2 ms", "step_overhead: 2", "step_overhead"),
        ("step_overhead: 2 ms", "step_overhead: -2 ms", "negative"),
        ("step_overhead: 2 ms", "step_overhead: 2 GB", "step_overhead"),
        ("step_overhead: 2 ms\n", "", "step_overhead is missing"),
        ("decode: graph", "decode: graphs", "launch.decode is 'graphs'"),
        ("runtime_memory", "runtime_memry", "unknown key 'runtime_memry'"),
        ("sources:", "quantize_apart: [norms]\nsources:", "quantize_apart"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path, PROFILE.replace(old, new))
    with pytest.raises(ProfileError, match=message.replace("'", ".")) as caught:
        load_engine(path)
    assert "toy.yaml" in str(caught.value)


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(ProfileError, match="vllm-2023-eager"):
        load_engine("vllm-2023")
