"""Recurrent blocks: projections, a short convolution, the scan over a state of fixed size, a gated norm, an output."""

from typing import NamedTuple

from xdsl.ir import SSAValue

from gambrel.frontends.architecture import GatedDeltaNet, Mamba2, Norm, Recurrence
from gambrel.frontends.lower.scope import Scope
from gambrel.ir.matmul import EinsumOp
from gambrel.ir.model import Role
from gambrel.ir.pointwise import MapOp, NormOp
from gambrel.ir.scan import Conv1dOp, ScanOp

DELTA_CHUNK = 64
"""Tokens that prefill of the gated delta rule computes at once.

Source: BT of `chunk_gated_delta_rule` in flash-linear-attention, which vLLM, SGLang and TensorRT-LLM use.
"""

_RMS = Norm(kind="rms")


class _Input(NamedTuple):
    """What the block reads: `x` of shape `[b, s, hidden]`."""

    scope: Scope
    hidden: int
    x: SSAValue

    def project(self, label: str, dims: dict[str, int], *, role: Role = "matmul", bias: bool = False) -> SSAValue:
        """Project to heads of some width, or to one number a head."""
        weight = self.scope.weight(label, role, hidden=self.hidden, **dims)
        spec = "bsd,dhe->bshe" if len(dims) == 2 else "bsd,dh->bsh"
        out = EinsumOp(spec, self.x, weight, label=self.scope.name(label)).res
        return self.scope.bias(out, f"{label}_bias", **dims) if bias else out


def recur(scope: Scope, hidden: int, recurrence: Recurrence, x: SSAValue) -> SSAValue:
    """The recurrent block of one layer on its (normalised) input `[b, s, hidden]`, up to the output projection."""
    if isinstance(recurrence, GatedDeltaNet):
        return _gated_delta_net(_Input(scope, hidden, x), recurrence)
    return _mamba2(_Input(scope, hidden, x), recurrence)


def _gated_delta_net(source: _Input, a: GatedDeltaNet) -> SSAValue:
    scope, heads = source.scope, {"scan_heads": a.value_heads}
    keys = {"scan_groups": a.key_heads, "state_key": a.key_dim}
    values = {**heads, "state_value": a.value_dim}
    q, k = (source.project(f"gdn.{name}", keys) for name in "qk")
    v, z = (source.project(f"gdn.{name}", values) for name in "vz")
    # decay and strength come from a small product of their own, which quantised checkpoints leave in the plain format
    decay, strength = (source.project(f"gdn.control.{name}", heads, role="scan") for name in "ab")
    q, k = (_convolve(scope, x, f"gdn.{n}", a.conv_kernel, keys, bias=False) for n, x in (("q", q), ("k", k)))
    v = _convolve(scope, v, "gdn.v", a.conv_kernel, values, bias=False)
    state = scope.state("gdn.state", a.state_dtype, **heads, state_key=a.key_dim, state_value=a.value_dim)
    fixed = (scope.weight(f"gdn.{name}", "scan", **heads) for name in ("a_log", "dt_bias"))
    controls = (decay, strength, *fixed)
    out = ScanOp("gdn", q, k, v, state, *controls, chunk=DELTA_CHUNK, label=scope.name("gdn.scan")).res
    out = scope.norm(_RMS, out, "gdn.norm", state_value=a.value_dim)
    out = MapOp("silu_mul", z, out, label=scope.name("gdn.gate")).res
    return _output(source, out, "gdn.out", values, bias=False)


def _mamba2(source: _Input, a: Mamba2) -> SSAValue:
    scope, heads = source.scope, {"scan_heads": a.heads}
    groups = {"scan_groups": a.groups, "state_key": a.state}
    inner = {**heads, "state_value": a.head_dim}
    z, x = (source.project(f"mamba.{name}", inner, bias=a.bias) for name in "zx")
    b, c = (source.project(f"mamba.{name}", groups, bias=a.bias) for name in "bc")
    step = source.project("mamba.dt", heads, bias=a.bias)
    x = _convolve(scope, x, "mamba.x", a.conv_kernel, inner, bias=a.conv_bias)
    b, c = (_convolve(scope, y, f"mamba.{n}", a.conv_kernel, groups, bias=a.conv_bias) for n, y in (("b", b), ("c", c)))
    state = scope.state("mamba.state", a.state_dtype, **heads, state_key=a.state, state_value=a.head_dim)
    fixed = (scope.weight(f"mamba.{name}", "scan", **heads) for name in ("a_log", "dt_bias", "d"))
    out = ScanOp("mamba2", c, b, x, state, step, *fixed, chunk=a.chunk, label=scope.name("mamba.scan")).res
    out = MapOp("silu_mul", z, out, label=scope.name("mamba.gate")).res
    # one weight an element: split with the heads where the groups of the norm are, else whole as the norm is
    scale = scope.weight("mamba.norm.weight", "scan" if a.norm_groups > 1 else "norm", **inner)
    out = NormOp("rms", out, scale, dims=2, groups=a.norm_groups, label=scope.name("mamba.norm")).res
    return _output(source, out, "mamba.out", inner, bias=a.bias)


def _output(source: _Input, x: SSAValue, label: str, heads: dict[str, int], *, bias: bool) -> SSAValue:
    scope, hidden = source.scope, source.hidden
    weight = scope.weight(label, "matmul", **heads, hidden=hidden)
    out = EinsumOp("bshe,hed->bsd", x, weight, label=scope.name(label)).res
    return scope.bias(out, f"{label}_bias", hidden=hidden) if bias else out


def _convolve(scope: Scope, x: SSAValue, label: str, kernel: int, channels: dict[str, int], *, bias: bool) -> SSAValue:
    weight = scope.weight(f"{label}_conv", "scan", **channels, window=kernel)
    state = scope.state(f"{label}_conv_state", scope.format, **channels, window=kernel - 1)
    biases = [scope.weight(f"{label}_conv_bias", "scan", **channels)] if bias else []
    return Conv1dOp(x, weight, state, *biases, activation="silu", label=scope.name(f"{label}_conv")).res
