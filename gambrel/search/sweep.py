"""Sweeps: every row of a product of lists, evaluated part by part, here or by any executor, into a folder."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gambrel import __version__
from gambrel.errors import Problem, UsageError
from gambrel.estimation.many import Answers, Words
from gambrel.search.arrow import (
    require_pyarrow,
    to_parquet,  # pyright: ignore[reportUnknownVariableType]
    to_table,  # pyright: ignore[reportUnknownVariableType]
)
from gambrel.search.axes import Cell, Part
from gambrel.search.manifest import Manifest, parse_manifest
from gambrel.search.progress import Progress, nobody
from gambrel.search.question import Question, make_question
from gambrel.search.runs import MANIFEST, Run, RunFolder, read_run
from gambrel.search.session import Session

PART_ROWS = 2**18
"""Rows of a part: some 15 MB of Parquet, evaluated in a fraction of a second."""

WAITING = 2
"""Parts that wait for each worker, so that none is idle and few are held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told how a sweep goes.

    Attributes:
        progress: Called when it begins and after each part.
        remark: Called with what a user should know, such as a part that is made again.
    """

    progress: Callable[[Progress], None] = nobody
    remark: Callable[[str], None] = nobody


def sweep(  # noqa: PLR0913  (an entry point named as the command; all but the first two are by keyword)
    model: str | Path,
    on: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    columns: Mapping[str, Sequence[Cell]],
    devices: int | Sequence[int | None] | None = None,
    overrides: Mapping[str, Sequence[str]] | None = None,
    allow_unpriced: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    part_rows: int | None = None,
    listener: Listener = Listener(),
) -> Run:
    """Estimate every combination of the listed values, into a folder of Parquet parts.

    A sweep that was stopped goes on where it was when it is called again with the same question. It takes the memory of
    a few parts, however many rows there are.

    Args:
        model: Library name, or path of a config.
        on: Profile names or paths.
        output: The folder: empty, absent, or with this sweep unfinished.
        columns: Values by name, as in `estimate_table`; what is not named takes its default.
        devices: Devices to use; None: what the degrees of each point take.
        overrides: What-ifs on the profiles by path, `{"memory.hbm.bandwidth": ["1x", "1.5x"]}`; each adds a column.
        allow_unpriced: As in `estimate`.
        workers: Processes that evaluate; 1: this one.
        executor: Evaluates instead: of `concurrent.futures`, or anything with its interface (`distributed.Client.
            get_executor()`). Its workers need the package and the files that the question names, not the folder.
        part_rows: Most rows of a part; None: PART_ROWS, or what the folder has.
        listener: Is told how it goes.

    Raises:
        GambrelError: The question is wrong, or the folder cannot be used. A point that cannot run has the reason as its
            status instead.
    """
    require_pyarrow("the parts of a sweep are Parquet files")
    machines = [on] if isinstance(on, str | Path) else list(on)
    question = make_question(
        str(model),
        list(map(str, machines)),
        columns=columns,
        devices=devices,
        overrides=overrides,
        allow_unpriced=allow_unpriced,
    )
    for name, count in (("workers", workers), ("part_rows", part_rows)):
        if count is not None and count < 1:
            raise UsageError(Problem(where=name, what=f"{count} is out of range", fix="Give 1 or more"))
    folder, session = Path(output), Session(question)
    manifest = Manifest(
        question=question,
        inputs=session.inputs,
        version=__version__,
        part_rows=part_rows or _part_rows_there(folder),
    )
    with RunFolder(folder, manifest, listener.remark) as run:
        found, total = len(run.run.manifest.parts), len(manifest.layout)
        if 0 < found < total:
            listener.remark(f"{folder}: going on after {found:,} of {total:,} files")
        progress = _reporter(run, question, listener)
        if executor is not None:
            waiting = WAITING * max(os.cpu_count() or 1, workers)
            _spread(run, nullcontext(executor), manifest, waiting, progress)
        elif workers > 1:
            _spread(run, ProcessPool(workers), manifest, WAITING * workers, progress)
        else:
            for part in run.missing():
                run.add(part, _evaluate(manifest, session, part))
                progress(part)
        return run.run


def evaluate_part(task: str, number: int) -> bytes:
    """One part as Parquet text; what a worker does.

    Args:
        task: What `sweep` hands its workers: the manifest without parts, as JSON.
        number: Of the part.

    Raises:
        GambrelError: A name of the question stands for something else here, or an op has no cost rule.
    """
    manifest, session = _work(task)
    return _evaluate(manifest, session, manifest.layout[number])


def _evaluate(manifest: Manifest, session: Session, part: Part) -> bytes:
    answers, machines = session.answers(part)
    note = manifest.note(part) | _tally(answers)
    return to_parquet(to_table(answers, machines), json.dumps(note).encode())  # pyright: ignore[reportUnknownArgumentType]


@lru_cache(maxsize=2)
def _work(task: str) -> tuple[Manifest, Session]:
    manifest = parse_manifest(task)
    session = Session(manifest.question)
    if manifest.version != __version__ or manifest.inputs != session.inputs:
        what = "the worker has another version, model, profile or engine under the names of this sweep"
        raise UsageError(Problem(where="worker", what=what, fix="Give all machines the same package and files"))
    return manifest, session


def _tally(answers: Answers) -> dict[str, int]:
    status = answers.columns["status"]
    assert isinstance(status, Words)
    codes = np.broadcast_to(status.codes, answers.shape)
    ok, short = (int(np.count_nonzero(codes == code)) for code in (0, 1))
    return {"ok": ok, "does_not_fit": short, "cannot_run": codes.size - ok - short}


def _part_rows_there(folder: Path) -> int:
    return read_run(folder).manifest.part_rows if (folder / MANIFEST).is_file() else PART_ROWS


def _reporter(run: RunFolder, question: Question, listener: Listener) -> Callable[[Part], None]:
    """Calls the listener at once, and then with each part."""
    begun = time.monotonic()
    found = done = sum(part.rows for part in run.run.manifest.parts)
    total = question.axes.rows

    def tell() -> None:
        listener.progress(Progress(rows=done, found=found, total=total, seconds=time.monotonic() - begun))

    def finished(part: Part) -> None:
        nonlocal done
        done += part.rows
        tell()

    tell()
    return finished


class ProcessPool(AbstractContextManager[Executor]):
    """A pool of processes that leaves an interrupt to its owner, and does not go on with what waits then."""

    def __init__(self, workers: int) -> None:
        """Start it; each worker compiles for itself, since IR does not pickle."""
        import multiprocessing

        # Not forked: NumPy's and Arrow's threads would not come along.
        self._pool = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
        )

        self._workers = workers

    def __enter__(self) -> Executor:
        # A process starts with the signals blocked that its parent blocks: none is interrupted before it ignores them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(self._workers):
                self._pool.submit(_ignore_interrupts)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._pool

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _spread(
    run: RunFolder,
    pool: AbstractContextManager[Executor],
    manifest: Manifest,
    most: int,
    progress: Callable[[Part], None],
) -> None:
    """Hand parts to an executor, a few at a time, and keep what comes back."""
    task = json.dumps(manifest.record())
    waiting: dict[Future[bytes], Part] = {}
    with pool as executor:
        try:
            for part in _filling(run.missing(), executor, task, most, waiting):
                run.add(*part)
                progress(part[0])
        except (BrokenProcessPool, CancelledError) as error:
            what, fix = (
                f"a worker died ({error})",
                "Use fewer workers if memory ran out, and run the same command again",
            )
            raise UsageError(Problem(where="workers", what=what, fix=fix)) from None
        except KeyboardInterrupt:
            for future, part in waiting.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    run.add(part, future.result())
            raise
        finally:
            for future in waiting:
                future.cancel()


def _filling(
    parts: Iterator[Part], executor: Executor, task: str, most: int, waiting: dict[Future[bytes], Part]
) -> Iterator[tuple[Part, bytes]]:
    """Finished parts in the order in which they come back, while at most so many wait."""
    while True:
        while len(waiting) < most and (part := next(parts, None)) is not None:
            waiting[executor.submit(evaluate_part, task, part.number)] = part
        if not waiting:
            return
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            yield waiting.pop(future), future.result()
