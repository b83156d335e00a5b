"""ListOffsets, DeleteRecords and OffsetForLeaderEpoch."""

import time

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.fetching import fetch, filled
from tests.conformance.raw import batch_of


def list_offsets(
    c: Conversation,
    timestamp: int,
    version: int = 9,
    partition: int = 0,
    epoch: int = -1,
    topic: str = "",
    isolation: int = 0,
) -> None:
    asked = raw.struct_of(
        "ListOffsets",
        "ListOffsetsPartition",
        partition_index=partition,
        timestamp=timestamp,
        current_leader_epoch=epoch,
    )
    topics = [raw.struct_of("ListOffsets", "ListOffsetsTopic", name=topic or c.topic, partitions=[asked])]
    c.ask(raw.request_of("ListOffsets", replica_id=-1, isolation_level=isolation, topics=topics), version)


@case
def list_offsets_in_every_version(c: Conversation) -> None:
    filled(c)
    for version in range(1, 11):
        for timestamp in (-1, -2, 1):
            list_offsets(c, timestamp, version)


@case
def list_offsets_by_timestamp(c: Conversation) -> None:
    c.create()
    base_ms = int(time.time() * 1_000) - 100_000
    for shift_ms, values in ((0, [b"a"] * 3), (5_000, [b"b"] * 2), (2_000, [b"c"])):
        batch = batch_of(*values, timestamp_ms=base_ms + shift_ms)
        c.quietly(raw.produce_request(c.topic, 0, batch), raw.PRODUCE_BY_NAME)
    for shift_ms in (-1, 0, 1, 2_000, 4_999, 5_000, 5_001):
        list_offsets(c, base_ms + shift_ms)
    list_offsets(c, -3)
    list_offsets(c, 0)
    list_offsets(c, 9_223_372_036_854_775_807)


@case
def list_offsets_inside_a_compressed_batch(c: Conversation) -> None:
    c.create()
    base_ms = int(time.time() * 1_000) - 100_000
    records = [
        one._replace(timestamp=base_ms + shift_ms)
        for one, shift_ms in zip(raw.records_of(b"a", b"b", b"c", b"d"), (0, 300, 100, 200), strict=True)
    ]
    batch = raw.build_batch(records, compression=1)
    c.quietly(raw.produce_request(c.topic, 0, batch), raw.PRODUCE_BY_NAME)
    for shift_ms in (0, 1, 150, 300, 301):
        list_offsets(c, base_ms + shift_ms)
    list_offsets(c, -3)


@case
def list_offsets_of_an_empty_partition(c: Conversation) -> None:
    c.create()
    for timestamp in (-1, -2, -3, -4, 0):
        list_offsets(c, timestamp)


@case
def list_offsets_of_special_kinds(c: Conversation) -> None:
    filled(c)
    for timestamp, version in ((-4, 8), (-5, 9), (-4, 7), (-5, 8), (-3, 6), (-7, 10), (-100, 10)):
        list_offsets(c, timestamp, version)


@case
def list_offsets_of_what_is_not_there(c: Conversation) -> None:
    c.create()
    list_offsets(c, -1, partition=1)
    list_offsets(c, -1, partition=-1)
    list_offsets(c, -1, topic=c.new_name("nobody"))


@case
def list_offsets_with_leader_epochs(c: Conversation) -> None:
    filled(c)
    for epoch in (0, 1, 50):
        list_offsets(c, -1, epoch=epoch)


@case
def list_offsets_read_committed(c: Conversation) -> None:
    filled(c)
    for timestamp in (-1, -2, -3, 0):
        list_offsets(c, timestamp, isolation=1)


@case
def list_offsets_of_one_partition_twice(c: Conversation) -> None:
    filled(c)
    asked = raw.struct_of("ListOffsets", "ListOffsetsPartition", partition_index=0, timestamp=-1)
    topics = [raw.struct_of("ListOffsets", "ListOffsetsTopic", name=c.topic, partitions=[asked, asked])]
    c.ask(raw.request_of("ListOffsets", replica_id=-1, topics=topics), 7)


def delete_records(
    c: Conversation, offset: int, partition: int = 0, topic: str = "", version: int = 2
) -> None:
    asked = raw.struct_of("DeleteRecords", "DeleteRecordsPartition", partition_index=partition, offset=offset)
    topics = [raw.struct_of("DeleteRecords", "DeleteRecordsTopic", name=topic or c.topic, partitions=[asked])]
    c.ask(raw.request_of("DeleteRecords", topics=topics, timeout_ms=5_000), version)


@case
def delete_records_in_every_version(c: Conversation) -> None:
    filled(c)
    for version in range(3):
        delete_records(c, version + 1, version=version)


@case
def delete_records_moves_the_start(c: Conversation) -> None:
    filled(c)
    delete_records(c, 4)
    list_offsets(c, -2)
    fetch(c, 3)
    fetch(c, 4)
    delete_records(c, 2)
    delete_records(c, 11)
    delete_records(c, -1)
    list_offsets(c, -2)
    delete_records(c, -2)
    fetch(c, 10)


@case
def delete_records_of_what_is_not_there(c: Conversation) -> None:
    c.create()
    delete_records(c, 0, 1)
    delete_records(c, 0, topic=c.new_name("nobody"))
    delete_records(c, 0)
    delete_records(c, 1)


def epoch_end(c: Conversation, epoch: int, current: int = -1, partition: int = 0, version: int = 4) -> None:
    asked = raw.struct_of(
        "OffsetForLeaderEpoch",
        "OffsetForLeaderPartition",
        partition=partition,
        current_leader_epoch=current,
        leader_epoch=epoch,
    )
    topics = [
        raw.struct_of("OffsetForLeaderEpoch", "OffsetForLeaderTopic", topic=c.topic, partitions=[asked])
    ]
    c.ask(raw.request_of("OffsetForLeaderEpoch", replica_id=-1, topics=topics), version)


@case
def offset_for_leader_epoch(c: Conversation) -> None:
    filled(c)
    for version in (2, 3, 4):
        epoch_end(c, 0, version=version)
    for epoch, current in ((0, 0), (1, 0), (-1, 0), (5, -1), (0, 1), (0, 9)):
        epoch_end(c, epoch, current)
    epoch_end(c, 0, partition=3)


@case
def offset_for_leader_epoch_of_an_empty_partition(c: Conversation) -> None:
    c.create()
    epoch_end(c, 0)
    epoch_end(c, 0, 0)
