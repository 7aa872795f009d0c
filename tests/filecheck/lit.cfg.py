"""For `lit tests/filecheck`: the same files as subprocesses. `config` and `lit_config` are put here by lit."""

# ruff: noqa: F821

import sys
from pathlib import Path

import lit.formats

HERE = Path(__file__).parent

config.name = "gambrel"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_source_root = str(HERE)
# Lit writes beside the tests unless told otherwise; `build/` is ignored by git.
config.test_exec_root = lit_config.params.get("exec_root", str(HERE.parents[1] / "build" / "lit"))
config.environment["PATH"] = f"{Path(sys.executable).parent}:{config.environment['PATH']}"
