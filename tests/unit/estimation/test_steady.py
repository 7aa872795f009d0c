"""The steady state of continuous batching: its formula, its limits, and that arrays and single questions agree."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gambrel
from gambrel.cost.rates import rates_of
from gambrel.errors import ProfileError
from gambrel.estimation.api import structure_of
from gambrel.estimation.points import Points
from gambrel.estimation.steady import Steady, StepTimes, combine, running_sequences, steady
from gambrel.estimation.variant import compile_variant
from gambrel.hardware.load import load_device
from gambrel.runtimes import IDEAL, EngineOverheads

MODEL, DEVICE = "llama-3.1-8b", "h100-sxm"
SEPARATE = replace(IDEAL, mixes_prefill=False)

TIMES = StepTimes(
    step_s=np.array(10e-3),
    step_rest_s=np.array(8e-3),
    step_launches=np.array(100.0),
    step_floor_s=np.array(5e-3),
    prefill_s=np.array(40e-3),
    prefill_rest_s=np.array(36e-3),
    prefill_launches=np.array(120.0),
    prefill_floor_s=np.array(20e-3),
    first_s=np.array(50e-3),
)
"""A decode step of 10 ms of which attention is 2 ms, and a prefill of 40 ms of which attention is 4 ms."""


def points(batch: float, isl: float = 1000, osl: float = 101) -> Points:
    return Points.of(batch=batch, isl=isl, osl=osl)


def combined(batch: float, engine: EngineOverheads = IDEAL, **options: bool) -> Steady:
    return combine(TIMES, points(batch), np.array(batch), np.array(True), engine, **options)


def evaluated(engine: EngineOverheads = IDEAL, **columns: object) -> Steady:
    architecture, structure = structure_of(MODEL, DEVICE)
    device = load_device(DEVICE)
    asked = Points.of(**{"batch": 8.0, "isl": 1024.0, "osl": 256.0, **columns})
    return steady(compile_variant(architecture, structure), device, rates_of(device), asked, engine)


@pytest.mark.parametrize("engine", [IDEAL, SEPARATE], ids=["mixed", "separate"])
def test_one_request_decodes_undisturbed(engine: EngineOverheads) -> None:
    found = combined(1, engine)
    assert found.tpot_s == pytest.approx(10e-3)
    assert found.ttft_s == pytest.approx(50e-3)
    assert found.tokens_per_s == pytest.approx(101 / (50e-3 + 100 * 10e-3))


def test_separate_prefills_of_others_stop_decoding() -> None:
    # D = N step + (n - 1) D / (D + W) prefill, with N = 100 steps and W = 50 ms
    found = combined(8, SEPARATE)
    decode = 100 * float(found.tpot_s)
    assert decode == pytest.approx(100 * 10e-3 + 7 * decode / (decode + 50e-3) * 40e-3)
    assert found.tokens_per_s == pytest.approx(8 * 101 / (decode + 50e-3))
    assert found.latency_s == pytest.approx(decode + float(found.ttft_s))


def test_mixed_steps_share_all_but_attention() -> None:
    # 7 prompts in 7 of 100 steps: attention of each, and the rest of prompt and decode together less the decode rest
    added = 7 * (4e-3 + 36e-3 * (1 + 8 / 1000) - 8e-3)
    decode = 100 * float(combined(8).tpot_s)
    assert decode == pytest.approx(100 * 10e-3 + decode / (decode + 50e-3) * added)
    assert combined(8).tpot_s < combined(8, SEPARATE).tpot_s


def test_mixed_steps_are_never_slower_than_separate_ones() -> None:
    short = replace(TIMES, prefill_s=np.array(9e-3), prefill_rest_s=np.array(8e-3))
    asked = points(256, isl=32)
    both = [combine(short, asked, np.array(256.0), np.array(True), engine).tpot_s for engine in (IDEAL, SEPARATE)]
    assert both[0] <= both[1]


def test_equal_lengths_wait_for_half_of_the_other_prompts_where_prefills_are_separate() -> None:
    found = combined(8, SEPARATE, equal_lengths=True)
    assert found.tpot_s == pytest.approx(10e-3 + 7 / 2 * 40e-3 / 100)
    assert found.ttft_s == pytest.approx(50e-3 + 7 / 2 * 40e-3)
    assert combined(8, IDEAL, equal_lengths=True).tpot_s == combined(8).tpot_s


def test_host_times_are_added_to_each_step_and_to_each_prompt() -> None:
    host = replace(SEPARATE, step_overhead_s=1e-3, sequence_overhead_s=10e-6, prefill_overhead_s=2e-3)
    one, eight = combined(1, host), combined(8, host, equal_lengths=True)
    assert one.tpot_s == pytest.approx(10e-3 + 1e-3 + 10e-6)
    assert one.host_s == pytest.approx(1e-3 + 10e-6)
    assert eight.tpot_s == pytest.approx(10e-3 + 1e-3 + 8 * 10e-6 + 7 / 2 * (40e-3 + 2e-3) / 100)


def test_eager_launches_bound_steps() -> None:
    eager = replace(SEPARATE, decode_launch_s=200e-6, prefill_launch_s=500e-6)
    assert combined(1, eager).tpot_s == pytest.approx(100 * 200e-6)
    assert combined(1, eager).ttft_s == pytest.approx(120 * 500e-6)


def test_mixed_steps_feed_no_more_requests_than_their_tokens() -> None:
    # 8192 tokens in each of 100 steps of a request make 819 prompts of 1000 tokens, and its own
    assert running_sequences(points(5000), np.array(np.inf)) == 820
    assert running_sequences(points(5000), np.array(np.inf), SEPARATE) == 5000
    assert running_sequences(points(5000), np.array(64.0)) == 64


def test_what_does_not_fit_in_memory_waits() -> None:
    fitting, waiting = evaluated(batch=64.0, isl=8192.0), evaluated(batch=256.0, isl=8192.0)
    assert waiting.running < 256
    assert waiting.ttft_s > fitting.ttft_s
    assert waiting.tokens_per_s == pytest.approx(evaluated(batch=512.0, isl=8192.0).tokens_per_s)


@given(
    running=st.integers(1, 2000),
    more=st.integers(1, 500),
    osl=st.integers(1, 4000),
    isl=st.integers(1, 8000),
    longer=st.floats(1.0, 4.0),
    mixed=st.booleans(),
    waves=st.booleans(),
)
def test_more_requests_and_longer_prompts_are_never_faster(
    running: int, more: int, osl: int, isl: int, longer: float, mixed: bool, waves: bool
) -> None:
    def tpot(sequences: float, scale: float) -> float:
        prefill = {
            name: scale * getattr(TIMES, name) for name in ("prefill_s", "prefill_rest_s", "first_s", "prefill_floor_s")
        }
        asked = points(sequences, isl=isl * scale, osl=osl)
        engine = IDEAL if mixed else SEPARATE
        return float(
            combine(
                replace(TIMES, **prefill), asked, np.array(sequences), np.array(True), engine, equal_lengths=waves
            ).tpot_s
        )

    assert tpot(running + more, 1.0) >= tpot(running, 1.0) * (1 - 1e-12)
    if not mixed:
        assert tpot(running, longer) >= tpot(running, 1.0) * (1 - 1e-12)


def test_time_per_token_grows_with_requests_and_prompts() -> None:
    assert np.all(np.diff(evaluated(batch=2.0 ** np.arange(9)).tpot_s) > 0)
    assert np.all(np.diff(evaluated(isl=512.0 * 2 ** np.arange(6)).tpot_s) > 0)
    assert np.all(np.diff(evaluated(SEPARATE, isl=512.0 * 2 ** np.arange(6)).tpot_s) > 0)


def test_columns_equal_single_points() -> None:
    batch, isl = np.array([1.0, 4.0, 32.0, 300.0]), np.array([128.0, 9000.0, 1024.0, 2048.0])
    together = evaluated(batch=batch, isl=isl)
    for n in range(len(batch)):
        alone = evaluated(batch=batch[n], isl=isl[n])
        for field in fields(Steady):
            whole = np.broadcast_to(getattr(together, field.name), batch.shape)
            assert whole[n] == pytest.approx(float(getattr(alone, field.name)), rel=1e-12)


def test_the_python_api_agrees_with_columns_and_names_its_assumptions() -> None:
    found = gambrel.steady_state(MODEL, DEVICE, workload=gambrel.Workload(batch=8, isl=1024, osl=256))
    assert found.tpot_s == pytest.approx(float(evaluated().tpot_s))
    assert found.requests_per_s == pytest.approx(found.tokens_per_s / 256)
    assert (found.running, found.fits, found.concurrency) == (8, True, 8)
    full = gambrel.steady_state(MODEL, DEVICE, workload=gambrel.Workload(batch=512, isl=8192, osl=256))
    assert any("requests of a replica run at once" in text for text in full.assumptions)


def test_engine_profiles_say_how_prompts_are_batched(tmp_path: Path) -> None:
    work = gambrel.Workload(batch=16, isl=2048, osl=64)
    vllm, sglang = (
        gambrel.steady_state(MODEL, DEVICE, workload=work, plan=gambrel.Plan(engine=name))
        for name in ("vllm", "sglang")
    )
    assert any("ride in decode steps" in text for text in vllm.assumptions)
    assert any("stops for prompts" in text for text in sglang.assumptions)
    path = tmp_path / "none.yaml"
    text = (Path(gambrel.__file__).parent / "runtimes" / "profiles" / "vllm.yaml").read_text()
    path.write_text(text.replace("value: 8192", "value: 0"))
    with pytest.raises(ProfileError, match="less than one token"):
        gambrel.steady_state(MODEL, DEVICE, plan=gambrel.Plan(engine=str(path)))
