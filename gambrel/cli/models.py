"""`gambrel models`: the shipped library, and how a config is understood."""

from collections.abc import Iterator
from itertools import groupby
from typing import assert_never

from gambrel.cli.output import Format, print_json, print_table
from gambrel.frontends.architecture import (
    Architecture,
    Ffn,
    GatedDeltaNet,
    LatentAttention,
    Mamba2,
    Mixer,
    MoE,
    Notes,
    SelfAttention,
)
from gambrel.frontends.parameters import count_active_parameters, count_parameters, layer_parameters
from gambrel.models import list_models, load_model


def list_(*, format: Format = "table") -> None:
    """List the models of the shipped library.

    Args:
        format: A table for people, or JSON.
    """
    models = [load_model(name) for name in list_models()]
    if format == "json":
        print_json([_headline(model) for model in models])
        return
    rows = [
        (
            model.name,
            model.model_type,
            f"{count_parameters(model) / 1e9:.2f}e9",
            f"{count_active_parameters(model) / 1e9:.2f}e9",
            str(model.num_layers),
        )
        for model in models
    ]
    print_table(("name", "family", ">parameters", ">active", ">layers"), rows)


def show(model: str, /, *, format: Format = "table") -> None:
    """Show the architecture that a model's config describes, and how the config was understood.

    Args:
        model: A name of the library, a config.json, or its folder.
        format: A table for people, or JSON.
    """
    architecture = load_model(model)
    if format == "json":
        print_json(_headline(architecture) | {"architecture": architecture})
        return
    active = count_active_parameters(architecture)
    print(f"{architecture.name} ({architecture.model_type})\n")
    print_table((), _facts(architecture, active))
    print()
    columns = ("times", "attention", "feed-forward network", ">parameters")
    print_table(columns, _layer_rows(architecture), title="Layers")
    _print_notes(architecture.notes)


def _headline(model: Architecture) -> dict[str, object]:
    return {
        "name": model.name,
        "model_type": model.model_type,
        "parameters": count_parameters(model),
        "active_parameters": count_active_parameters(model),
        "layers": model.num_layers,
        "hidden": model.hidden,
        "vocab": model.vocab,
    }


def _facts(model: Architecture, active: int) -> list[tuple[str, str]]:
    quantization = model.quantization
    stored = quantization.method if quantization else model.dtype
    return [
        ("parameters", f"{count_parameters(model):,}"),
        ("active per token", f"{active:,}"),
        ("layers", str(model.num_layers)),
        ("hidden width", str(model.hidden)),
        ("vocabulary", f"{model.vocab}{', table shared by input and output' if model.tied_embeddings else ''}"),
        ("longest sequence", str(model.max_positions or "not stated")),
        ("published weights", stored or "not stated"),
    ]


def _layer_rows(model: Architecture) -> Iterator[tuple[str, str, str, str]]:
    """A row for each run of equal layers; `10 x 5` is a run of 5 in a segment that repeats 10 times."""
    for segment in model.segments:
        for layer, run in groupby(segment.layers):
            length = len(list(run))
            times = f"{segment.count} x {length}" if len(segment.layers) > 1 else f"{segment.count}"
            yield times, _attention(layer.attention), _ffn(layer.ffn), f"{layer_parameters(model.hidden, layer):,}"


def _attention(attention: Mixer | None) -> str:
    match attention:
        case None:
            return "none"
        case SelfAttention():
            return _grouped(attention)
        case LatentAttention():
            head = f"{attention.qk_nope_head_dim}+{attention.qk_rope_head_dim}"
            cached = f"{attention.kv_lora_rank}+{attention.qk_rope_head_dim}"
            return f"MLA, {attention.heads} heads of {head}, cached {cached}"
        case GatedDeltaNet():
            heads = f"{attention.value_heads}/{attention.key_heads}"
            return f"gated delta rule, {heads} heads, state {attention.key_dim} x {attention.value_dim}"
        case Mamba2():
            return f"Mamba-2, {attention.heads} heads, state {attention.state} x {attention.head_dim}"
        case _:
            assert_never(attention)


def _grouped(attention: SelfAttention) -> str:
    reach = {"window": attention.window, "chunk": attention.chunk}
    limits = "".join(f", {name} {size}" for name, size in reach.items() if size is not None)
    gate = ", gated" if attention.output_gate else ""
    return f"{_kind(attention)}, {attention.heads}/{attention.kv_heads} heads of {attention.head_dim}{limits}{gate}"


def _kind(attention: SelfAttention) -> str:
    if attention.kv_heads == attention.heads:
        return "MHA"
    return "MQA" if attention.kv_heads == 1 else "GQA"


def _ffn(ffn: Ffn | None) -> str:
    if ffn is None:
        return "none"
    form = f"{'gated ' if ffn.gated else ''}{ffn.activation}, width {ffn.width}"
    if not isinstance(ffn, MoE):
        return form
    shared = f", shared {ffn.shared_width}" if ffn.shared_width else ""
    latent = f", in {ffn.latent}" if ffn.latent is not None else ""
    return f"{ffn.top_k} of {ffn.experts} experts, {form}{latent}{shared}"


def _print_notes(notes: Notes) -> None:
    sections = {
        "Source": (notes.source,) if notes.source else (),
        "Defaults that were assumed": notes.defaulted,
        "Keys without effect": notes.ignored_keys,
        "Left out": notes.remarks,
    }
    for title, lines in sections.items():
        if lines:
            print(f"\n{title}:", *(f"  {line}" for line in lines), sep="\n")
