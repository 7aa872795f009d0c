import time
from io import StringIO

from gambrel.cli.progress import ProgressLine, progress_text, working
from gambrel.search.sweep import Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: StringIO, steps: list[tuple[float, int]]) -> str:
    """What is written when so many of 1000 rows are finished at some seconds."""
    now = 0.0
    line = ProgressLine(stream, clock=lambda: now)
    for now, rows in steps:
        line(Progress(rows=rows, found=0, total=1000, seconds=now))
    line.close()
    return stream.getvalue()


def test_what_takes_less_than_a_second_says_nothing() -> None:
    assert shown(StringIO(), [(0.0, 0), (0.5, 500), (0.9, 1000)]) == ""
    assert shown(Terminal(), [(0.0, 0), (0.5, 500), (0.9, 1000)]) == ""


def test_a_file_gets_a_line_now_and_then_and_the_last() -> None:
    text = shown(StringIO(), [(0.0, 0), (2.0, 200), (3.0, 300), (9.0, 900), (10.0, 1000)])
    assert text.splitlines() == [
        "200 of 1,000 rows (20 %), 100 rows/s, 8 s left",
        "1,000 of 1,000 rows (100 %), 100 rows/s, 10 s",
    ]


def test_a_terminal_gets_one_line_that_renews_itself() -> None:
    text = shown(Terminal(), [(0.0, 0), (2.0, 200), (2.1, 210), (3.0, 300)])
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert [piece.partition(" rows")[0] for piece in text.split("\r")[1:]] == ["200 of 1,000", "300 of 1,000"]


def test_the_rate_is_that_of_rows_made_now() -> None:
    resumed = Progress(rows=60_000_000, found=40_000_000, total=100_000_000, seconds=10.0)
    assert progress_text(resumed) == "60,000,000 of 100,000,000 rows (60 %), 2.00 M rows/s, 20 s left"
    assert progress_text(Progress(rows=40, found=40, total=100, seconds=1.0)) == "40 of 100 rows (40 %)"


def test_long_times_are_in_minutes_and_hours() -> None:
    def left(seconds: float) -> str:
        return progress_text(Progress(rows=1, found=0, total=round(seconds) + 1, seconds=1.0)).rpartition(", ")[2]

    assert [left(99), left(600), left(7200)] == ["99 s left", "10 min left", "2 h 0 min left"]


def test_a_step_that_cannot_be_counted_is_named_once_it_takes_long(monkeypatch, capsys):
    monkeypatch.setattr("gambrel.cli.progress.QUIET_S", 0.0)
    with working("thinking"):
        time.sleep(0.2)
    assert capsys.readouterr() == ("", "thinking ...\n")
    monkeypatch.setattr("gambrel.cli.progress.QUIET_S", 60.0)
    with working("thinking"):
        pass
    assert capsys.readouterr() == ("", "")
