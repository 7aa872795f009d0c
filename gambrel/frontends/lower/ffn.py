"""Feed-forward blocks: plain and gated MLPs, and mixtures of experts with shared experts."""

from xdsl.ir import SSAValue

from gambrel.frontends.architecture import Activation, Ffn, Mlp, MoE
from gambrel.frontends.lower.scope import Scope
from gambrel.ir.experts import CombineOp, DispatchOp, RouteOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.pointwise import MapOp

_PLAIN: dict[Activation, str] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu",
    "quick_gelu": "silu",
    "relu": "relu",
    "relu2": "relu2",
}
_GATED: dict[Activation, str] = {
    "silu": "silu_mul",
    "gelu": "gelu_mul",
    "gelu_tanh": "gelu_mul",
    "quick_gelu": "clamped_silu_mul",
    "relu": "relu_mul",
    "relu2": "relu_mul",
}


def feed_forward(scope: Scope, hidden: int, ffn: Ffn, x: SSAValue) -> SSAValue:
    """The feed-forward block of one layer on its (normalised) input `[b, s, hidden]`."""
    if isinstance(ffn, MoE):
        return _experts(scope, hidden, ffn, x)
    return _mlp(scope, "mlp", hidden, x, ffn)


def _mlp(scope: Scope, label: str, hidden: int, x: SSAValue, mlp: Mlp, gate: SSAValue | None = None) -> SSAValue:
    """An MLP whose inner activations are scaled by the sigmoid of `gate` where there is one."""

    def project(name: str) -> SSAValue:
        weight = scope.weight(f"{label}.{name}", "matmul", hidden=hidden, ffn=mlp.width)
        out = EinsumOp("bsd,df->bsf", x, weight, label=scope.name(f"{label}.{name}")).res
        return scope.bias(out, f"{label}.{name}_bias", ffn=mlp.width) if mlp.bias else out

    if mlp.gated:
        inner = MapOp(_GATED[mlp.activation], project("gate"), project("up"), label=scope.name(f"{label}.act")).res
    else:
        inner = MapOp(_PLAIN[mlp.activation], project("up"), label=scope.name(f"{label}.act")).res
    if gate is not None:
        # Scaling before the linear down projection equals scaling after it and keeps the sum over tp open.
        inner = MapOp("sigmoid_mul", inner, gate, label=scope.name(f"{label}.gate_scale")).res
    weight = scope.weight(f"{label}.down", "matmul", ffn=mlp.width, hidden=hidden)
    out = EinsumOp("bsf,fd->bsd", inner, weight, label=scope.name(f"{label}.down")).res
    return scope.bias(out, f"{label}.down_bias", hidden=hidden) if mlp.bias else out


def _experts(scope: Scope, hidden: int, moe: MoE, x: SSAValue) -> SSAValue:
    weight = scope.weight("moe.router", "router", hidden=hidden, routed=moe.experts)
    logits = EinsumOp("bsd,de->bse", x, weight, label=scope.name("moe.router")).res
    if moe.router_bias:
        logits = scope.bias(logits, "moe.router_bias", routed=moe.experts)
    routing = RouteOp(logits, top_k=moe.top_k, label=scope.name("moe.route")).res
    tokens, width = (x, hidden) if moe.latent is None else (_to_latent(scope, hidden, moe.latent, x), moe.latent)
    rows = DispatchOp(tokens, routing, label=scope.name("moe.dispatch")).res
    if moe.gated:
        gate, up = (_expert_gemm(scope, moe, rows, name, width, moe.width) for name in ("gate", "up"))
        inner = MapOp(_GATED[moe.activation], gate, up, label=scope.name("moe.act")).res
    else:
        up = _expert_gemm(scope, moe, rows, "up", width, moe.width)
        inner = MapOp(_PLAIN[moe.activation], up, label=scope.name("moe.act")).res
    down = _expert_gemm(scope, moe, inner, "down", width, moe.width)
    routed = CombineOp(down, routing, label=scope.name("moe.combine")).res
    if moe.latent is not None:
        routed = _from_latent(scope, hidden, moe.latent, routed)
    if not moe.shared_width:
        return routed
    return scope.add(routed, _shared(scope, hidden, moe, x), "moe.add_shared")


def _to_latent(scope: Scope, hidden: int, latent: int, x: SSAValue) -> SSAValue:
    weight = scope.weight("moe.latent.into", "matmul", hidden=hidden, moe_latent=latent)
    return EinsumOp("bsd,dl->bsl", x, weight, label=scope.name("moe.latent.into")).res


def _from_latent(scope: Scope, hidden: int, latent: int, x: SSAValue) -> SSAValue:
    weight = scope.weight("moe.latent.back", "matmul", moe_latent=latent, hidden=hidden)
    return EinsumOp("bsl,ld->bsd", x, weight, label=scope.name("moe.latent.back")).res


def _expert_gemm(scope: Scope, moe: MoE, rows: SSAValue, name: str, hidden: int, width: int) -> SSAValue:
    sizes = (moe.experts, width, hidden) if name == "down" else (moe.experts, hidden, width)
    names = ("experts", "expert_ffn", "hidden") if name == "down" else ("experts", "hidden", "expert_ffn")
    weight = scope.weight_of(f"moe.{name}", "expert", names, sizes)
    bias: tuple[SSAValue, ...] = ()
    if moe.expert_bias:
        kept = ((names[0], names[2]), (sizes[0], sizes[2]))
        bias = (scope.weight_of(f"moe.{name}_bias", "bias", *kept),)
    return GroupedEinsumOp(rows, weight, *bias, top_k=moe.top_k, label=scope.name(f"moe.{name}")).res


def _shared(scope: Scope, hidden: int, moe: MoE, x: SSAValue) -> SSAValue:
    gate = None
    if moe.shared_gate:
        weight = scope.weight_of("moe.shared_gate", "router", ("hidden", "routed"), (hidden, 1))
        gate = EinsumOp("bsd,de->bse", x, weight, label=scope.name("moe.shared_gate")).res
    mlp = Mlp(width=moe.shared_width, gated=moe.gated, activation=moe.activation)
    return _mlp(scope, "moe.shared", hidden, x, mlp, gate)
