"""Attention over many new tokens and over one: `attention_prefill`, `attention_decode`."""

from dataclasses import replace

import numpy as np

from gambrel.calibration.columns import Array, Column, Rows, Text
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, FORMATS, LIBRARY_FROM, MEASURED, PROVENANCE, SERVING, loop_of
from gambrel.cost.engines.grouping import FEW, GROUPINGS, MQA_GROUP
from gambrel.cost.kernel import Attention

KINDS = (GROUPINGS[0], "few", *GROUPINGS[1:])
"""Kinds of rows: each falls into one kind of sharing key heads with every library."""

STEPPING = "vllm"
"""Engine that runs its decode kernels for prompts of one new token.

Source: vLLM, `reorder_batch_to_split_decodes_and_prefills`.
"""

SHAPE = (
    Column(name="batch", doc="Sequences", aliases=("b",)),
    Column(name="num_heads", doc="Query heads", aliases=("hq",)),
    Column(name="num_kv_heads", doc="Key and value heads; 0 for as many as query heads", aliases=("hkv",)),
    Column(name="head_dim", doc="Elements of a head", aliases=("d",)),
    Column(name="window", doc="Keys that a query reaches back to; 0 for all", default=0.0),
    DTYPE,
    Column(name="kv_dtype", doc="Number format of the cache", text=True, default=""),
    *PROVENANCE,
    MEASURED,
)


def _kv_heads(rows: Rows) -> Array:
    x = rows.numbers
    return np.where(x["num_kv_heads"] > 0, x["num_kv_heads"], x["num_heads"])


def classes(rows: Rows) -> Text:
    """Head size and how many query heads share a key head: kinds of rows that run kernels of their own."""
    group = rows.numbers["num_heads"] / np.maximum(_kv_heads(rows), 1.0)
    kind = np.searchsorted([1.0, max(FEW.values()), MQA_GROUP], group)
    sizes, size = np.unique(rows.numbers["head_dim"], return_inverse=True)
    names = tuple(f"{d:g} {name}" for d in sizes.tolist() for name in KINDS)
    return Text((size * len(KINDS) + kind).astype(np.intp), names)


def prompt_classes(rows: Rows) -> Text:
    """As `classes`, prompts of one new token apart."""
    text = classes(rows)
    names = (*(f"{name} one" for name in text.values), *text.values)
    more = rows.numbers["s"] > 1.0
    return Text((text.codes + len(text.values) * more).astype(np.intp), names)


def reach(rows: Rows) -> Array:
    """Keys that a query reaches back to; infinity for all."""
    return np.where(rows.numbers["window"] > 0, rows.numbers["window"], np.inf)


def _attention(rows: Rows, queries: Array, keys: Array, pairs: Array, *, decode: bool) -> Call:
    x, library = rows.numbers, rows.only(LIBRARY)
    head_dim = float(x["head_dim"][0]) if rows.length else 0.0
    compute, cache = rows.only("dtype"), rows.only("kv_dtype")
    kv_heads = _kv_heads(rows)
    q_bytes = max(FORMATS[compute].a_bytes, 2.0)
    kv_bytes = FORMATS[cache].a_bytes if cache else q_bytes
    engine = library.partition("-")[0]
    kernel = Attention(
        batch=x["batch"],
        q_len=queries,
        kv_len=keys,
        pairs=pairs,
        heads=x["num_heads"],
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=head_dim,
        q_bytes=q_bytes,
        kv_bytes=kv_bytes,
        kv_bytes_total=x["batch"] * keys * kv_heads * 2.0 * head_dim * kv_bytes,
        decode=decode,
        rate=FORMATS[compute].rate,
        prologue=engine in SERVING and not decode,
        library=library,
        window=reach(rows),
    )
    return Call(kernels=(kernel,), residency=loop_of(engine))


def prefill(rows: Rows) -> Call:
    """Causal attention of `s` new tokens after `prefix` cached ones."""
    x = rows.numbers
    if rows.only(LIBRARY).partition("-")[0] == STEPPING and rows.length and x["s"][0] == 1.0:
        return _step(rows, x["prefix"] + 1.0)
    queries, prefix = x["s"], x["prefix"]
    window = reach(rows)
    full = queries * prefix + queries * (queries + 1.0) / 2.0
    cut = np.maximum(prefix + queries - window, 0.0)
    beyond = cut * (cut + 1.0) - np.maximum(prefix - window, 0.0) * (np.maximum(prefix - window, 0.0) + 1.0)
    return _attention(rows, queries, np.minimum(prefix, window) + queries, full - beyond / 2.0, decode=False)


def decode(rows: Rows) -> Call:
    """Attention of one new token over `kv_len` keys."""
    return _step(rows, rows.numbers["kv_len"])


def _step(rows: Rows, cached: Array) -> Call:
    keys = np.minimum(cached, reach(rows))
    call = _attention(rows, np.ones_like(keys), keys, keys, decode=True)
    return replace(call, kernels=(replace(call.kernels[0], cached_len=cached),))


_KNOWN = {"dtype": tuple(FORMATS), "kv_dtype": ("", *FORMATS)}
_SPLIT = ("dtype", "kv_dtype", LIBRARY)


def _site(rows: Rows) -> list[SiteNumber]:
    heads = (rows.numbers["num_heads"], rows.numbers["num_kv_heads"], rows.numbers["head_dim"])
    return [SiteNumber(values, whole=True) for values in heads]


ATTENTION_PREFILL = Operation(
    name="attention_prefill",
    columns=(
        Column(name="s", doc="New tokens per sequence", aliases=("isl",)),
        Column(name="prefix", doc="Tokens per sequence that are cached already", default=0.0),
        *SHAPE,
    ),
    build=prefill,
    site=_site,
    known=_KNOWN,
    derived={LIBRARY: LIBRARY_FROM},
    classes=prompt_classes,
    split=_SPLIT,
    dtypes=("dtype", "kv_dtype"),
    aliases=("context_attention",),
)

ATTENTION_DECODE = Operation(
    name="attention_decode",
    columns=(Column(name="kv_len", doc="Keys per sequence, the new one included", aliases=("s",)), *SHAPE),
    build=decode,
    site=_site,
    known=_KNOWN,
    derived={LIBRARY: LIBRARY_FROM},
    classes=classes,
    split=_SPLIT,
    dtypes=("dtype", "kv_dtype"),
    aliases=("generation_attention",),
)
