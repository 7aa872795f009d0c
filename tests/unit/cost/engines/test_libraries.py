"""Parameters of a device as the libraries of one engine have them."""

from dataclasses import replace

from gambrel.cost.engines.libraries import with_libraries
from gambrel.cost.engines.lookup import resolve
from gambrel.cost.engines.parameters import Gemm
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device


def device() -> Device:
    parameters = {
        "gemm": {"launch": 1e-6, "memory_efficiency": 0.5},
        "gemm@fast": {"launch": 2e-6},
        "gemm_fp8": {"memory_ramp": 3e-6},
        "gemm_fp8@fast": {"memory_efficiency": 0.9},
        "gemm_fp8@slow": {"memory_efficiency": 0.1},
        "gemm_nvfp4@slow": {"launch": 9e-6},
    }
    return replace(load_device("h100-sxm"), parameters=parameters)


def test_kernels_cost_what_they_cost_when_they_name_the_library() -> None:
    given, folded = device(), with_libraries(device(), ["fast"])
    for variant in ("bf16", "fp8"):
        assert resolve(Gemm(), folded, "gemm", variant) == resolve(Gemm(), given, "gemm", variant, "fast")


def test_the_first_library_that_has_a_kernel_counts() -> None:
    folded = with_libraries(device(), ["fast", "slow"])
    assert resolve(Gemm(), folded, "gemm", "fp8").memory_efficiency == 0.9
    assert resolve(Gemm(), folded, "gemm", "nvfp4").launch == 9e-6
    assert resolve(Gemm(), with_libraries(device(), ["slow", "fast"]), "gemm", "fp8").memory_efficiency == 0.1


def test_no_library_leaves_the_device_as_it_is() -> None:
    given = device()
    assert with_libraries(given, ()) is given
    assert with_libraries(given, ["unknown"]).parameters == given.parameters
