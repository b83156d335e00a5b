"""The model of a disk that loses power."""

import random
from pathlib import Path

from tests.faults.power.platter import Leftover, Platter, PlatterFile
from tests.faults.power.recorder import Create, Event, MakeFolder, Rename, SyncBegin, SyncEnd, Write


def left(platter: Platter, where: Path, leftover: Leftover, seed: int = 0) -> dict[str, bytes]:
    platter.leave(where, leftover, random.Random(seed))
    return {
        str(path.relative_to(where)): path.read_bytes() for path in sorted(where.rglob("*")) if path.is_file()
    }


def platter_of(*events: Event) -> Platter:
    platter = Platter()
    for event in events:
        platter.take(event)
    return platter


def test_what_was_synced_is_left_in_any_case(tmp_path: Path) -> None:
    platter = platter_of(
        MakeFolder("a-0"),
        Create("a-0/x", 1),
        Write(1, 0, b"old"),
        SyncBegin(2, 1),
        Write(1, 0, b"new"),
        SyncEnd(2),
        SyncBegin(3, "a-0"),
        SyncEnd(3),
        SyncBegin(4, ""),
        SyncEnd(4),
        Rename("a-0/x", "a-0/y"),
    )
    assert left(platter, tmp_path / "0", Leftover.NOTHING) == {"a-0/x": b"old"}
    assert left(platter, tmp_path / "1", Leftover.NAMES) == {"a-0/y": b"old"}
    assert left(platter, tmp_path / "2", Leftover.BYTES) == {"a-0/x": b"new"}
    assert left(platter, tmp_path / "3", Leftover.EVERYTHING) == {"a-0/y": b"new"}
    found = {
        tuple(left(platter, tmp_path / f"any {seed}", Leftover.ANYTHING, seed).items()) for seed in range(40)
    }
    assert found == {(("a-0/" + name, data),) for name in "xy" for data in (b"old", b"new")}


def test_a_sync_that_ends_late_takes_nothing_back() -> None:
    file = PlatterFile()
    file.write(0, b"one", 1)
    early = file.capture(2)
    file.write(0, b"two", 3)
    file.settle(file.capture(4))
    file.settle(early)
    assert bytes(file.durable) == b"two"
    assert not file.unsynced


def test_unsynced_sectors_are_torn_in_any_order() -> None:
    file = PlatterFile()
    file.write(0, b"a" * 512 + b"b" * 512, 1)
    found = {file.after_cut(Leftover.ANYTHING, random.Random(seed)) for seed in range(200)}
    sectors = (bytes(512), b"a" * 512), (bytes(512), b"b" * 512)
    assert {first + second for first in sectors[0] for second in sectors[1]} | {b""} <= found
