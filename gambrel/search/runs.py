"""The folder of a sweep: Parquet parts and a manifest, whole whenever the process ends.

A part is written under a temporary name, synced, and renamed: it is there or it is not. The manifest lists the parts
and is renewed in the same way, now and then; a part that it does not list yet is known by its own metadata.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from gambrel.errors import Problem, UsageError
from gambrel.search.arrow import read_note
from gambrel.search.axes import Part
from gambrel.search.manifest import Manifest, PartRecord, differences, part_name, part_number, read_manifest

if TYPE_CHECKING:
    import pyarrow.dataset  # pyright: ignore[reportMissingTypeStubs]

MANIFEST = "manifest.json"
LOCK = ".lock"
TEMPORARY = ".tmp"

RENEWED_EVERY_S = 1.0
"""How often the manifest is renewed while parts are added."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A sweep's folder as it stands.

    Attributes:
        folder: Where it is.
        manifest: What it holds.
    """

    folder: Path
    manifest: Manifest

    @property
    def files(self) -> list[Path]:
        """The finished parts, in the order of their rows."""
        return [self.folder / part.file for part in self.manifest.parts]

    def summary(self) -> dict[str, object]:
        """The manifest with totals in place of its parts."""
        parts = self.manifest.parts
        totals = ("rows", "bytes", "ok", "does_not_fit", "cannot_run")
        finished = {"parts": len(parts), **{name: sum(getattr(part, name) for part in parts) for name in totals}}
        record = {key: value for key, value in self.manifest.record().items() if key != "parts"}
        return {"folder": str(self.folder), **record, "finished": finished}

    def dataset(self) -> "pyarrow.dataset.Dataset":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """The finished parts as an Arrow dataset, which is read piece by piece."""
        import pyarrow.dataset  # pyright: ignore[reportMissingTypeStubs]

        return pyarrow.dataset.dataset(list(map(str, self.files)), format="parquet")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def read_run(folder: str | Path) -> Run:
    """A sweep's folder, finished or not.

    Raises:
        UsageError: There is no manifest, or it is not one of this program.
    """
    path = Path(folder)
    if not (path / MANIFEST).is_file():
        what = "holds no sweep" if path.is_dir() else "is not a folder"
        raise UsageError(Problem(where=str(path), what=what, fix="Give the folder that `gambrel sweep -o` wrote"))
    return Run(folder=path, manifest=read_manifest(path / MANIFEST))


class RunFolder:
    """A folder that this process alone writes a sweep to; a context that leaves the manifest up to date."""

    def __init__(self, folder: Path, manifest: Manifest, report: Report) -> None:
        """Begin a sweep in an empty or absent folder, or go on with the same one.

        Args:
            folder: Where.
            manifest: Of the sweep, without parts.
            report: Told of parts that are there and broken.

        Raises:
            UsageError: The folder holds something else, another sweep, or is being written by another process; or it
                cannot be written.
        """
        self._folder, self._manifest, self._report = folder, manifest, report
        self._adding: PartRecord | None = None
        _check_free(folder, manifest)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
        try:
            # Again: another process may have begun in between.
            _check_free(folder, manifest)
            with writing(folder):
                self._done = {part.number: part for part in self._adopt()}
            self._renewed = 0.0
            self.renew()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with suppress(*((UsageError,) if kind else ())):
                self._keep()
                self.renew()
        finally:
            self._release()

    @property
    def run(self) -> Run:
        """The folder as it stands."""
        done = tuple(self._done[number] for number in sorted(self._done))
        return Run(folder=self._folder, manifest=replace(self._manifest, parts=done))

    def missing(self) -> Iterator[Part]:
        """Parts that are not there yet."""
        layout = self._manifest.layout
        return (layout[number] for number in range(len(layout)) if number not in self._done)

    def add(self, part: Part, data: bytes) -> None:
        """Keep a part.

        Raises:
            UsageError: It cannot be written.
        """
        self._keep()  # of one whose writing was interrupted
        self._adding = record = _part_record(part, data)
        with writing(self._folder):
            write_whole(self._folder / record.file, data)
        self._keep()
        if time.monotonic() - self._renewed > RENEWED_EVERY_S:
            self.renew()

    def _keep(self) -> None:
        """List the part that is being added, if it is there: an interrupt may come after that."""
        if self._adding is not None and (self._folder / self._adding.file).exists():
            self._done[self._adding.number] = self._adding
        self._adding = None

    def renew(self) -> None:
        """Bring the manifest up to date.

        Raises:
            UsageError: It cannot be written.
        """
        text = json.dumps(self.run.manifest.record(), indent=1)
        with writing(self._folder):
            write_whole(self._folder / MANIFEST, f"{text}\n".encode())
        self._renewed = time.monotonic()

    def _adopt(self) -> Iterator[PartRecord]:
        """The parts that are there and whole; what a killed process left half written is removed."""
        for leftover in self._folder.glob(f"*{TEMPORARY}"):
            leftover.unlink()
        path = self._folder / MANIFEST
        listed = {part.number: part for part in read_manifest(path).parts} if path.is_file() else {}
        layout = self._manifest.layout
        for file in sorted(self._folder.glob("part-*.parquet")):
            number = part_number(file.name)
            if number is None or number >= len(layout):
                continue
            part, data = layout[number], file.read_bytes()
            if self._is_whole(part, data, listed.get(number)):
                yield _part_record(part, data)
            else:
                file.unlink()
                self._report(f"{file} is not as it was written, and is made again")

    def _is_whole(self, part: Part, data: bytes, listed: PartRecord | None) -> bool:
        if listed is not None:
            return listed.sha256 == hashlib.sha256(data).hexdigest()
        note = read_note(data)
        return note is not None and self._manifest.note(part).items() <= note.items()

    def _release(self) -> None:
        (self._folder / LOCK).unlink(missing_ok=True)
        os.close(self._lock)


def _part_record(part: Part, data: bytes) -> PartRecord:
    note = read_note(data)
    assert note is not None
    return PartRecord(
        number=part.number,
        file=part_name(part.number),
        first_row=part.first_row,
        rows=part.rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        **{name: int(str(note[name])) for name in ("ok", "does_not_fit", "cannot_run")},
    )


def _check_free(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder that holds something else than this sweep; writes nothing.

    Raises:
        UsageError: It does, or cannot be looked into.
    """
    fix = "Give an empty or a new folder"
    if folder.exists() and not folder.is_dir():
        raise UsageError(Problem(where=str(folder), what="is not a folder", fix=fix))
    with writing(folder):
        names = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    if MANIFEST in names:
        changed = list(differences(read_manifest(folder / MANIFEST), manifest))
        if changed:
            shown = "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")
            raise UsageError(Problem(where=str(folder), what="holds another sweep", why=shown, fix=fix))
        return
    others = [name for name in names if name != LOCK and not name.endswith(TEMPORARY)]
    if others:
        what = f"is not empty and holds no sweep ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''})"
        raise UsageError(Problem(where=str(folder), what=what, fix=fix))


def _lock(folder: Path) -> int:
    """Hold the folder until this process ends; returns the file that holds it.

    Raises:
        UsageError: Another process does.
    """
    import fcntl

    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        what = "is being written by another process"
        raise UsageError(Problem(where=str(folder), what=what, fix="Wait for it, or stop it")) from None
    return file


_GO_ON = "Mend that and run the same command again: finished parts are kept"


@contextmanager
def writing(folder: Path, fix: str = _GO_ON) -> Generator[None]:
    """What the file system refuses is an error of whoever chose the folder."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            Problem(where=str(folder), what=f"cannot be written: {error.strerror or error}", fix=fix)
        ) from None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or not there, also when the machine stops."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
