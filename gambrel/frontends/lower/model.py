"""The whole model: embedding, segments of layers as repeats, head, in both phases."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import ImplicitBuilder
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region, SSAValue

from gambrel.frontends.architecture import Architecture, Ffn, Layer, Mixer, Recurrence, Segment
from gambrel.frontends.lower.attention import attend
from gambrel.frontends.lower.ffn import feed_forward
from gambrel.frontends.lower.linear_attention import recur
from gambrel.frontends.lower.scope import LatentForm, Scope
from gambrel.ir.expr import as_expr
from gambrel.ir.matmul import EinsumOp
from gambrel.ir.model import InputOp
from gambrel.ir.pointwise import MapOp
from gambrel.ir.structure import PhaseName, PhaseOp, RepeatOp, YieldOp
from gambrel.ir.tokens import EmbedOp, SampleOp, TakeLastOp
from gambrel.ir.types import TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """How a model becomes IR.

    Attributes:
        format: Number format of all weights, activations and caches; quantisation is a pass.
        latent_form: How latent attention decodes; served models absorb the projections.
        phases: Which phases to build.
    """

    format: str = "bf16"
    latent_form: LatentForm = "absorbed"
    phases: Sequence[PhaseName] = ("prefill", "decode")


def lower(architecture: Architecture, lowering: Lowering | None = None) -> ModuleOp:
    """A module with one `structure.phase` for each phase; unplaced: no dim is split and there is no mesh.

    Symbols: `b` sequences, `s` new tokens of each (prefill), `c` tokens of each in the cache before the step.
    """
    options = lowering or Lowering()
    phases: list[PhaseOp] = []
    for name in options.phases:
        scope = Scope(phase=name, format=options.format, latent_form=options.latent_form)
        phases.append(PhaseOp(name, Region(_phase(scope, architecture))))
    return ModuleOp(list(phases))


def _phase(scope: Scope, architecture: Architecture) -> Block:
    block = Block()
    with ImplicitBuilder(block):
        x, table = _embed(scope, architecture)
        for number, segment in enumerate(architecture.segments):
            x = _segment(scope, architecture.hidden, segment, x, f"layers{number}")
        _head(scope, architecture, x, table)
        YieldOp()
    return block


def _embed(scope: Scope, a: Architecture) -> tuple[SSAValue, SSAValue]:
    ids = InputOp("ids", ("batch", "seq"), TensorType.of("i32", ["b", scope.new_tokens])).res
    table = scope.weight("embed", "embedding", vocab=a.vocab, embedding=a.embedding_width)
    x = EmbedOp(ids, table, label="embed").res
    if a.embedding_width != a.hidden:
        weight = scope.weight("embed_in", "matmul", embedding=a.embedding_width, hidden=a.hidden)
        x = EinsumOp("bse,ed->bsd", x, weight, label="embed_in").res
    if a.learned_positions:
        positions = scope.weight("positions", "embedding", positions=a.learned_positions, hidden=a.hidden)
        x = scope.add(x, EmbedOp(ids, positions, label="positions").res, "positions_add")
    if a.embedding_norm is not None:
        x = scope.norm(a.embedding_norm, x, "embed_norm", hidden=a.hidden)
    return x, table


def _segment(scope: Scope, hidden: int, segment: Segment, x: SSAValue, label: str) -> SSAValue:
    body = Region(Block(arg_types=[x.type]))
    with ImplicitBuilder(body) as (inner,):
        out: SSAValue = inner
        for number, layer in enumerate(segment.layers):
            prefix = f"l{number}." if len(segment.layers) > 1 else ""
            out = _layer(scope.inside(prefix), hidden, layer, out)
        YieldOp(out)
    return RepeatOp(as_expr(segment.count), [x], body, label).res[0]


def _layer(scope: Scope, hidden: int, layer: Layer, x: SSAValue) -> SSAValue:
    def norm(value: SSAValue, label: str) -> SSAValue:
        return scope.norm(layer.norm, value, label, hidden=hidden)

    mixer, ffn = layer.attention, layer.ffn
    if layer.placement in ("parallel", "parallel_two"):
        assert mixer is not None
        assert ffn is not None
        h = norm(x, "attn_norm")
        h2 = norm(x, "mlp_norm") if layer.placement == "parallel_two" else h
        both = scope.add(_mix(scope, hidden, mixer, h), feed_forward(scope, hidden, ffn, h2), "parallel_add")
        return scope.add(x, both, "residual_add")
    before, after = layer.placement in ("pre", "sandwich"), layer.placement in ("post", "sandwich")
    for name, block in (("attn", mixer), ("mlp", ffn)):
        if block is None:
            continue
        h = norm(x, f"{name}_norm") if before else x
        h = feed_forward(scope, hidden, block, h) if isinstance(block, Ffn) else _mix(scope, hidden, block, h)
        if after:
            h = norm(h, f"{name}_post_norm")
        x = scope.add(x, h, f"{name}_add")
        if layer.placement == "post_residual":
            x = norm(x, f"{name}_post_norm")
    return x


def _mix(scope: Scope, hidden: int, mixer: Mixer, x: SSAValue) -> SSAValue:
    if isinstance(mixer, Recurrence):
        return recur(scope, hidden, mixer, x)
    return attend(scope, hidden, mixer, x)


def _head(scope: Scope, a: Architecture, x: SSAValue, table: SSAValue) -> None:
    if a.final_norm is not None:
        x = scope.norm(a.final_norm, x, "final_norm", hidden=a.hidden)
    if scope.phase == "prefill":
        x = TakeLastOp(x, label="last_token").res
    if a.embedding_width != a.hidden:
        weight = scope.weight("embed_out", "matmul", hidden=a.hidden, embedding=a.embedding_width)
        x = EinsumOp("bsd,de->bse", x, weight, label="embed_out").res
    if a.tied_embeddings:
        logits = EinsumOp("bse,ve->bsv", x, table, label="head").res
    else:
        weight = scope.weight("head", "head", embedding=a.embedding_width, vocab=a.vocab)
        logits = EinsumOp("bse,ev->bsv", x, weight, label="head").res
    if a.head_bias:
        logits = scope.bias(logits, "head_bias", vocab=a.vocab)
    if a.logit_softcap is not None:
        logits = MapOp("softcap", logits, label="softcap").res
    SampleOp(logits, label="sample")
