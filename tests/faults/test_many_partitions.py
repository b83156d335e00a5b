"""A folder with 10,000 partitions and 100 GB, closed cleanly: nothing of it is opened before it is needed."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from odradek.storage import names
from odradek.storage.checkpoints import decode_offsets, encode_offsets
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]

TOPICS, PARTITIONS = 20, 500
SEGMENT_BYTES = 10_000_000
END_OFFSET = 10_000
TRIES = 5
"""Starts, of which the quickest counts: others use the machine, too."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    broker = BrokerProcess(tmp_path / "data").start()
    yield broker
    broker.kill()


def pretend(data: Path) -> int:
    """Give each partition a segment that is a hole, and let the checkpoint know of it; the bytes in all."""
    checkpoint = data / names.RECOVERY_POINTS
    points = dict.fromkeys(decode_offsets(checkpoint.read_bytes()), END_OFFSET)
    for one in points:
        os.truncate(data / names.folder_name(one) / names.file_name(0, names.LOG), SEGMENT_BYTES)
    checkpoint.write_bytes(encode_offsets(points))
    return SEGMENT_BYTES * len(points)


def private_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system does not tell")


@pytest.mark.timeout(600)
def test_ten_thousand_partitions_are_there_at_once(broker: BrokerProcess) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for number in range(TOPICS):
        (made,) = admin.create_topics([NewTopic(f"t{number}", PARTITIONS, 1)], request_timeout=60).values()
        made.result(60)
    assert broker.stop() == 0
    assert pretend(broker.data) == 100_000_000_000
    took_s: list[float] = []
    while not took_s or (took_s[-1] >= 1 and len(took_s) < TRIES):
        assert broker.stop() == 0
        began = time.monotonic()
        broker.start()
        took_s.append(time.monotonic() - began)
    assert min(took_s) < 3, took_s  # quiet machine: 0.44
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topics = admin.list_topics(timeout=60).topics.values()
    assert [one.leader for topic in topics for one in topic.partitions.values()] == [1] * TOPICS * PARTITIONS
    assert private_bytes(broker.pid) < 150_000_000
    assert len(os.listdir(f"/proc/{broker.pid}/fd")) < 50
