from dataclasses import fields, replace

import pytest
from engine_cases import GPU, decode

from gambrel.cost.engines import lookup, parameter_grade, parameters, variant_defaults
from gambrel.cost.engines.variants import attention_variants, format_variants, sized_variants
from gambrel.hardware.device import Device
from gambrel.hardware.load import list_profiles, load_device


def test_a_device_without_parameters_has_the_defaults() -> None:
    assert lookup.resolve(parameters.Gemm(), GPU, "gemm", "bf16") == parameters.Gemm()
    assert parameter_grade(GPU, "gemm") == "datasheet"


def test_variant_over_family_over_default() -> None:
    gpu = replace(GPU, parameters={"gemm": {"launch": 1.0, "wave_overhead": 2.0}, "gemm_fp8": {"launch": 3.0}})
    found = lookup.resolve(parameters.Gemm(), gpu, "gemm", "fp8")
    assert (found.launch, found.wave_overhead, found.overlap_norm) == (3.0, 2.0, parameters.Gemm().overlap_norm)


def test_a_library_comes_before_the_rest_at_each_step() -> None:
    given = {"gemm": 1.0, "gemm@a": 2.0, "gemm_fp8": 3.0, "gemm_fp8@a": 4.0, "gemm_fp8_block": 5.0}
    gpu = replace(GPU, parameters={name: {"launch": value} for name, value in given.items()})

    def launch(variant: tuple[str, ...], library: str) -> object:
        return lookup.resolve(parameters.Gemm(), gpu, "gemm", variant, library).launch

    assert [launch(("bf16",), library) for library in ("", "a", "b")] == [1.0, 2.0, 1.0]
    assert [launch(("fp8",), library) for library in ("", "a", "b")] == [3.0, 4.0, 3.0]
    assert launch(("fp8", "fp8_block"), "a") == 5.0


def test_software_has_defaults_that_any_profile_overrides() -> None:
    plain = variant_defaults.FORMAT_DEFAULTS["gemm_fp8"]["quantize_launch"]
    vllm = variant_defaults.LIBRARY_DEFAULTS["gemm_fp8@vllm"]["quantize_row_time"]

    def found(given: dict[str, dict[str, float]], library: str) -> tuple[object, object]:
        gpu = replace(GPU, parameters=given)
        resolved = lookup.resolve(parameters.Gemm(), gpu, "gemm", "fp8", library)
        return resolved.quantize_launch, resolved.quantize_row_time

    assert found({}, "") == (plain, parameters.Gemm().quantize_row_time)
    assert found({}, "vllm") == (plain, vllm)
    assert found({"gemm": {"quantize_launch": 1.0}}, "vllm") == (1.0, vllm)
    assert found({"gemm_fp8": {"quantize_row_time": 2.0}}, "vllm") == (plain, 2.0)


@pytest.mark.parametrize(("flops_per_unit", "seconds"), [(2.5e12, 2e-6), (7.5e12, 1e-6), (15e12, 1e-6 / 2**1.8)])
def test_a_wave_costs_less_where_units_multiply_faster(flops_per_unit: float, seconds: float) -> None:
    rate = flops_per_unit * GPU.num_units
    gpu = replace(GPU, matrix_flops_per_s={"bf16": rate})
    assert parameters.gemm_defaults(gpu).wave_overhead == pytest.approx(seconds)
    vector = replace(GPU, matrix_flops_per_s={}, vector_flops_per_s=rate)
    assert parameters.gemm_defaults(vector).wave_overhead == pytest.approx(seconds)


def test_variants_of_a_format_say_what_its_kernels_do() -> None:
    assert format_variants("fp8", 1.0, 1.0) == ("fp8",)
    assert format_variants("fp8", 1.03125, 1.0) == ("fp8", "fp8_block")
    assert format_variants("bf16", 2.0, 0.53125) == ("bf16", "bf16_w4")
    assert format_variants("nvfp4", 0.5625, 0.5625) == ("nvfp4",)


def test_variants_of_attention_say_how_wide_its_cache_is() -> None:
    plain, latent = decode(1.0, 128.0), replace(decode(1.0, 128.0), head_dim=576.0, v_head_dim=512.0)

    assert attention_variants("gqa", plain) == ("gqa",)
    assert attention_variants("gqa", replace(plain, kv_bytes=1.0)) == ("gqa", "gqa_kv8")
    assert attention_variants("mqa", replace(latent, kv_bytes=1.0)) == ("mla", "mla_kv8")
    assert attention_variants("bf16", latent) == ("bf16", "bf16_mla")
    assert attention_variants("bf16", replace(plain, decode=False, masked=False)) == ("bf16", "bf16_full")


def test_a_head_size_comes_after_its_variant() -> None:
    kernel = replace(decode(1.0, 128.0), head_dim=192.0, v_head_dim=192.0, kv_bytes=1.0)
    assert sized_variants("gqa", kernel) == ("gqa", "gqa_d192", "gqa_kv8", "gqa_kv8_d192")


def test_the_engine_knows_variants_and_libraries_where_a_profile_does_not() -> None:
    kernel = replace(decode(1.0, 128.0), heads=128.0, kv_heads=1.0)

    def heads(device: Device, library: str) -> object:
        variants = attention_variants("mqa", kernel)
        return lookup.resolve(parameters.Decode(), device, "attention_decode", variants, library).heads_per_block

    assert (heads(GPU, ""), heads(GPU, "trtllm")) == (64.0, 1.0)
    own = replace(GPU, parameters={"attention_decode_mqa": {"heads_per_block": 32.0}})
    assert (heads(own, ""), heads(own, "trtllm")) == (32.0, 32.0)


def test_every_variant_of_the_engine_is_read() -> None:
    gpu = replace(GPU, parameters=variant_defaults.VARIANTS)
    assert list(lookup.unknown_parameters(gpu)) == []


def test_a_library_counts_for_the_grade_of_its_family() -> None:
    gpu = replace(GPU, parameters={"gemm@a": {"launch": 1.0}})
    assert parameter_grade(gpu, "gemm") == "transferred"
    assert list(lookup.unknown_parameters(gpu)) == []


def test_grades_follow_where_the_profile_got_the_numbers() -> None:
    inherited = replace(GPU, parameters={"gemm": {"launch": 1.0}})
    assert parameter_grade(inherited, "gemm") == "transferred"
    assert parameter_grade(inherited, "memory_bound") == "datasheet"
    own = replace(inherited, parameter_grades={"gemm": "calibrated"})
    assert parameter_grade(own, "gemm") == "calibrated"


def test_a_variant_counts_for_its_family_but_a_longer_family_name_does_not() -> None:
    gpu = replace(GPU, parameters={"attention_decode_mha": {"launch": 1.0}})
    assert parameter_grade(gpu, "attention_decode") == "transferred"
    assert parameter_grade(gpu, "attention_prefill") == "datasheet"


def test_unknown_parameters_are_named() -> None:
    gpu = replace(GPU, parameters={"gemm_fp8": {"lunch": 1.0}, "gem": {"launch": 1.0}})
    assert list(lookup.unknown_parameters(gpu)) == ["gemm_fp8.lunch", "gem.launch"]


@pytest.mark.parametrize("name", list_profiles())
def test_shipped_profiles_give_only_parameters_that_an_engine_reads(name: str) -> None:
    assert list(lookup.unknown_parameters(load_device(name))) == []


@pytest.mark.parametrize("name", list_profiles())
def test_shipped_shares_do_not_exceed_one(name: str) -> None:
    shares = ("efficiency", "share", "hardness")
    for family, given in load_device(name).parameters.items():
        over = {key: value for key, value in given.items() if key.endswith(shares) and value > 1.0}
        assert not over, family


def test_defaults_are_positive() -> None:
    for default in parameters.DEFAULTS.values():
        for field in fields(default):
            assert not getattr(default, field.name) < 0.0
