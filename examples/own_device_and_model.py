"""Your own device and your own model: a YAML profile and a config.json, both as small as they can be."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import gambrel
from gambrel.estimation.points import Workload

# Every number carries its unit and says where it comes from; `default_source` does so for all of a file.
# `gambrel hw validate FILE` reports all mistakes at once with file, line and column.
PROFILE = """\
schema: 1
id: my-accelerator
title: My accelerator
vendor: me
kind: npu
generation: mine
engine: roofline      # plain roofline: no parameters to measure first
year: 2027
default_source: draft

clocks:
  core: 1.5 GHz
units:
  core: {count: 64}
compute:
  unit: core
  clock: core
  matrix:
    bf16: {dense: 500 TFLOP/s}
    fp8: {dense: 1000 TFLOP/s}
  vector: {rate: 20 TFLOP/s}
memory:
  hbm: {role: device, capacity: 96 GiB, bandwidth: 4 TB/s}
power:
  tdp: 600 W
price:
  rent: 2 USD/h

sources:
  draft: {kind: estimated, ref: "our own drawing board"}
"""

# The keys of a Hugging Face config; one that is missing and matters is an error, not a guess.
MODEL = {
    "model_type": "llama",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}

with TemporaryDirectory() as folder:
    profile, config = Path(folder, "my-accelerator.yaml"), Path(folder, "config.json")
    profile.write_text(PROFILE)
    config.write_text(json.dumps(MODEL))
    answer = gambrel.estimate(config, profile, workload=Workload(batch=8, isl=1024, osl=256))

print(f"{answer.parameters / 1e9:.2f}e9 parameters on {answer.device}")
print(f"{answer.tokens_per_s:.0f} tokens/s, bound by {answer.decode.bound if answer.decode else answer.prefill.bound}")
print("It assumes that")
for assumption in answer.assumptions:
    print(f"- {assumption}")
