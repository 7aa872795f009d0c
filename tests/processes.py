"""The command in a process of its own, which tests kill or interrupt."""

import os
import subprocess
import sys

INTERRUPTIBLE = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A process that the shell started in the background, and all below it, ignore interrupts."""
COMMAND = f"{INTERRUPTIBLE}; from gambrel.cli import main; sys.exit(main(sys.argv[1:]))"


def start(*args: str) -> subprocess.Popen:
    """`gambrel ARGS` in a process group of its own, as a shell starts it, on one thread and 80 columns wide."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"},
    )
