"""What is fitted: parameter families, the measured rows of each, and the priors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from gambrel.calibration.kinds import PREFILL_KINDS, Kind, kinds_of
from gambrel.calibration.ops.common import SERVING
from gambrel.calibration.ops.gemm import ISSUED
from gambrel.calibration.ops.memory_bound import STREAMS
from gambrel.calibration.priors import TILES
from gambrel.cost.engines.grouping import GROUPINGS
from gambrel.cost.engines.variants import stream_variants

FIXED = {
    "gemm": ("sustained_after",),
    "memory_bound": ("long_row", "rows_in_flight", "rows_at_once"),
    "scan": ("fused",),
    "grouped_gemm": TILES,
}
"""What the data do not place, or CHOICES try: thresholds, tiles, and what is known of a library's kernels."""

BY_MEAN = tuple({"largest_tile": rows, "tile_margin": margin} for rows in (64.0, 128.0, 256.0) for margin in (1.0, 2.0))
"""Tiles of expert products by the mean rows of an expert, up to some rows."""

UNTUNED = {"least_tile": 128.0, "largest_tile": 128.0, "tile_columns": 16.0}
"""The tile that CUTLASS' expert products take where nobody tuned them."""

CHOICES: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "gemm": ({"tile_search": 1.0}, {"tile_search": 0.0}),
    "attention_prefill": PREFILL_KINDS,
    "grouped_gemm": (*BY_MEAN, UNTUNED),
}
"""Parameters of a family that are choices of the library: how it picks tiles, whether one kernel does it all; all are
tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One set of parameters and the rows it is fitted on.

    Attributes:
        family: Key under `parameters`; `{link}` is the name of the innermost link.
        table: Measured table.
        base: Key under `DEFAULTS`.
        op: The cases' operation, one of several.
        dtypes: Formats and library of the cases, `* nccl` for a library's in any format; all where empty.
        grouping: Kind of sharing key heads; any where empty.
        heads: Head sizes; any where empty.
        other_heads: Head sizes that are another target's.
        batched: Whether the rows are of several products at once, or of one; either where None.
        variants: Variants that the prior of a library's set follows.
        start: Where some parameters start instead.
        searches: Whether the family's choices are tried.
        kinds: Kinds of kernels that are tried in place of the family's choices.
        absent: Parameters that play no part in these rows.
        link: Of collectives, the widest link that the rows cross; the innermost of the device where empty.
    """

    family: str
    table: str
    base: str
    op: tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    grouping: str = ""
    heads: tuple[float, ...] = ()
    other_heads: tuple[float, ...] = ()
    batched: bool | None = None
    variants: tuple[str, ...] = ()
    start: Mapping[str, float] = field(default_factory=dict[str, float])
    searches: bool = False
    kinds: tuple[Kind, ...] = ()
    absent: tuple[str, ...] = ()
    link: str = ""


PRODUCTS = {
    "bfloat16": ("bf16",),
    "fp8": ("fp8",),
    "fp8_block": ("fp8", "fp8_block"),
    "nvfp4": ("nvfp4",),
    "sq": ("int8",),
    "int8_wo": ("bf16", "bf16_w8"),
    "int4_wo": ("bf16", "bf16_w4"),
    "fp16": ("fp16",),
}
"""Variants of each format of a product."""

UNPACK = ("unpack_per_clock_per_unit",)
"""Parameters of narrow weights."""

QUANTIZE = ("quantize_launch", "quantize_row_time", "quantize_per_clock_per_unit")
"""Parameters of a separate quantise kernel."""

POOLED = {"fp8": ("trtllm",), "nvfp4": ("trtllm", "vllm")}
"""Libraries that the set for no library in particular is fitted on, where not all: those that search for tiles."""

HOST_BOUND = {("fp8_block", "vllm"): tuple(f"-{each}-eager" for each in ISSUED), ("int8_wo", "sglang"): ("-eager",)}
"""Calls that were measured outside a captured graph, and how their libraries are marked."""

OWN_FORMATS = {"sq": (), "fp16": ("vidur",)}
"""Formats whose libraries are not the serving engines."""

NO_POOL = ("fp8_block", "int8_wo", "int4_wo", "fp16")
"""Formats without a set for no library in particular."""


def _gemm() -> Iterator[Target]:
    for form, variants in PRODUCTS.items():
        family = "gemm" if form == "bfloat16" else f"gemm_{variants[-1]}"
        absent = QUANTIZE if variants[0] == "bf16" else ()
        absent += () if "_w" in variants[-1] else UNPACK
        if form not in NO_POOL:
            dtypes = tuple(f"{form} {library}" for library in POOLED.get(form, SERVING))
            yield Target(family=family, table="gemm", base="gemm", op=("gemm",), dtypes=dtypes, absent=absent)
        for engine in OWN_FORMATS.get(form, SERVING):
            for mark in HOST_BOUND.get((form, engine), ("",)):
                yield Target(
                    family=f"{family}@{engine}{mark}",
                    table="gemm",
                    base="gemm",
                    op=("gemm",),
                    dtypes=(f"{form} {engine}{mark}",),
                    variants=variants,
                    start={"issue_floor": 15e-6} if form == "int8_wo" and mark else {},
                    searches=form != "bfloat16",
                    absent=absent,
                )


EAGER = {
    "fp32": ("fp32 neusight",),
    "fp16": ("fp16 vidur", "fp16 llmcompassplus"),
    "int8": ("int8 llmcompassplus",),
}
"""Formats and libraries of products that no serving engine's tables have."""


def _half() -> Iterator[Target]:
    """What stands for all formats of a device that no serving engine's tables have."""
    absent = (*QUANTIZE, *UNPACK)
    yield Target(family="gemm", table="gemm", base="gemm", op=("gemm",), dtypes=EAGER["fp16"], absent=absent)


def _eager() -> Iterator[Target]:
    for form, dtypes in EAGER.items():
        for batched, variants in ((False, (form,)), (True, (form, f"{form}_batched"))):
            yield Target(
                family=f"gemm_{variants[-1]}",
                table="gemm",
                base="gemm",
                op=("gemm",),
                dtypes=dtypes,
                batched=batched,
                variants=variants,
                absent=(*QUANTIZE, *UNPACK),
            )


VARIETIES = (*SERVING, "vllm-flashinfer", "sglang-flashinfer", "sglang-triton", "vllm-triton", "trtllm-flashinfer")
"""Engines, and their attention kernels that are another project's."""


BOTH = tuple(f"{cache} {library}" for cache in ("bfloat16", "bfloat16 kv fp8") for library in SERVING)
"""Attention in bf16 by its fused kernels, over either cache."""


def _prefill() -> Iterator[Target]:
    name = "attention_prefill"
    forms = {("bf16",): "bfloat16", ("bf16", "bf16_kv8"): "bfloat16 kv fp8", ("fp8",): "fp8"}
    yield Target(family=name, table=name, base=name, op=(name,), dtypes=BOTH, searches=True)
    eight = tuple(f"fp8 {library}" for library in SERVING)
    yield Target(family=f"{name}_fp8", table=name, base=name, op=(name,), dtypes=eight, searches=True)
    for variants, label in forms.items():
        family = name if variants == ("bf16",) else f"{name}_{variants[-1]}"
        for library in VARIETIES:
            target = Target(
                family=f"{family}@{library}",
                table=name,
                base=name,
                op=(name,),
                dtypes=(f"{label} {library}",),
                variants=variants,
                searches=True,
                kinds=kinds_of(f"{family}@{library}"),
            )
            special = RARE_IN_EIGHT_BITS if label == "fp8" else {}
            yield from _by_head_size(target, (*RARE_FOR_PROMPTS.get(library, ()), *special.get(library, ())))


RARE = {"sglang": (192.0,), "sglang-triton": (192.0, 512.0), "vllm": (512.0,)}
"""Head sizes for which a library's kernels have sets of their own: padded, or another project's."""

RARE_OVER_EIGHT_BITS = {"trtllm": (64.0,)}
"""The same for groups that share key heads of eight bits: XQA's kernel for these elements has no such heads."""

RARE_FOR_PROMPTS = {**RARE, "trtllm": (192.0, 256.0)}
"""The same for attention over many new tokens."""

RARE_IN_EIGHT_BITS = {"trtllm": (64.0,)}
"""The same in fp8."""

RARE_FOR_ENCODERS = {"trtllm": (72.0,), "sglang-triton": (64.0,)}
"""The same for encoders: SGLang's Triton kernel pads all heads but those of 64 elements to 128."""


def _by_head_size(target: Target, rare: tuple[float, ...]) -> Iterator[Target]:
    """The target without rare head sizes, then one for each of these."""
    yield replace(target, other_heads=rare)
    for size in rare:
        variants = tuple(name for each in target.variants for name in (each, f"{each}_d{size:g}"))
        family = f"{target.base}_{variants[-1]}@{target.family.partition('@')[2]}"
        yield replace(
            target, family=family, heads=(size,), variants=variants, kinds=kinds_of(family) if target.kinds else ()
        )


PER_HEAD_ENGINE = " trtllm"
"""Engine whose kernel for large groups reads the cache once for each query head, as no other does."""


def _decode() -> Iterator[Target]:
    name = "attention_decode"
    for group in GROUPINGS:
        dtypes = BOTH if group != "mqa" else tuple(label for label in BOTH if not label.endswith(PER_HEAD_ENGINE))
        yield Target(family=f"{name}_{group}", table=name, base=name, op=(name,), dtypes=dtypes, grouping=group)
        for library in VARIETIES:
            for cache, narrow in (("bfloat16", ()), ("bfloat16 kv fp8", (f"{group}_kv8",))):
                variants = (group, *narrow)
                target = Target(
                    family=f"{name}_{variants[-1]}@{library}",
                    table=name,
                    base=name,
                    op=(name,),
                    dtypes=(f"{cache} {library}",),
                    grouping=group,
                    variants=variants,
                    kinds=kinds_of(f"{name}_{variants[-1]}@{library}"),
                )
                special = RARE_OVER_EIGHT_BITS if narrow and group == "gqa" else {}
                yield from _by_head_size(target, (*RARE.get(library, ()), *special.get(library, ())))


LATENT = {
    ("attention_decode", "generation_mla"): ("mla",),
    ("attention_prefill", "context_mla"): ("bf16", "bf16_mla"),
}
"""Latent attention: family and operation, and its variants."""


def _latent() -> Iterator[Target]:
    for (base, op), variants in LATENT.items():
        family = f"{base}_{variants[-1]}"
        yield Target(
            family=family,
            table="mla",
            base=base,
            op=(op,),
            dtypes=BOTH,
            variants=variants,
            searches=base == "attention_prefill",
        )
        for library in (*SERVING, "sglang-triton"):
            for extra, cache in (((), "bfloat16"), ((f"{variants[-1]}_kv8",), "bfloat16 kv fp8")):
                names = (*variants, *extra)
                family = f"{base}_{names[-1]}@{library}"
                yield Target(
                    family=family,
                    table="mla",
                    base=base,
                    op=(op,),
                    dtypes=(f"{cache} {library}",),
                    variants=names,
                    kinds=kinds_of(family) if base == "attention_decode" else (),
                )


def _encoder() -> Iterator[Target]:
    base, table = "attention_prefill", "attention_encoder"
    family, absent = f"{base}_bf16_full", ("prologue_passes", "append_passes")
    yield Target(family=family, table=table, base=base, op=(table,), absent=absent)
    for library in (*SERVING, "sglang-triton"):
        target = Target(
            family=f"{family}@{library}",
            table=table,
            base=base,
            op=(table,),
            dtypes=(f"bfloat16 {library}",),
            variants=("bf16", "bf16_full"),
            absent=absent,
        )
        yield from _by_head_size(target, RARE_FOR_ENCODERS.get(library, ()))


RECURRENCES = {
    "sglang": ("chunk_gated_delta_rule",),
    "trtllm": ("chunk_gated_delta_rule",),
    "vllm-triton": ("chunk_gated_delta_rule_triton",),
    "vllm-flashinfer": ("chunk_gated_delta_rule_flashinfer",),
}
"""Kernels of the gated delta rule over many tokens, by library; all but the last run a kernel for each part."""

SWEEPS = {
    "step": ("fused_recurrent_gated_delta_rule", "fused_recurrent_gated_delta_rule_packed_decode"),
    "conv": ("causal_conv1d_fn",),
    "conv_step": ("causal_conv1d_update",),
}
"""Kernels of one step of it, and of the short convolution over many tokens and over one."""

CHAINED = ("fused", "inverse_time", "chunk_time")
"""Parameters of chunked recurrences alone."""


def _recurrences() -> Iterator[Target]:
    base, table = "scan", "linear_attention"
    apart = tuple(f"* {library}" for library in list(RECURRENCES)[:-1])
    rule = next(iter(RECURRENCES.values()))
    ops = (*rule, *RECURRENCES["vllm-triton"])
    yield Target(family="scan_gdn", table=table, base=base, op=ops, dtypes=apart, variants=("gdn",))
    for library, ops in RECURRENCES.items():
        yield Target(
            family=f"scan_gdn@{library}",
            table=table,
            base=base,
            op=ops,
            dtypes=(f"* {library}",),
            variants=("gdn",),
            absent=CHAINED if library == "vllm-flashinfer" else (),
        )
    for variant, ops in SWEEPS.items():
        absent = (*CHAINED, "compute_efficiency") if variant == "step" else CHAINED
        family = f"scan_{variant}"
        yield Target(family=family, table=table, base=base, op=ops, variants=(variant,), absent=absent)
        for library in SERVING:
            yield Target(
                family=f"{family}@{library}",
                table=table,
                base=base,
                op=ops,
                dtypes=(f"* {library}",),
                variants=(variant,),
                absent=absent,
            )


def _convolutions() -> Iterator[Target]:
    name = "convolution"
    yield Target(family=name, table="conv", base=name, op=("conv",))


REDUCED = {"norm": ("ln",), "softmax": ("softmax",)}
"""PyTorch's reductions over a row."""

SERVED = {"activation": ("mlp_act",), "norm": ("input_layernorm", "post_attention_layernorm"), "embedding": ("emb",)}
"""Streaming operations as a serving engine runs them, which count where a device has both."""


def _streams() -> Iterator[Target]:
    name = "memory_bound"
    plain = tuple(op for op, stream in STREAMS.items() if stream.kind == "elementwise")
    yield Target(family=name, table=name, base=name, op=plain)
    for kinds in (REDUCED, SERVED):
        for kind, ops in kinds.items():
            yield Target(family=f"{name}_{kind}", table=name, base=name, op=ops, variants=stream_variants(kind))
    for library, kinds in (("neusight", REDUCED), ("vidur", SERVED)):
        yield Target(
            family=f"{name}_norm@{library}",
            table=name,
            base=name,
            op=kinds["norm"],
            dtypes=(f"* {library}",),
            variants=("norm",),
        )


EXPERTS = {
    ("bf16",): ("bfloat16",),
    ("bf16", "bf16_w4"): ("int4_wo", "w4a16_mxfp4"),
    ("fp8",): ("fp8",),
    ("fp8", "fp8_block"): ("fp8_block",),
    ("fp8", "fp8_w4"): ("w4afp8",),
    ("fp8", "fp8_block", "fp8_w4"): ("w4a8_mxfp4_mxfp8",),
    ("nvfp4",): ("nvfp4",),
}
"""Variants of each format of expert products."""

WIDENED = {("bf16",): ("bfloat16", "w4a16_mxfp4"), ("bf16", "bf16_w4"): ()}
"""The same where four-bit weights are widened when they are loaded."""

EXPERT_LIBRARIES = (
    "trtllm",
    "trtllm-trtllm",
    "trtllm-wideep",
    "sglang-triton",
    "sglang-marlin",
    "sglang-trtllm",
    "sglang-cutlass",
    "vllm-triton",
    "vllm-openai",
    "vllm-mxfp4",
    "vllm-wna16",
    "vllm-marlin",
    "vllm-trtllm",
    "vllm-cutlass",
)
"""Engines, and whose kernels theirs are."""

UNALIGNED = ("unaligned_load_share",)
"""Parameters of rows that are no multiple of a word; other libraries than Triton refuse them."""


def _experts() -> Iterator[Target]:
    name = "grouped_gemm"
    absent = (*UNPACK, *UNALIGNED)
    for family, forms in {
        name: ("bfloat16",),
        f"{name}_fp8": ("fp8", "fp8_block"),
        f"{name}_nvfp4": ("nvfp4",),
    }.items():
        dtypes = tuple(f"{form} trtllm" for form in forms)
        yield Target(family=family, table="moe", base=name, op=("moe",), dtypes=dtypes, absent=absent, searches=True)
    for library in EXPERT_LIBRARIES:
        for variants, forms in {**EXPERTS, **(WIDENED if library == "sglang-triton" else {})}.items():
            if not forms:
                continue
            family = name if variants == ("bf16",) else f"{name}_{variants[-1]}"
            narrow = () if "_w" in variants[-1] else UNPACK
            yield Target(
                family=f"{family}@{library}",
                table="moe",
                base=name,
                op=("moe",),
                dtypes=tuple(f"{form} {library}" for form in forms),
                variants=variants,
                absent=(*narrow, *(() if "triton" in library else UNALIGNED)),
                searches=True,
            )


GRAPH = ("vllm_graph", "sglang_graph", "trtllm")
"""All-reduce kernels of serving engines as they run inside a captured graph."""

REDUCERS = ("nccl", "custom_allreduce", *GRAPH, "vllm_eager", "sglang_eager")
"""Libraries of all-reduce."""


UNITS = ("unit_bytes_per_s",)
"""Parameters of kernels whose caller says on how many units they run."""

EXCHANGES = (
    "sglang_deepep_normal",
    "sglang_deepep_ll",
    "deepep_ht",
    "deepep_ll",
    "deepep_v2_context",
    "deepep_v2_generation",
    "trtllm_deepep_ht",
    "trtllm_deepep_ll",
)
"""Protocols of the exchange between experts."""


def _collectives() -> Iterator[Target]:
    ops, name = ("all_gather", "reduce_scatter", "all_to_all"), "collective"
    absent, nccl = ("one_shot_launch", "in_network_efficiency", *UNITS), ("* nccl",)
    for op in ops:
        yield Target(family=f"collective_{{link}}_{op}", table=name, base=name, op=(op,), dtypes=nccl, absent=absent)
    family, op = "collective_{link}_all_reduce", ("all_reduce",)
    engines = tuple(f"* {library}" for library in GRAPH)
    yield Target(family=family, table=name, base=name, op=op, dtypes=engines, absent=UNITS)
    for library in REDUCERS:
        yield Target(
            family=f"{family}@{library}",
            table=name,
            base=name,
            op=op,
            dtypes=(f"* {library}",),
            variants=("all_reduce",),
            absent=UNITS,
        )
    for protocol in EXCHANGES:
        for phase in ("dispatch", "combine"):
            label = f"{protocol}-{phase}"
            yield Target(
                family=f"collective_{{link}}_all_to_all@{label}",
                table="moe_alltoall",
                base=name,
                op=(phase,),
                dtypes=(f"* {label}",),
                variants=("all_to_all",),
                absent=absent if "normal" not in protocol else absent[:2],
            )


OUTER = ("pcie", "ib", "net")
"""Links beyond the innermost that transfers were measured over."""


def _layouts() -> Iterator[Target]:
    """Machines of known topology: inside the innermost link, then over each further one, the inner ones known."""
    table, base = "collective_topology", "collective"
    absent = ("in_network_efficiency", *UNITS)
    for link in ("", *OUTER):
        name = link or "{link}"
        send = f"collective_{name}_permute"
        yield Target(family=send, table=table, base=base, op=("permute",), absent=(*absent, "local_passes"), link=link)
        reduce = f"collective_{name}_all_reduce"
        for family in (f"{reduce}@nccl", *((reduce,) if link else ())):
            yield Target(family=family, table=table, base=base, op=("all_reduce",), absent=absent, link=link)


TARGETS = (
    *_half(),
    *_gemm(),
    *_eager(),
    *_prefill(),
    *_decode(),
    *_latent(),
    *_encoder(),
    *_recurrences(),
    *_streams(),
    *_convolutions(),
    *_experts(),
    *_collectives(),
    *_layouts(),
)
"""What is fitted, a family before its libraries."""
