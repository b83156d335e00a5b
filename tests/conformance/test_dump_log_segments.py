"""Kafka's DumpLogSegments reads every kind of file that the storage writes, and finds nothing wrong."""

import random
import re
from pathlib import Path

import pytest

from odradek.core.ids import TopicPartition, new_id
from odradek.records.builder import build_batch
from odradek.records.control import build_marker
from odradek.records.record import Record
from odradek.storage.config import LogConfig
from odradek.storage.disk import SystemDisk
from odradek.storage.log import COORDINATOR, Log
from odradek.storage.producers import Vouched
from odradek.storage.store import LogStore
from odradek.testing.clock import FakeClock
from tests.conformance.kafka_process import dump_log_segments

pytestmark = [pytest.mark.java, pytest.mark.slow]

NOW_MS = 1_700_000_000_000
CONFIG = LogConfig(segment_bytes=200_000)


def open_store(folder: Path) -> LogStore:
    clock = FakeClock(NOW_MS)
    return LogStore.open(str(folder), SystemDisk(), clock, random.Random(5), config_of=lambda _: CONFIG)


def fill(log: Log, randomness: random.Random) -> None:
    """Batches of all codecs from three producers, two of them in transactions; every third is aborted."""
    sequences = {1: 0, 2: 0, 3: 0}
    for number in range(900):
        producer_id = number % 3 + 1
        count = randomness.randrange(1, 6)
        records = [
            Record(
                0,
                NOW_MS + number * 50 + one,
                b"k%d" % one,
                randomness.randbytes(200),
                (("h", b"x"), ("n", None)),
            )
            for one in range(count)
        ]
        batch = build_batch(
            records,
            0,
            producer_id,
            4,
            sequences[producer_id],
            number % 5,
            transactional=producer_id > 1,
        )
        log.append(memoryview(batch), NOW_MS, leader_epoch=number // 400, vouched=Vouched.VERIFIED)
        sequences[producer_id] += count
        if number % 60 == 59:
            for ending in (2, 3):
                marker = build_marker(ending, 4, number % 180 != 179, 0, NOW_MS + number * 50)
                log.append(memoryview(marker), NOW_MS, leader_epoch=number // 400, origin=COORDINATOR)


@pytest.fixture(scope="module", params=["closed", "recovered"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A partition's folder after a clean stop, and after a crash, a recovery and a clean stop."""
    data = tmp_path_factory.mktemp("dump")
    store = open_store(data)
    log = store.create(TopicPartition("t", 0), new_id(random.Random(6)), CONFIG, NOW_MS)
    fill(log, random.Random(8))
    if request.param == "recovered":
        store.flush(NOW_MS)
        store.close(NOW_MS, clean=False)
        for index in (data / "t-0").glob("*index"):
            index.write_bytes(b"")
        store = open_store(data)
    store.close(NOW_MS)
    return data / "t-0"


def test_logs_and_their_records(folder: Path) -> None:
    files = sorted(folder.glob("*.log"))
    assert len(files) > 2
    output = dump_log_segments(files, "--deep-iteration")
    assert "isvalid: false" not in output
    assert output.count("isvalid: true") == 900 + 30
    offsets = [int(found) for found in re.findall(r"^\| offset: (\d+)", output, re.MULTILINE)]
    assert offsets == list(range(len(offsets)))
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        assert f"compresscodec: {codec} " in output
    assert output.count("endTxnMarker: ABORT") == 10
    assert output.count("endTxnMarker: COMMIT") == 20
    assert "partitionLeaderEpoch: 2 " in output


def test_indexes_agree_with_their_logs(folder: Path) -> None:
    files = sorted([*folder.glob("*.index"), *folder.glob("*.timeindex")])
    output = dump_log_segments(files)
    for complaint in ("Mismatches", "not found", "Found timestamp mismatch", "out of order"):
        assert complaint not in output, output[-3000:]
    assert len(re.findall(r"^offset: \d+ position: \d+", output, re.MULTILINE)) > 50
    assert len(re.findall(r"^timestamp: \d+ offset: \d+", output, re.MULTILINE)) > 50
    output = dump_log_segments(files, "--index-sanity-check")
    assert output.count("passed sanity check") == len(files)


def test_snapshots_and_transaction_indexes(folder: Path) -> None:
    snapshots, indexes = sorted(folder.glob("*.snapshot")), sorted(folder.glob("*.txnindex"))
    assert snapshots
    assert indexes
    output = dump_log_segments([*snapshots, *indexes])
    assert output.count("producerId: 3 producerEpoch: 4 ") >= len(snapshots) - 1
    assert (
        len(re.findall(r"producerId: \d+ firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+", output))
        == 10
    )
