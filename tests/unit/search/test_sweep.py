"""Sweeps: their rows, their folder, and what happens when they are stopped."""

import errno
import json
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import gambrel
from gambrel.errors import GambrelError, UsageError
from gambrel.estimation.table import estimate_table
from gambrel.search import runs as runs_module
from gambrel.search import sweep as sweep_module
from gambrel.search.runs import read_run
from gambrel.search.sweep import Listener, Progress, sweep

MODEL, MACHINE = "llama-3.2-1b", "h100-sxm"
COLUMNS = {"tp": [1, 3, 2], "batch": [1, 2, 4, 8], "isl": [64, 512], "weights": [None, "fp8"]}
"""48 rows, a third of which cannot run."""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parts_of(folder: Path) -> list[dict[str, object]]:
    return json.loads((folder / "manifest.json").read_text())["parts"]


def test_rows_are_those_of_a_table(tmp_path: Path) -> None:
    run = sweep(MODEL, MACHINE, output=tmp_path / "run", columns=COLUMNS, part_rows=5)
    rows = run.dataset().to_table().to_pylist()
    order = ("weights", "tp", "batch", "isl")
    table = estimate_table(MODEL, MACHINE, columns={name: COLUMNS[name] for name in order})
    assert len(run.files) > 1
    assert len(rows) == len(table) == 48
    for row, expected in zip(rows, table.rows(), strict=True):
        close = {name: pytest.approx(x, rel=1e-12) if isinstance(x, float) else x for name, x in expected.items()}
        assert {name: row[name] for name in expected} == close
    assert {row["on"] for row in rows} == {MACHINE}


def test_types_say_what_is_missing(tmp_path: Path) -> None:
    schema = sweep(MODEL, MACHINE, output=tmp_path / "run", columns=COLUMNS).dataset().schema
    assert str(schema.field("batch").type) == str(schema.field("devices").type) == "int64"
    assert str(schema.field("fits").type) == "bool"
    assert str(schema.field("ttft_s").type) == "double"
    assert (
        str(schema.field("kv").type)
        == str(schema.field("status").type)
        == "dictionary<values=string, indices=int32, ordered=0>"
    )


def test_machines_and_what_ifs_are_columns(tmp_path: Path) -> None:
    run = sweep(
        MODEL,
        [MACHINE, "h200-sxm"],
        output=tmp_path / "run",
        columns={"batch": [1, 8]},
        overrides={"memory.hbm.bandwidth": ["1x", "1.5x"], "power.tdp": ["600 W", "0.5 kW"]},
    )
    rows = run.dataset().to_table().to_pylist()
    asked = [(row["on"], row["memory.hbm.bandwidth"], row["power.tdp"], row["batch"]) for row in rows]
    assert asked[:3] == [(MACHINE, "1x", 600.0, 1), (MACHINE, "1x", 600.0, 8), (MACHINE, "1x", 500.0, 1)]
    assert len(set(asked)) == len(rows) == 16
    for row in rows[5::3]:
        overrides = [f"memory.hbm.bandwidth={row['memory.hbm.bandwidth']}", f"power.tdp={row['power.tdp']:g} W"]
        workload = gambrel.Workload(batch=row["batch"])
        alone = gambrel.estimate(MODEL, row["on"], workload=workload, overrides=overrides)
        assert row["latency_s"] == pytest.approx(alone.latency_s, rel=1e-9)
        assert row["energy_per_token_j"] == pytest.approx(alone.energy_per_token_j, rel=1e-9)


def test_every_row_says_how_many_devices_were_asked_for(tmp_path: Path) -> None:
    run = sweep(MODEL, MACHINE, output=tmp_path / "run", columns={"tp": [1, 3], "batch": [16]}, devices=[2, 8])
    rows = run.dataset().to_table(columns=["devices", "tp", "dp", "status"]).to_pylist()
    assert [(row["devices"], row["tp"], row["dp"]) for row in rows] == [
        (2, 1, 2),
        (2, 3, None),
        (8, 1, 8),
        (8, 3, None),
    ]
    assert [row["status"] == "ok" for row in rows] == [True, False, True, False]


class Stopped(BaseException):
    """As an interrupt, but for this test alone."""


def stop_after(rows: int) -> Listener:
    def progress(done: Progress) -> None:
        if done.rows - done.found >= rows:
            raise Stopped

    return Listener(progress=progress)


def test_a_stopped_sweep_goes_on_and_makes_no_part_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    sweep(MODEL, MACHINE, output=whole, columns=COLUMNS, part_rows=5)
    with pytest.raises(Stopped):
        sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5, listener=stop_after(20))
    assert read_run(folder).manifest.status == "unfinished"
    before = files(folder)
    made: list[int] = []
    render = sweep_module._evaluate

    def counted(manifest, session, part):
        made.append(part.number)
        return render(manifest, session, part)

    monkeypatch.setattr(sweep_module, "_evaluate", counted)
    seen: list[Progress] = []
    remarks: list[str] = []
    listener = Listener(progress=seen.append, remark=remarks.append)
    run = sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, listener=listener)
    assert remarks == [f"{folder}: going on after {len(before) - 1} of {len(run.files)} files"]
    assert files(folder) == files(whole)
    assert {f"part-{number:06d}.parquet" for number in made}.isdisjoint(before)
    assert run.manifest.status == "complete"
    assert (seen[0].rows, seen[0].found, seen[-1].rows) == (20, 20, 48)
    made.clear()
    assert sweep(MODEL, MACHINE, output=folder, columns=COLUMNS).summary() == run.summary()
    assert made == []


def test_parts_that_the_manifest_does_not_list_yet_are_found(tmp_path: Path) -> None:
    """A process may be killed between a part and the manifest."""
    folder, remarks = tmp_path / "run", []
    sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5)
    whole = files(folder)
    record = json.loads(whole["manifest.json"]) | {"parts": parts_of(folder)[:2], "status": "unfinished"}
    (folder / "manifest.json").write_text(json.dumps(record))
    (folder / "part-000007.parquet.tmp").write_bytes(b"half")
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}
    sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, listener=Listener(remark=remarks.append))
    assert (files(folder), remarks) == (whole, [])
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")} == stamps


@pytest.mark.parametrize("listed", [True, False])
def test_parts_that_are_broken_or_of_another_sweep_are_made_again(tmp_path: Path, listed: bool) -> None:
    folder, other, remarks = tmp_path / "run", tmp_path / "other", []
    sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5)
    sweep(MODEL, MACHINE, output=other, columns=COLUMNS | {"osl": [7]}, part_rows=5)
    whole = files(folder)
    first, second, *_ = sorted(folder.glob("part-*.parquet"))
    data = bytearray(first.read_bytes())
    if listed:
        data[len(data) // 2] ^= 1
    first.write_bytes(data if listed else data[:-1])
    second.write_bytes((other / second.name).read_bytes())
    if not listed:
        record = json.loads(whole["manifest.json"]) | {"parts": []}
        (folder / "manifest.json").write_text(json.dumps(record))
    sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, listener=Listener(remark=remarks.append))
    assert files(folder) == whole
    broken = [text for text in remarks if "made again" in text]
    assert [first.name in broken[0], second.name in broken[1], len(broken)] == [True, True, 2]


def test_a_full_disk_is_an_error_and_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, write = tmp_path / "run", runs_module.write_whole

    def write_until_full(path: Path, data: bytes) -> None:
        if path.name == "part-000002.parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(runs_module, "write_whole", write_until_full)
        with pytest.raises(UsageError, match=r"No space left on device\. .* finished parts are kept"):
            sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5)
    assert [part["number"] for part in parts_of(folder)] == [0, 1]
    assert sweep(MODEL, MACHINE, output=folder, columns=COLUMNS).manifest.status == "complete"


def test_a_part_says_what_it_holds(tmp_path: Path) -> None:
    run = sweep(MODEL, MACHINE, output=tmp_path / "run", columns=COLUMNS, part_rows=5)
    for part, file in zip(run.manifest.parts, run.files, strict=True):
        note = json.loads(pyarrow.parquet.read_metadata(file).metadata[b"gambrel"])
        status = pyarrow.parquet.read_table(file).column("status").to_pylist()
        assert (note["first_row"], note["rows"], len(status)) == (part.first_row, part.rows, part.rows)
        assert (note["ok"], note["cannot_run"]) == (status.count("ok"), part.rows - status.count("ok"))
    finished = run.summary()["finished"]
    assert (finished["rows"], finished["ok"], finished["does_not_fit"], finished["cannot_run"]) == (48, 32, 0, 16)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": COLUMNS | {"batch": [1]}}, "batch is [1, 2, 4, 8] there, [1] here"),
        ({"columns": COLUMNS, "overrides": {"power.tdp": ["2x"]}}, '--set power.tdp is not given there, ["2x"] here'),
        ({"columns": COLUMNS, "devices": 4}, "devices is [null] there, [4] here"),
        ({"columns": COLUMNS, "part_rows": 7}, "part_rows is 5 there, 7 here"),
    ],
)
def test_a_folder_with_another_sweep_is_left_as_it_is(tmp_path: Path, change: dict, said: str) -> None:
    folder = tmp_path / "run"
    sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5)
    before = files(folder)
    with pytest.raises(UsageError) as caught:
        sweep(MODEL, MACHINE, output=folder, **change)
    assert "holds another sweep" in str(caught.value)
    assert said in str(caught.value)
    assert files(folder) == before


CHILD = """\
schema: 1
id: mine
title: Mine
extends: h100-sxm
default_source: memo
power: {tdp: 600 W}
sources:
  memo: {kind: measured, ref: "A memo"}
"""


def test_a_changed_profile_is_another_sweep(tmp_path: Path) -> None:
    profile, folder = tmp_path / "mine.yaml", tmp_path / "run"
    profile.write_text(CHILD)
    sweep(MODEL, profile, output=folder, columns={"batch": [1]})
    profile.write_text(CHILD.replace("600 W", "650 W"))
    with pytest.raises(UsageError, match=f"hash of on {profile} is"):
        sweep(MODEL, profile, output=folder, columns={"batch": [1]})


def test_a_folder_with_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty and holds no sweep \(notes.txt\)"):
        sweep(MODEL, MACHINE, output=tmp_path, columns={"batch": [1]})
    with pytest.raises(UsageError, match="is not a folder"):
        sweep(MODEL, MACHINE, output=tmp_path / "notes.txt", columns={"batch": [1]})
    with pytest.raises(UsageError, match="cannot be written"):
        sweep(MODEL, MACHINE, output=tmp_path / "notes.txt" / "run", columns={"batch": [1]})
    assert files(tmp_path) == {"notes.txt": b"mine"}


def test_a_manifest_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="is not the manifest of a sweep"):
        sweep(MODEL, MACHINE, output=tmp_path, columns={"batch": [1]})


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def again(_: Progress) -> None:
        with pytest.raises(UsageError, match="is being written by another process"):
            sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5)

    sweep(MODEL, MACHINE, output=folder, columns=COLUMNS, part_rows=5, listener=Listener(progress=again))
    assert not (folder / ".lock").exists()


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"columns": {"bacth": [1]}}, "bacth: unknown column. Did you mean 'batch'"),
        ({"columns": {"devices": [8]}}, "devices: is no column of plans or lengths. Give devices= beside columns="),
        ({"columns": {"batch": []}}, "batch: no values"),
        ({"columns": {"batch": [0]}}, "workload.batch: 0 is out of range"),
        ({"columns": {"batch": [1.5]}}, "workload.batch: 1.5 is not whole"),
        ({"columns": {"tp": ["8"]}}, "tp: '8' is not a count"),
        ({"columns": {"strategy": ["megatronn"]}}, "unknown strategy 'megatronn'"),
        ({"columns": {"kv": ["fp7"]}}, "unknown number format 'fp7'"),
        ({"columns": {"engine": ["vlm"]}}, "vlm: unknown engine"),
        ({"columns": {}, "devices": [0]}, "devices: 0 is out of range"),
        ({"columns": {}, "overrides": {"memory.hbm.bandwith": ["2x"]}}, "Did you mean 'bandwidth'"),
        ({"columns": {}, "overrides": {"memory.hbm.bandwidth": ["2"]}}, "its unit is missing"),
        ({"columns": {"batch": range(1, 10**6), "isl": range(1, 10**6)}}, "are 999,998,000,001 rows"),
        ({"columns": {}, "workers": 0}, "workers: 0 is out of range"),
        ({"columns": {}, "part_rows": 0}, "part_rows: 0 is out of range"),
    ],
)
def test_a_wrong_question_is_an_error_before_anything_is_written(tmp_path: Path, question: dict, said: str) -> None:
    with pytest.raises(GambrelError) as caught:
        sweep(MODEL, MACHINE, output=tmp_path / "run", **question)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_of_many_what_ifs_each_is_checked_before_a_sweep_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gambrel.search.session.MOST_CHECKED", 3)
    overrides = {"memory.hbm.bandwidth": ["1x", "2x"], "power.tdp": ["1x", "2"]}
    with pytest.raises(GambrelError, match=r"power\.tdp=2: "):
        sweep(MODEL, MACHINE, output=tmp_path / "run", columns={}, overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_and_repeated_values_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    columns = {"batch": np.array([1, 2, 2]), "isl": [64.0], "tp": [None, 1], "kv": [None]}
    run = sweep(MODEL, MACHINE, output=tmp_path / "run", columns=columns)
    rows = run.dataset().to_table(columns=["batch", "isl", "tp"]).to_pylist()
    assert rows == [{"batch": 1, "isl": 64, "tp": 1}, {"batch": 2, "isl": 64, "tp": 1}]


def test_any_executor_gives_the_same_files(tmp_path: Path) -> None:
    sweep(MODEL, MACHINE, output=tmp_path / "here", columns=COLUMNS, part_rows=5)
    with ThreadPoolExecutor(2) as executor:
        sweep(MODEL, MACHINE, output=tmp_path / "there", columns=COLUMNS, part_rows=5, executor=executor)
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_a_worker_with_other_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Executor):
        def submit(self, function, /, task, number) -> Future:
            record = json.loads(task)
            record["inputs"]["on"][MACHINE] = "0" * 12
            future: Future = Future()
            try:
                future.set_result(function(json.dumps(record), number))
            except GambrelError as error:
                future.set_exception(error)
            return future

    with pytest.raises(UsageError, match="the worker has another version, model, profile or engine"):
        sweep(MODEL, MACHINE, output=tmp_path / "run", columns=COLUMNS, executor=Elsewhere())


def test_reading_a_folder_without_a_sweep_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no sweep"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        read_run(tmp_path / "absent")
