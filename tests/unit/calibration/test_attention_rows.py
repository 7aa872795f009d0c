"""How rows of measured attention become kernels: windows, prompts of one token, operands of a measuring loop."""

import numpy as np
import pytest

from gambrel.calibration.operation import Call
from gambrel.calibration.tables import OPERATIONS, read_table
from gambrel.cost.engines import COLD
from gambrel.cost.kernel import Attention
from gambrel.cost.roofline import kernel_bytes, kernel_flops

SHAPE = {"batch": 4.0, "num_heads": 32.0, "num_kv_heads": 8.0, "head_dim": 128.0, "dtype": "bfloat16"}


def calls(name: str, **columns: object) -> list[Call]:
    operation = OPERATIONS[name]
    read = read_table(operation, {**SHAPE, **columns})
    assert not read.problems
    assert operation.build is not None
    return [operation.build(group.rows) for group in operation.groups(read.rows)]


def kernel(call: Call) -> Attention:
    (only,) = call.kernels
    assert isinstance(only, Attention)
    return only


def test_a_step_under_a_window_reads_it_and_knows_the_cache() -> None:
    (call,) = calls("attention_decode", kv_len=[4096.0, 64.0], window=128.0)
    found = kernel(call)
    assert np.asarray(found.kv_len).tolist() == [128.0, 64.0]
    assert np.asarray(found.cached_len).tolist() == [4096.0, 64.0]
    assert np.all(np.asarray(found.window) == 128.0)
    assert kernel_bytes(found).tolist() == [4 * (n * 8 * 256 + 32 * 256) * 2 for n in (128, 64)]


def test_without_a_window_every_key_is_read() -> None:
    (call,) = calls("attention_decode", kv_len=[4096.0])
    assert np.all(np.isinf(kernel(call).window))
    assert np.asarray(kernel(call).kv_len).tolist() == [4096.0]


@pytest.mark.parametrize(("backend", "decode"), [("vllm", True), ("trtllm", False), ("sglang", False)])
def test_vllm_takes_a_prompt_of_one_token_for_a_step(backend: str, decode: bool) -> None:
    found = kernel(calls("attention_prefill", s=[1.0], prefix=7.0, backend=[backend])[0])
    assert found.decode == decode
    assert found.prologue != decode
    assert kernel_flops(found).tolist() == [2 * 4 * 32 * 8 * 256]


def test_prompts_of_one_token_are_calls_of_their_own() -> None:
    found = [kernel(call) for call in calls("attention_prefill", s=[1.0, 2.0, 1.0], prefix=7.0, backend=["vllm"] * 3)]
    assert sorted((each.decode, np.size(each.batch)) for each in found) == [(False, 1), (True, 2)]


def test_rows_of_a_serving_engine_come_from_a_loop() -> None:
    for name, length in (("attention_decode", "kv_len"), ("attention_prefill", "s"), ("attention_encoder", "s")):
        columns = {length: [512.0]}
        (looped,) = calls(name, **columns, backend=["vllm"])
        (alone,) = calls(name, **columns)
        assert looped.residency.activations_hot
        assert alone.residency == COLD
