"""From a Hugging Face `config.json` to an architecture. Nothing of a model repository is ever executed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gambrel.errors import FrontendError, Problem, did_you_mean
from gambrel.frontends.architecture import Architecture, Layer, Notes
from gambrel.frontends.folding import fold
from gambrel.frontends.hf.blocks import build_attentions, build_ffns
from gambrel.frontends.hf.facts import Facts
from gambrel.frontends.hf.families import BY_MODEL_TYPE, REFUSED
from gambrel.frontends.hf.hybrid import build_blocks, count_listed_layers
from gambrel.frontends.hf.keys import SPELLINGS
from gambrel.frontends.hf.quantization import published_dtype, published_quantization
from gambrel.frontends.hf.source import JsonValue, Source, read_source
from gambrel.frontends.hf.traits import Family, resolve

NOT_COUNTED_PARTS = ("vision_config", "audio_config", "vision_tower", "speech_config")
INHERITED = ("tie_word_embeddings", "torch_dtype", "dtype", "quantization_config")
"""Facts of the whole model that also hold for its text part."""
COMMON_KEYS = (
    *("vocab_size", "head_dim", "hidden_act", "tie_word_embeddings", "attention_bias", "mlp_bias", "sliding_window"),
    *("layer_types", "mlp_layer_types", "moe_intermediate_size", "first_k_dense_replace", "quantization_config"),
)
"""Keys that mean the same wherever they occur."""
MTP_KEYS = ("num_nextn_predict_layers", "num_mtp_modules", "num_mtp_layers", "mtp_num_hidden_layers")


def read_config(path: str | Path) -> Architecture:
    """Read a `config.json`, or the folder that holds one.

    Args:
        path: The file or folder.

    Returns:
        The language model; what was assumed and what was left out stands in its `notes`.

    Raises:
        FrontendError: The file is not JSON, a fact is missing or absurd, or the model type is not known. All problems
            of the file are in one error.
    """
    source = read_source(Path(path))
    file = Path(source.file)
    name = source.values.get("_name_or_path")
    if not isinstance(name, str) or not name:
        name = file.parent.resolve().name if file.name == "config.json" else file.stem
    return read_architecture(source, name=name, citation=source.file)


def architecture_from_config(config: Mapping[str, JsonValue], *, name: str, citation: str = "") -> Architecture:
    """The architecture of a config that is already in memory.

    Raises:
        FrontendError: As `read_config`.
    """
    return read_architecture(Source(values=dict(config), file=name), name=name, citation=citation)


def read_architecture(source: Source, *, name: str, citation: str) -> Architecture:
    """The architecture of a read file, under a name of the caller's choice.

    Raises:
        FrontendError: As `read_config`.
    """
    facts, family, model_type = _text_model(source)
    facts.use("model_type", *family.unused)
    facts.assume(dict(family.defaults))
    hidden = facts.count("hidden_size")
    num_layers = facts.count("num_hidden_layers", default=count_listed_layers(family, facts))
    layers = _layers(family, facts, hidden=hidden, num_layers=1 if facts.faulty("num_hidden_layers") else num_layers)
    width = facts.count(family.embedding_width_key, default=hidden) if family.embedding_width_key else hidden
    positions = _max_positions(family, facts)
    architecture = Architecture(
        name=name,
        model_type=model_type,
        hidden=hidden,
        vocab=facts.count("vocab_size"),
        segments=fold(layers),
        tied_embeddings=facts.flag("tie_word_embeddings", default=family.tied),
        embedding_width=width,
        learned_positions=0 if family.learned_offset is None else (positions or 0) + family.learned_offset,
        embedding_norm=family.embedding_norm,
        final_norm=family.norm if resolve(family.has_final_norm, facts) else None,
        head_bias=resolve(family.head_bias, facts),
        logit_softcap=facts.number("final_logit_softcapping", default=family.logit_softcap),
        max_positions=positions,
        dtype=published_dtype(facts),
        quantization=published_quantization(facts),
    )
    _remark_on_prediction_layers(facts)
    facts.finish()
    notes = Notes(
        source=citation,
        defaulted=tuple(facts.defaulted),
        ignored_keys=facts.unread_keys(),
        remarks=tuple(facts.remarks),
    )
    return replace(architecture, notes=notes)


def _layers(family: Family, facts: Facts, *, hidden: int, num_layers: int) -> list[Layer]:
    if family.recurrence is not None:
        blocks = build_blocks(family, facts, hidden=hidden, layers=num_layers)
    else:
        assert family.attention is not None
        assert family.ffn is not None
        attentions = build_attentions(family.attention, facts, hidden=hidden, layers=num_layers)
        blocks = list(zip(attentions, build_ffns(family.ffn, facts, hidden=hidden, layers=num_layers), strict=True))
    placement = family.placement(facts) if callable(family.placement) else family.placement
    made = {
        block: Layer(attention=block[0], ffn=block[1], norm=family.norm, placement=placement)
        for block in dict.fromkeys(blocks)
    }
    return [made[block] for block in blocks]


def _max_positions(family: Family, facts: Facts) -> int | None:
    """The longest sequence: essential where it sizes a table, else None where the config is silent."""
    if family.learned_offset is None and not facts.has("max_position_embeddings"):
        return None
    return facts.count("max_position_embeddings")


def _text_model(source: Source) -> tuple[Facts, Family, str]:
    """The part of the config that describes the language model, and its family.

    A multi-modal config holds it in `text_config`; older ones hold it beside `vision_config`.
    """
    model_type = _model_type(source, source.values)
    text = source.values.get("text_config")
    if not isinstance(text, dict):
        facts = Facts(source)
        _remark_on_other_parts(source, facts)
        return facts, _family(source, model_type, source.values), model_type
    text_type = _model_type(source, text) if "model_type" in text else model_type
    inherited = {key: source.values[key] for key in INHERITED if key in source.values}
    facts = Facts(source, {**inherited, **text}, prefix="text_config.")
    _remark_on_other_parts(source, facts)
    return facts, _family(source, text_type, text), text_type


def _model_type(source: Source, values: Mapping[str, JsonValue]) -> str:
    model_type = values.get("model_type")
    if isinstance(model_type, str) and model_type:
        return model_type
    architectures = values.get("architectures")
    hint = f" ({architectures[0]})" if isinstance(architectures, list) and architectures else ""
    what = "model_type is missing" if model_type is None else f"model_type is {model_type!r}"
    why = "it says how the other keys are to be read"
    fix = f'Add the model_type of this model{hint}, such as "llama"'
    raise FrontendError(Problem(where=source.locate("model_type"), what=what, why=why, fix=fix))


def _family(source: Source, model_type: str, values: Mapping[str, JsonValue]) -> Family:
    family = BY_MODEL_TYPE.get(model_type)
    if family is not None:
        return family
    what = f"the model_type {model_type!r} is not supported"
    where = source.locate("model_type")
    if model_type in REFUSED:
        why = f"it is {REFUSED[model_type]}, and no block kind describes that yet"
        raise FrontendError(Problem(where=where, what=what, why=why))
    unknown = _keys_of_no_family(source, values)
    why = f"keys not understood: {', '.join(unknown)}" if unknown else "its keys are known, its blocks are not"
    fix = f"{did_you_mean(model_type, BY_MODEL_TYPE)} A family is one row of gambrel/frontends/hf/families.py"
    raise FrontendError(Problem(where=where, what=what, why=why, fix=fix))


def _keys_of_no_family(source: Source, values: Mapping[str, JsonValue]) -> tuple[str, ...]:
    facts = Facts(source, dict(values))
    facts.use("model_type", *SPELLINGS, *COMMON_KEYS)
    return facts.unread_keys()


def _remark_on_other_parts(source: Source, facts: Facts) -> None:
    facts.use(*NOT_COUNTED_PARTS)
    parts = [key.removesuffix("_config") for key in NOT_COUNTED_PARTS if source.values.get(key)]
    if parts:
        facts.remarks.append(f"the {' and '.join(parts)} part is not counted")


def _remark_on_prediction_layers(facts: Facts) -> None:
    for key in MTP_KEYS:
        if facts.has(key) and (number := facts.count(key, minimum=0)):
            facts.remarks.append(f"{number} layer(s) for multi-token prediction ({key}) are not counted")
    facts.use(*MTP_KEYS)
