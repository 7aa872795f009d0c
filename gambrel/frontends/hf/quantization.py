"""How a published checkpoint stores its weights, from `quantization_config` and `torch_dtype`."""

from collections.abc import Mapping

from gambrel.frontends.architecture import PublishedQuantization
from gambrel.frontends.hf.facts import Facts
from gambrel.frontends.hf.source import JsonValue

DTYPES: dict[str, str] = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
FIXED_METHODS: dict[str, str] = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4", "nvfp4": "nvfp4"}
BITS_METHODS: dict[str, dict[int, str]] = {
    "gptq": {4: "int4", 8: "int8"},
    "awq": {4: "int4", 8: "int8"},
    "bitsandbytes": {4: "int4", 8: "int8"},
}
ALGORITHMS: dict[str, str] = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_AWQ": "int4", "INT8_SQ": "int8", "MXFP4": "mxfp4"}
MXFP4_BLOCK = (1, 32)
NVFP4_BLOCK = (1, 16)


def published_dtype(facts: Facts) -> str | None:
    """The plain dtype of the weights in this project's names."""
    for key in ("torch_dtype", "dtype"):
        name = facts.values.get(key)
        if name is None:
            continue
        if isinstance(name, str) and name in DTYPES:
            return DTYPES[name]
        facts.remarks.append(f"the {key} {name!r} is not understood")
    return None


def published_quantization(facts: Facts) -> PublishedQuantization | None:
    """The quantization that the config declares, or None for plain weights."""
    config = facts.mapping("quantization_config")
    if config is None:
        return None
    method = config.get("quant_method")
    method = method if isinstance(method, str) else "unnamed"
    dtype = _weight_dtype(method, config)
    if dtype is None:
        facts.remarks.append(f"the quantization method {method!r} is not understood: weights count as plain")
    return PublishedQuantization(
        method=method, weight_dtype=dtype, block=_block(dtype, config), excluded=_excluded(config)
    )


def _weight_dtype(method: str, config: Mapping[str, JsonValue]) -> str | None:
    if method in FIXED_METHODS:
        return FIXED_METHODS[method]
    algorithm = config.get("quant_algo")
    if isinstance(algorithm, str):
        return ALGORITHMS.get(algorithm)
    if method == "bitsandbytes":
        return "int8" if config.get("load_in_8bit") else "int4"
    bits = config.get("bits")
    if method in BITS_METHODS and isinstance(bits, int):
        return BITS_METHODS[method].get(bits)
    if method == "compressed-tensors":
        return _compressed_tensors_dtype(config)
    return None


def _compressed_tensors_dtype(config: Mapping[str, JsonValue]) -> str | None:
    """The weights of the first group: `{num_bits, type}`."""
    groups = config.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    if not isinstance(weights, dict):
        return None
    bits, kind = weights.get("num_bits"), weights.get("type")
    if not isinstance(bits, int) or not isinstance(kind, str):
        return None
    return {(8, "float"): "fp8", (8, "int"): "int8", (4, "int"): "int4", (4, "float"): "nvfp4"}.get((bits, kind))


def _block(dtype: str | None, config: Mapping[str, JsonValue]) -> tuple[int, int] | None:
    block = config.get("weight_block_size")
    if isinstance(block, list) and len(block) == 2:
        rows, columns = block
        if isinstance(rows, int) and isinstance(columns, int):
            return rows, columns
    group = config.get("group_size")
    if isinstance(group, int):
        return 1, group
    return {"mxfp4": MXFP4_BLOCK, "nvfp4": NVFP4_BLOCK}.get(dtype or "")


def _excluded(config: Mapping[str, JsonValue]) -> tuple[str, ...]:
    for key in ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers"):
        listed = config.get(key)
        if isinstance(listed, list):
            return tuple(entry for entry in listed if isinstance(entry, str))
    return ()
