from pathlib import Path

import pytest

from odradek.broker.list_offsets import (
    EARLIEST,
    EARLIEST_LOCAL,
    EARLIEST_PENDING_UPLOAD,
    LATEST,
    LATEST_TIERED,
    MAX_TIMESTAMP,
)
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from tests.unit.broker.harness import Harness, batch
from tests.unit.broker.test_produce import only, produce

START_MS = 1_699_999_000_000


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path)
    harness.call(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), 9)
    return harness


def ask(
    harness: Harness, timestamp: int, version: int = 11, *, times: int = 1, epoch: int = -1, **fields: int
) -> ListOffsetsPartitionResponse:
    asked = ListOffsetsPartition(partition_index=0, timestamp=timestamp, current_leader_epoch=epoch)
    request = ListOffsetsRequest(
        replica_id=-1,
        topics=[ListOffsetsTopic(name="t", partitions=[asked] * times)],
        **fields,  # type: ignore[arg-type]
    )
    answer = harness.call(request, version).topics[0].partitions[0]
    assert isinstance(answer, ListOffsetsPartitionResponse)
    return answer


def fill(harness: Harness) -> None:
    for number in range(4):
        values = batch(b"a", b"b", timestamp_ms=START_MS + 10 * number)
        assert only(harness.call(produce(values), 9)).error_code == 0
    harness.flush()


@pytest.mark.parametrize("version", range(1, 12))
def test_first_and_last_in_every_version(harness: Harness, version: int) -> None:
    fill(harness)
    assert ask(harness, LATEST, version).offset == 8
    assert ask(harness, EARLIEST, version).offset == 0


def test_the_last_offset_is_the_high_watermark_not_the_end_of_the_log(harness: Harness) -> None:
    fill(harness)
    harness.send(produce(batch(b"unflushed")), 9)
    assert ask(harness, LATEST).offset == 8
    assert ask(harness, START_MS + 1_000_000).offset == -1


@pytest.mark.parametrize(
    ("timestamp", "offset", "found"),
    [
        (0, 0, START_MS),
        (START_MS + 1, 1, START_MS + 1),
        (START_MS + 2, 2, START_MS + 10),
        (START_MS + 31, 7, START_MS + 31),
        (START_MS + 32, -1, -1),
    ],
)
def test_by_timestamp(harness: Harness, timestamp: int, offset: int, found: int) -> None:
    fill(harness)
    answer = ask(harness, timestamp)
    assert (answer.offset, answer.timestamp) == (offset, found)


def test_max_timestamp_and_the_tiered_ones(harness: Harness) -> None:
    fill(harness)
    assert ask(harness, MAX_TIMESTAMP).offset == 7
    assert ask(harness, EARLIEST_LOCAL).offset == 0
    assert ask(harness, LATEST_TIERED).offset == -1
    assert ask(harness, EARLIEST_PENDING_UPLOAD).offset == -1


def test_an_empty_partition(harness: Harness) -> None:
    assert ask(harness, LATEST).offset == 0
    assert ask(harness, EARLIEST).offset == 0
    assert ask(harness, MAX_TIMESTAMP).offset == -1
    assert ask(harness, 0).offset == -1


@pytest.mark.parametrize(("timestamp", "version"), [(MAX_TIMESTAMP, 6), (EARLIEST_LOCAL, 7), (-7, 11)])
def test_special_times_need_their_version(harness: Harness, timestamp: int, version: int) -> None:
    assert ask(harness, timestamp, version).error_code == ErrorCode.UNSUPPORTED_VERSION


def test_refusals(harness: Harness) -> None:
    assert ask(harness, LATEST, times=2).error_code == ErrorCode.INVALID_REQUEST
    assert ask(harness, LATEST, epoch=99).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
