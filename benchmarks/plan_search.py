"""Plan searches, cold and whole processes: points per CPU-second, time, memory and the chosen plan, beside the peers'.

    OMP_NUM_THREADS=1 python -m benchmarks.plan_search [--large] [--peers PYTHON] [--format table|json]

The question is the same for all: which plan of Llama-3.1-70B on 8 H100 gives the most tokens per second and device at
4,000 + 500 tokens, TTFT of at most 2 s and TPOT of at most 30 ms. `--large` adds DeepSeek-V3 on 512 H200, which only we
are asked. `--peers` names an interpreter in whose environment peers are installed; those that are not are left out.

A point is a plan with a batch. *Priced* are those whose time was computed; *decided* counts besides those that a proof
leaves out: they cannot run, do not fit, or do just what another plan does. Peers sample: what they price is all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ISL, OSL, TTFT_S, TPOT_S = 4000, 500, 2.0, 0.03
LENGTHS = ("--isl", str(ISL), "--osl", str(OSL), "--ttft", f"{TTFT_S}s", "--tpot", f"{TPOT_S}s")
SMALL, LARGE = "llama-3.1-70b, 8 x H100", "deepseek-v3, 512 x H200"
CALL = "import sys; from gambrel.cli import main; sys.exit(main(sys.argv[1:]))"
LIBRARY = Path(__file__).parents[1] / "gambrel" / "models" / "library"
TIMEOUT_S = 900.0

GENZ = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()):
    from GenZ import decode_moddeling, prefill_moddeling
best, points, made = None, 0, 0
for tp in (1, 2, 4, 8):
    for batch in (1, 2, 4, 8, 16, 32, 64):
        pp = 8 // tp
        if batch < pp:
            continue
        system = {"Flops": 989.4, "Memory_size": 80, "Memory_BW": 3350, "ICN": 450, "real_values": True}
        shape = dict(model="meta-llama/llama-3.1-70b", system_name=system, bits="bf16")
        shape |= dict(tensor_parallel=tp, pipeline_parallel=pp)
        with contextlib.redirect_stdout(io.StringIO()):
            lengths = dict(batch_size=batch, input_tokens=4000)
            first = prefill_moddeling(**lengths, **shape)["Latency"] / 1e3
            step = decode_moddeling(Bb=1, output_tokens=500, **lengths, **shape)["Latency"] / 1e3
        points += 1
        rate = batch * 500 / (first + 499 * step) / 8
        if first <= 2.0 and step <= 0.03 and (best is None or rate > best[0]):
            best = (rate, f"tp{tp} pp{pp}, batch {batch}: {rate:.1f} tokens/s/device")
print(json.dumps({"points": points, "plan": best[1] if best else "none"}))
"""
"""GenZ answers one point a call; the loop is the search that its users write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search.

    Attributes:
        tool: Whose.
        question: Which.
        cpu_s: User and system time of the process and its children.
        wall_s: From start to end.
        rss_mb: Largest resident memory of one of its processes, 1e6 B.
        priced: Points that were priced; None where the tool does not say.
        decided: Points that were priced or left out for a proof.
        plan: What it chose.
    """

    tool: str
    question: str
    cpu_s: float
    wall_s: float
    rss_mb: float
    priced: int | None
    decided: int | None
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A finished process and what it took."""

    stdout: str
    stderr: str
    code: int
    cpu_s: float
    wall_s: float
    rss_mb: float


def measure(command: list[str]) -> Process:
    """Run a command in a process of its own, so that its peak memory is its own."""
    code = (
        "import json, resource, subprocess, sys, time\n"
        "start = time.monotonic()\n"
        "done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "took = {'wall_s': time.monotonic() - start, 'cpu_s': used.ru_utime + used.ru_stime}\n"
        "took |= {'code': done.returncode, 'rss_mb': used.ru_maxrss * 1024 / 1e6}\n"
        "took |= {'stdout': done.stdout, 'stderr': done.stderr}\n"
        "json.dump(took, open(sys.argv[1], 'w'))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        subprocess.run([sys.executable, "-c", code, str(out), *command], check=True, timeout=TIMEOUT_S)
        return Process(**json.loads(out.read_text(encoding="utf-8")))


def ours(question: str, words: tuple[str, ...]) -> Run:
    """A search by `gambrel plan`.

    Raises:
        RuntimeError: It failed, so that its time means nothing.
    """
    done = measure([sys.executable, "-c", CALL, "plan", *words, *LENGTHS, "--format", "json"])
    if done.code:
        raise RuntimeError(done.stderr)
    answer = json.loads(done.stdout)
    first, counts = answer["best"][0], answer["counts"]
    degrees = " ".join(f"{name}{first['plan'][name]}" for name in ("tp", "pp", "dp", "cp", "ep"))
    batch, rate = first["workload"]["batch"], first["tokens_per_s_per_device"]
    return Run(
        tool="gambrel",
        question=question,
        cpu_s=done.cpu_s,
        wall_s=done.wall_s,
        rss_mb=done.rss_mb,
        priced=counts["priced"],
        decided=counts["priced"] + sum(counts["pruned"].values()),
        plan=f"{first['plan']['strategy']} {degrees}, batch {batch}: {rate:.1f} tokens/s/device",
    )


def aiconfigurator(python: str) -> Run | None:
    """A search by AIConfigurator's own command; None where it is not installed or fails."""
    command = Path(python).parent / "aiconfigurator"
    if not command.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        config = json.loads((LIBRARY / "llama-3.1-70b.json").read_text(encoding="utf-8"))["config"]
        config["architectures"] = ["LlamaForCausalLM"]
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        words = ["cli", "default", "--model-path", folder, "--system", "h100_sxm", "--total-gpus", "8", "--no-color"]
        words += ["--backend", "trtllm", "--isl", str(ISL), "--osl", str(OSL), "--log-level", "DEBUG"]
        done = measure([str(command), *words, "--ttft", str(TTFT_S * 1e3), "--tpot", str(TPOT_S * 1e3)])
    if done.code:
        print(f"aiconfigurator failed: {done.stderr[-300:]}", file=sys.stderr)
        return None
    rows = re.findall(r"^\|\s+1\s+\|\s+\w+\s+\|\s+([\d.]+)", done.stdout + done.stderr, re.MULTILINE)
    return Run(
        tool="aiconfigurator",
        question=SMALL,
        cpu_s=done.cpu_s,
        wall_s=done.wall_s,
        rss_mb=done.rss_mb,
        priced=None,
        decided=None,
        plan=" and ".join(
            f"{kind}: {rate} tokens/s/device" for kind, rate in zip(("agg", "disagg"), rows, strict=False)
        ),
    )


def genz(python: str) -> Run | None:
    """A loop over GenZ's calls; None where it is not installed or fails."""
    done = measure([python, "-c", GENZ])
    if done.code:
        print(f"GenZ is not installed or failed: {done.stderr[-300:]}", file=sys.stderr)
        return None
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return Run(
        tool="GenZ",
        question=SMALL,
        cpu_s=done.cpu_s,
        wall_s=done.wall_s,
        rss_mb=done.rss_mb,
        priced=answer["points"],
        decided=answer["points"],
        plan=answer["plan"],
    )


def table(runs: list[Run]) -> str:
    """The runs as Markdown."""
    head = "| tool | question | CPU s | wall s | RSS MB | priced | decided | decided per CPU-s | plan |"
    lines = [head, "|---|---|---:|---:|---:|---:|---:|---:|---|"]
    for run in runs:
        rate = "" if run.decided is None else f"{run.decided / run.cpu_s:,.0f}"
        counts = ["" if count is None else f"{count:,}" for count in (run.priced, run.decided)]
        cells = [run.tool, run.question, f"{run.cpu_s:.1f}", f"{run.wall_s:.1f}", f"{run.rss_mb:.0f}", *counts, rate]
        lines.append(f"| {' | '.join([*cells, run.plan])} |")
    return "\n".join(lines)


def main() -> None:
    """Run the searches and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--peers", help="an interpreter with peers installed")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started = time.monotonic()
    runs = [ours(SMALL, ("llama-3.1-70b", "--on", "h100-sxm", "--devices", "8"))]
    if args.large:
        runs.append(ours(LARGE, ("deepseek-v3", "--on", "h200-sxm", "--devices", "512")))
    if args.peers:
        runs += [run for run in (aiconfigurator(args.peers), genz(args.peers)) if run is not None]
    print(json.dumps([asdict(run) for run in runs], indent=2) if args.format == "json" else table(runs))
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
