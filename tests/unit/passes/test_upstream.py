"""The generic form is MLIR that other people's tools read, dialects that they do not know allowed."""

import shutil
import subprocess

import pytest

from gambrel.frontends.lower import lower
from gambrel.ir.text import parse_module, print_module
from gambrel.models import load_model
from gambrel.passes.registry import parse_pipeline, run_pipeline

MLIR_OPT = shutil.which("mlir-opt") or shutil.which("iree-opt")
PIPELINES = {
    "llama-3.1-70b": "quantize{weights=fp8 activations=fp8 kv=fp8},shard{strategy=sequence-parallel},"
    "insert-collectives,stages,fuse",
    "deepseek-v3": "shard{strategy=attention-dp-moe-ep},insert-collectives,stages,fuse",
}


def mlir_opt(text):
    done = subprocess.run(
        [str(MLIR_OPT), "--allow-unregistered-dialect"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(MLIR_OPT is None, reason="neither mlir-opt nor iree-opt is on the path")
@pytest.mark.parametrize("model", PIPELINES)
def test_upstream_tools_read_it_and_lose_nothing(model):
    module = lower(load_model(model))
    run_pipeline(module, parse_pipeline(PIPELINES[model]))
    theirs = mlir_opt(print_module(module, generic=True))
    ours = parse_module(theirs)
    assert ours.is_structurally_equivalent(module)
    assert mlir_opt(print_module(ours, generic=True)) == theirs
