"""The log counter's parts that need no broker."""

from datetime import datetime
from pathlib import Path

import pytest
from log_counting.counts import Counted, CountsFile, Tally
from log_counting.minutes import minute_of
from log_counting.reader import LogReader

ARRIVAL = datetime(2026, 1, 2, 12, 30, 5)
ARRIVAL_MS = int(ARRIVAL.timestamp() * 1000)


@pytest.mark.parametrize(
    ("line", "minute"),
    [
        (b"2025-06-24 14:36:25 status installed libc6:amd64 2.36", "2025-06-24 14:36"),
        (b"2026-01-02T03:31:42.123456+00:00 host sshd[1]: hello", "2026-01-02 03:31"),
        (b'1.2.3.4 - - [24/Nov/2025:03:31:42 +0000] "GET / HTTP/1.1" 200 5 "-" "x"', "2025-11-24 03:31"),
        (b'127.0.0.1 - - [24/Nov/2025 03:31:42] "GET / HTTP/1.1" 200 -', "2025-11-24 03:31"),
        (b"Jan  2 03:31:42 host cron[7]: job", "2026-01-02 03:31"),
        (b"<13>Dec 31 23:59:59 host cron[7]: job", "2025-12-31 23:59"),
        (b"Feb 29 10:00:00 host cron[7]: job", "2024-02-29 10:00"),
        (b"Feb 31 10:00:00 there is no such day", "2026-01-02 12:30"),
        (b"no time at all", "2026-01-02 12:30"),
        (b"", "2026-01-02 12:30"),
    ],
)
def test_minute_of_a_line(line: bytes, minute: str) -> None:
    assert minute_of(line, ARRIVAL_MS) == minute


def test_a_line_without_a_year_from_the_east_at_the_end_of_a_year() -> None:
    arrival = datetime(2025, 12, 31, 23, 0)
    assert minute_of(b"Jan  1 00:10:00 host x", int(arrival.timestamp() * 1000)) == "2026-01-01 00:10"


def test_reader_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\r\n\ntwo")
    reader = LogReader(path)
    assert reader.read_lines() == [b"one", b""]
    assert reader.read_lines() == []
    with path.open("ab") as file:
        file.write(b" and more\nthree")
    assert reader.read_lines() == [b"two and more"]
    assert reader.last_lines() == [b"three"]
    assert reader.last_lines() == []
    reader.close()


def test_reader_goes_on_with_the_file_that_took_the_place_of_a_renamed_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    reader = LogReader(path)
    assert reader.read_lines() == [b"one"]
    old = path.rename(tmp_path / "log.1")
    assert reader.read_lines() == []
    with old.open("ab") as file:
        file.write(b"two\nunfinished")
    path.write_bytes(b"three\n")
    found = [line for _ in range(4) for line in reader.read_lines()]
    assert found == [b"two", b"unfinished", b"three"]
    reader.close()


def test_reader_begins_again_when_the_file_was_truncated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    reader = LogReader(path)
    assert reader.read_lines() == [b"one", b"two"]
    path.write_bytes(b"new\n")
    assert [line for _ in range(3) for line in reader.read_lines()] == [b"new"]
    reader.close()


def test_a_line_read_twice_counts_once_and_a_torn_one_not_at_all(tmp_path: Path) -> None:
    first = CountsFile(tmp_path, "first")
    first.write([Counted(0, 0, "03:31"), Counted(0, 1, "03:31")])
    first.close()
    with (tmp_path / "first.counts").open("ab") as file:
        file.write(b"0\t2")
    tally = Tally(tmp_path).refresh()
    assert tally.minutes == {(0, 0): "03:31", (0, 1): "03:31"}
    second = CountsFile(tmp_path, "second")
    second.write([Counted(0, 1, "03:31"), Counted(0, 2, "03:32")])
    second.close()
    again = CountsFile(tmp_path, "first")
    again.write([Counted(0, 3, "03:32")])
    again.close()
    assert tally.refresh().per_minute() == {"03:31": 2, "03:32": 2}
    assert tally.repeated == 1
    assert tally.written == {"first": 3, "second": 2}


def test_a_line_with_two_minutes_is_an_error(tmp_path: Path) -> None:
    counts = CountsFile(tmp_path, "first")
    counts.write([Counted(0, 0, "03:31"), Counted(0, 0, "03:32")])
    counts.close()
    with pytest.raises(ValueError, match="two minutes"):
        Tally(tmp_path).refresh()
