"""CPU time (user + system) of the command line, and the imports that it is spent on.

    python benchmarks/startup.py [--runs 10]

Each command runs in a fresh interpreter; the first run, which fills the file cache, is not counted.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from typing import NamedTuple

ESTIMATE = "estimate llama-3.1-70b --on h100-sxm --devices 8 --plan.tp 8 --batch 32 --isl 4096 --osl 512"
CALL = "import sys; from gambrel.cli import main; sys.exit(main(sys.argv[1:]))"


class Target(NamedTuple):
    """A command and the CPU time that it should stay below."""

    arguments: str
    limit_s: float


TARGETS = (Target("--help", 0.2), Target(ESTIMATE, 0.9))


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one run of `gambrel ARGUMENTS`.

    Raises:
        subprocess.CalledProcessError: The command failed, so its time means nothing.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", CALL, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def slowest_imports(arguments: list[str], count: int = 10) -> list[tuple[str, float]]:
    """The modules whose own code takes longest to import, with their seconds."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", CALL, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    times: list[tuple[str, float]] = []
    for line in done.stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if own.strip().isdigit():
            times.append((rest.partition("|")[2].strip(), int(own) / 1e6))
    return sorted(times, key=lambda item: -item[1])[:count]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10, help="counted runs of each command")
    runs = parser.parse_args().runs
    print(f"{'median':>8} {'least':>8} {'most':>8} {'target':>8}   CPU time of gambrel ... ({runs} runs)")
    for target in TARGETS:
        words = target.arguments.split()
        times = [cpu_seconds(words) for _ in range(runs + 1)][1:]
        figures = (statistics.median(times), min(times), max(times), target.limit_s)
        print(" ".join(f"{1e3 * figure:>5.0f} ms" for figure in figures), " ", target.arguments)
    print("\nSlowest imports, own time, of the last command:")
    for name, seconds in slowest_imports(TARGETS[-1].arguments.split()):
        print(f"{1e3 * seconds:>5.1f} ms  {name}")


if __name__ == "__main__":
    main()
