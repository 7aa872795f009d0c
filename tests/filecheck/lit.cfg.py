"""For `lit tests/filecheck`: the same files as subprocesses. `config` and `lit_config` are put here by lit."""

# ruff: noqa: F821
# pyright: reportUndefinedVariable=false

import sys
from pathlib import Path

import lit.formats

config.name = "gambrel"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.environment["PATH"] = f"{Path(sys.executable).parent}:{config.environment['PATH']}"
