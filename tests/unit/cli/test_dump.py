import struct
from pathlib import Path

import pytest

from odradek.cli.dump import UnknownFileError, dump_file
from odradek.records.builder import build_batch
from odradek.records.control import build_marker
from odradek.records.record import Record
from odradek.storage.producers import KeptBatch, Producer
from odradek.storage.snapshots import encode_snapshot

RECORDS = [Record(0, 1000 + number, b"k", b"v%d" % number, (("h", b"x"),)) for number in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "orders-1"
    folder.mkdir()
    return folder


def batch(base_offset: int, compression: int = 0) -> bytearray:
    return build_batch(
        RECORDS, base_offset, producer_id=9, producer_epoch=1, base_sequence=5, compression=compression
    )


def segment(folder: Path, *batches: bytes) -> Path:
    path = folder / "00000000000000000000.log"
    path.write_bytes(b"".join(batches))
    return path


def test_a_segment_with_its_records(folder: Path) -> None:
    found = dump_file(segment(folder, batch(0), batch(3, compression=1)), with_records=True)
    assert (found["kind"], found["errors"]) == ("segment", [])
    first, second = found["batches"]
    assert (first["base_offset"], first["last_offset"], first["records"], first["crc_ok"]) == (0, 2, 3, True)
    assert (second["position"], second["compression"], second["producer_id"]) == (first["size"], "gzip", 9)
    assert second["entries"][2] == {
        "offset": 5,
        "timestamp": 1002,
        "key": "k",
        "value": "v2",
        "headers": [{"key": "h", "value": "x"}],
    }


def test_a_flipped_bit_is_found_and_the_rest_still_shown(folder: Path) -> None:
    broken = batch(0)
    broken[-1] ^= 1
    found = dump_file(segment(folder, broken, batch(3)))
    assert [batch["crc_ok"] for batch in found["batches"]] == [False, True]
    assert len(found["errors"]) == 1
    assert found["errors"][0].startswith("position 0: CRC")


def test_a_torn_tail_is_said(folder: Path) -> None:
    whole = batch(0)
    found = dump_file(segment(folder, whole, bytes(whole[:100])))
    assert len(found["batches"]) == 1
    assert f"position {len(whole)}" in found["errors"][0]
    found = dump_file(segment(folder, whole, b"short"))
    assert "5 bytes left" in found["errors"][0]


def test_markers_are_named(folder: Path) -> None:
    found = dump_file(segment(folder, build_marker(9, 1, True, 4, 1000)), with_records=True)
    entry = found["batches"][0]["entries"][0]
    assert (entry["marker"], entry["coordinator_epoch"]) == ("commit", 4)


def test_an_offset_index_is_looked_up_in_its_segment(folder: Path) -> None:
    first = batch(0)
    segment(folder, first, batch(3))
    index = folder / "00000000000000000000.index"
    index.write_bytes(struct.pack(">IIII", 2, 0, 5, len(first)) + bytes(16))
    found = dump_file(index)
    assert found["entries"] == [{"offset": 2, "position": 0}, {"offset": 5, "position": len(first)}]
    assert found["errors"] == []
    index.write_bytes(struct.pack(">IIII", 1, 0, 5, 7))
    assert [error.split(":")[0] for error in dump_file(index)["errors"]] == ["offset 1", "offset 5"]


def test_a_time_index_must_ascend(folder: Path) -> None:
    index = folder / "00000000000000000010.timeindex"
    index.write_bytes(struct.pack(">qIqI", 2000, 1, 1000, 5) + b"zz")
    found = dump_file(index)
    assert found["entries"][0] == {"timestamp": 2000, "offset": 11}
    assert found["errors"] == ["2 bytes after the last whole entry", "offset 15: does not ascend"]


def test_a_transaction_index(folder: Path) -> None:
    index = folder / "00000000000000000000.txnindex"
    index.write_bytes(struct.pack(">hqqqq", 0, 9, 1, 5, 6))
    expected = {"producer_id": 9, "first_offset": 1, "last_offset": 5, "last_stable_offset": 6}
    assert dump_file(index)["entries"] == [expected]


def test_a_producer_snapshot(folder: Path) -> None:
    producer = Producer(9, 1, 0, 1000, -1)
    producer.add(KeptBatch(7, 42, 2, 1000))
    path = folder / "00000000000000000043.snapshot"
    path.write_bytes(encode_snapshot({9: producer}))
    (entry,) = dump_file(path)["entries"]
    assert (entry["producer_id"], entry["last_sequence"], entry["last_offset"]) == (9, 7, 42)
    path.write_bytes(b"\0\1garbage-and-more")
    assert len(dump_file(path)["errors"]) == 1


def test_checkpoints(folder: Path) -> None:
    path = folder / "leader-epoch-checkpoint"
    path.write_text("0\n1\n3 17\n")
    assert dump_file(path)["entries"] == [{"epoch": 3, "start_offset": 17}]
    path = folder.parent / "recovery-point-offset-checkpoint"
    path.write_text("0\n1\norders 1 5\n")
    assert dump_file(path)["entries"] == [{"topic": "orders", "partition": 1, "offset": 5}]
    path.write_text("0\n2\norders 1 5\n")
    assert len(dump_file(path)["errors"]) == 1


def test_an_empty_segment_is_no_damage(folder: Path) -> None:
    assert dump_file(segment(folder))["batches"] == []


def test_other_files_are_refused(folder: Path) -> None:
    path = folder / "notes.txt"
    path.write_text("x")
    with pytest.raises(UnknownFileError):
        dump_file(path)
    path = folder / "short.index"
    path.write_bytes(b"x" * 8)
    with pytest.raises(UnknownFileError):
        dump_file(path)
