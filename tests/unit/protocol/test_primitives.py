from typing import Any

import pytest

from odradek.protocol.generated.fetch import EpochEndOffset, FetchRequest, ForgottenTopic, PartitionData
from odradek.protocol.generated.offset_fetch import OffsetFetchRequest
from odradek.protocol.generated.produce import (
    LeaderIdAndEpoch,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    TopicProduceData,
)
from odradek.protocol.primitives import COPY_BELOW, MalformedError
from tests.support.messages import encoded


def produce(records: Any) -> ProduceRequest:
    partition = PartitionProduceData(index=3, records=records)
    return ProduceRequest(acks=-1, topic_data=[TopicProduceData(name="t", partition_data=[partition])])


def records_of(raw: bytes, version: int) -> Any:
    message, _ = ProduceRequest.decode(memoryview(raw), 0, version)
    return message.topic_data[0].partition_data[0].records


def test_equality_is_by_fields_and_class() -> None:
    assert LeaderIdAndEpoch(1, 2) == LeaderIdAndEpoch(1, 2)
    assert LeaderIdAndEpoch(1, 2) != LeaderIdAndEpoch(1, 3)
    assert LeaderIdAndEpoch(1, 2) != EpochEndOffset(1, 2)
    assert LeaderIdAndEpoch() != "LeaderIdAndEpoch"
    with pytest.raises(TypeError):
        hash(LeaderIdAndEpoch())


def test_repr_names_the_fields() -> None:
    assert repr(LeaderIdAndEpoch(1, 2)) == "LeaderIdAndEpoch(leader_id=1, leader_epoch=2)"
    assert (
        repr(PartitionProduceResponse().current_leader) == "LeaderIdAndEpoch(leader_id=-1, leader_epoch=-1)"
    )


def test_lists_that_nobody_set_are_not_shared() -> None:
    first, second = ProduceRequest(), ProduceRequest()
    first.topic_data.append(TopicProduceData())
    assert second.topic_data == []


def test_structs_that_nobody_set_are_shared_and_read_only() -> None:
    first, second = PartitionData(), PartitionData()
    assert first.current_leader is second.current_leader
    with pytest.raises(AttributeError, match="assign a new one"):
        first.diverging_epoch.epoch = 5
    assert first.diverging_epoch == EpochEndOffset()
    assert EpochEndOffset() == first.diverging_epoch
    first.diverging_epoch = EpochEndOffset(epoch=5)
    assert second.diverging_epoch.epoch == -1


@pytest.mark.parametrize("version", [8, 9])
def test_records_are_a_view_of_the_frame(version: int) -> None:
    raw = encoded(produce(b"batch"), version)
    frame = bytearray(raw)
    message, _ = ProduceRequest.decode(memoryview(frame), 0, version)
    records = message.topic_data[0].partition_data[0].records
    records[:5] = b"BATCH"
    assert b"BATCH" in frame


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("records", [None, b"", b"x" * 200])
def test_records_null_and_empty_are_told_apart(version: int, records: bytes | None) -> None:
    assert records_of(encoded(produce(records), version), version) == records


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("sizes", [[], [0], [3, 4], [COPY_BELOW - 1, 1], [COPY_BELOW, 70_000]])
def test_records_may_be_several_buffers(version: int, sizes: list[int]) -> None:
    buffers = [bytes([1 + place]) * size for place, size in enumerate(sizes)]
    views: list[bytes | memoryview] = [memoryview(one) if place else one for place, one in enumerate(buffers)]
    joined = b"".join(buffers)
    assert encoded(produce(views), version) == encoded(produce(joined), version)
    assert records_of(encoded(produce(views), version), version) == joined


def test_large_records_are_not_copied() -> None:
    records = memoryview(bytes(COPY_BELOW))
    parts: list[Any] = []
    produce(records).encode(parts, 9)
    assert any(part is records for part in parts)


def test_a_null_where_the_version_has_none() -> None:
    request = OffsetFetchRequest(group_id="g", topics=None)
    assert encoded(request, 2)
    with pytest.raises(ValueError, match="OffsetFetchRequest v1"):
        encoded(request, 1)


@pytest.mark.parametrize(
    ("change", "version"),
    [
        ({"acks": 2**15}, 9),
        ({"acks": "all"}, 9),
        ({"topic_data": None}, 9),
        ({"topic_data": [None]}, 9),
        ({"topic_data": [TopicProduceData(name=None)]}, 9),  # type: ignore[arg-type]
        ({"transactional_id": "x" * 32_768}, 8),
        ({"transactional_id": "x" * 32_768}, 9),
    ],
)
def test_what_cannot_be_encoded_is_a_value_error(change: dict[str, Any], version: int) -> None:
    with pytest.raises(ValueError, match=f"ProduceRequest v{version}"):
        encoded(ProduceRequest(**change), version)


def test_a_field_that_the_version_lacks_may_not_be_set_unless_it_is_ignorable() -> None:
    request = FetchRequest(rack_id="r1")
    assert encoded(request, 10) == encoded(FetchRequest(), 10)
    with pytest.raises(ValueError, match="forgotten_topics_data"):
        encoded(FetchRequest(forgotten_topics_data=[ForgottenTopic()]), 6)


def test_malformed_names_message_and_version() -> None:
    with pytest.raises(MalformedError, match="ProduceRequest v9"):
        ProduceRequest.decode(memoryview(b"\x00"), 0, 9)
    with pytest.raises(MalformedError, match=r"ProduceRequest v9: topic_data"):
        ProduceRequest.decode(memoryview(b"\x00\x00\x01\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00"), 0, 9)
    with pytest.raises(MalformedError, match="utf-8"):
        ProduceRequest.decode(memoryview(b"\x02\xff" + bytes(9)), 0, 9)
