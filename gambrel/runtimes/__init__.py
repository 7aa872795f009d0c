"""Engine profiles: what the software around the kernels adds (vLLM, TensorRT-LLM, eager PyTorch, ...)."""

from gambrel.runtimes.load import list_engines, load_engine, load_engine_profile
from gambrel.runtimes.profile import IDEAL, EngineOverheads, EngineProfile

__all__ = ["IDEAL", "EngineOverheads", "EngineProfile", "list_engines", "load_engine", "load_engine_profile"]
