"""Produce: what is taken, and with which code the rest is refused."""

import random
import struct
import time

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.raw import PRODUCE_BY_NAME, batch_of, produce_request, records_of

DAY_MS = 86_400_000


def produce(c: Conversation, records: bytes | None, acks: int = -1, partition: int = 0) -> None:
    c.ask(produce_request(c.topic, partition, records, acks), PRODUCE_BY_NAME)


def read_back(c: Conversation) -> None:
    c.ask(raw.fetch_request(c.topic, 0, 0), raw.FETCH_BY_NAME)


def patched(batch: bytearray, form: str, position: int, value: int, with_crc: bool = True) -> bytearray:
    """``batch`` with another field; its CRC made to fit unless told otherwise."""
    from odradek.records.crc import crc32c

    struct.pack_into(form, batch, position, value)
    if with_crc:
        struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return batch


@case
def a_batch_is_taken_and_read_back(c: Conversation) -> None:
    c.create()
    for acks in (-1, 1):
        produce(c, batch_of(b"one", b"two", key=b"k"), acks)
    produce(c, batch_of(b"three"))
    read_back(c)


@case
def produce_in_every_version(c: Conversation) -> None:
    topic_id = c.create()
    for version in range(3, 14):
        by_id = topic_id if version > PRODUCE_BY_NAME else None
        c.ask(produce_request(c.topic, 0, batch_of(b"x"), -1, by_id), version)


@case
def acks_0_gets_no_answer(c: Conversation) -> None:
    c.create()
    request = raw.encode_request(produce_request(c.topic, 0, batch_of(b"x"), 0), PRODUCE_BY_NAME, 1)
    c.connection.send_frame(request)
    c.ask(raw.request_of("ListGroups", states_filter=["Dead"]))
    deadline = time.monotonic() + 60
    while (
        not c.quietly(raw.fetch_request(c.topic, 0, 0), raw.FETCH_BY_NAME).responses[0].partitions[0].records
    ):
        assert time.monotonic() < deadline
    read_back(c)


@case
def acks_of_other_numbers(c: Conversation) -> None:
    c.create()
    for acks in (2, -2, 32_767):
        produce(c, batch_of(b"x"), acks)


@case
def produce_to_what_is_not_there(c: Conversation) -> None:
    c.create()
    produce(c, batch_of(b"x"), partition=1)
    produce(c, batch_of(b"x"), partition=-1)
    c.ask(produce_request(c.new_name("nobody"), 0, batch_of(b"x")), PRODUCE_BY_NAME)
    c.ask(produce_request("", 0, batch_of(b"x"), topic_id=bytes(range(16))), 13)
    c.ask(produce_request("", 0, batch_of(b"x"), topic_id=bytes(16)), 13)
    c.ask(produce_request("bad name", 0, batch_of(b"x")), PRODUCE_BY_NAME)


@case
def some_partitions_are_refused_and_others_taken(c: Conversation) -> None:
    c.create(2)
    data = [
        raw.struct_of("Produce", "PartitionProduceData", index=index, records=records)
        for index, records in ((0, batch_of(b"good")), (1, bytes(batch_of(b"bad"))[:-1]), (7, batch_of(b"x")))
    ]
    topics = [raw.struct_of("Produce", "TopicProduceData", name=c.topic, partition_data=data)]
    c.ask(raw.request_of("Produce", acks=-1, timeout_ms=10_000, topic_data=topics), PRODUCE_BY_NAME)


@case
def a_wrong_crc(c: Conversation) -> None:
    c.create()
    batch = batch_of(b"some value")
    batch[-1] ^= 1
    produce(c, batch)
    read_back(c)


@case
def one_flipped_bit_anywhere_in_a_batch(c: Conversation) -> None:
    c.create()
    good = batch_of(b"some value", timestamp_ms=int(time.time() * 1_000))
    for position in range(16, len(good), 3):
        batch = bytearray(good)
        batch[position] ^= 0x10
        produce(c, batch)
    read_back(c)


@case
def a_record_count_that_lies(c: Conversation) -> None:
    c.create()
    for count in (0, 1, 3, 2_000_000_000, -1):
        produce(c, patched(batch_of(b"one", b"two"), ">i", 57, count))
    read_back(c)


@case
def a_last_offset_delta_that_lies(c: Conversation) -> None:
    c.create()
    for delta in (0, 5, -1):
        produce(c, patched(batch_of(b"one", b"two"), ">i", 23, delta))
    read_back(c)


@case
def a_batch_length_that_lies(c: Conversation) -> None:
    c.create()
    for length in (0, 48, 49, 1_000, 2_000_000_000, -1):
        produce(c, patched(batch_of(b"one", b"two"), ">i", 8, length, with_crc=False))
    read_back(c)


@case
def records_that_are_cut_short(c: Conversation) -> None:
    c.create()
    batch = bytes(batch_of(b"one", b"two"))
    for size in (1, 11, 12, 17, 30, 60, 61, 62, len(batch) - 1):
        produce(c, batch[:size])
    read_back(c)


@case
def no_records_at_all(c: Conversation) -> None:
    c.create()
    produce(c, b"")  # of null records Kafka 4.3 says nothing, ever
    read_back(c)


@case
def two_batches_for_one_partition(c: Conversation) -> None:
    c.create()
    produce(c, bytes(batch_of(b"one")) + bytes(batch_of(b"two")))
    read_back(c)


@case
def bytes_behind_the_batch(c: Conversation) -> None:
    c.create()
    produce(c, bytes(batch_of(b"one")) + b"\0" * 7)
    produce(c, bytes(batch_of(b"one")) + b"\0" * 70)
    read_back(c)


@case
def a_base_offset_of_the_client(c: Conversation) -> None:
    c.create()
    produce(c, batch_of(b"x", base_offset=7))
    produce(c, batch_of(b"x", base_offset=-7))
    read_back(c)


@case
def old_and_unknown_magic(c: Conversation) -> None:
    c.create()
    for magic in (0, 1, 3, -1):
        produce(c, patched(batch_of(b"x" * 50), ">b", 16, magic))
    read_back(c)


@case
def a_control_batch_of_a_client(c: Conversation) -> None:
    c.create()
    produce(c, batch_of(b"\0\0\0\0\0\0", key=b"\0\0\0\0", producer_id=5, producer_epoch=0, control=True))
    read_back(c)


@case
def a_transactional_batch_without_a_transaction(c: Conversation) -> None:
    c.create()
    produce(c, batch_of(b"x", producer_id=5, producer_epoch=0, base_sequence=0, transactional=True))
    read_back(c)


@case
def every_codec_is_taken_as_it_is(c: Conversation) -> None:
    c.create()
    for codec in (1, 2, 3, 4):
        produce(c, batch_of(b"the same " * 50, b"the same " * 60, compression=codec))
    read_back(c)


@case
def unknown_codecs(c: Conversation) -> None:
    c.create()
    for attributes in (5, 6, 7):
        produce(c, patched(batch_of(b"x"), ">h", 21, attributes))
    read_back(c)


@case
def a_compressed_stream_that_is_garbage(c: Conversation) -> None:
    c.create()
    for codec in (1, 2, 3, 4):
        batch = batch_of(b"not compressed at all, only said to be", b"so")
        produce(c, patched(batch, ">h", 21, codec))
    read_back(c)


@case
def a_compressed_batch_whose_count_lies(c: Conversation) -> None:
    c.create()
    for codec in (1, 3):
        for count in (1, 3):
            batch = batch_of(b"one", b"two", compression=codec)
            struct.pack_into(">i", batch, 23, count - 1)
            produce(c, patched(batch, ">i", 57, count))
    read_back(c)


@case
def records_whose_insides_lie(c: Conversation) -> None:
    """The first record's own length, key length and header count, each in turn."""
    c.create()
    good = batch_of(b"value", key=b"key")
    for position in (61, 65, 69, 75):
        for value in (0x7E, 0x01, 0xFF):
            produce(c, patched(bytearray(good), ">B", position, value))
    read_back(c)


@case
def max_message_bytes(c: Conversation) -> None:
    c.create(configs={"max.message.bytes": "500"})
    produce(c, batch_of(random.Random(1).randbytes(600)))
    produce(c, batch_of(b"x" * 300))
    produce(c, batch_of(b"x" * 5_000, compression=1))
    read_back(c)


@case
def timestamps_out_of_range(c: Conversation) -> None:
    now_ms = int(time.time() * 1_000)
    c.create(
        configs={"message.timestamp.before.max.ms": "3600000", "message.timestamp.after.max.ms": "60000"}
    )
    for shift_ms in (-DAY_MS, DAY_MS, -60_000, 10_000):
        produce(c, batch_of(b"x", timestamp_ms=now_ms + shift_ms))
    records = records_of(b"a", b"b", b"c", timestamp_ms=now_ms)
    records[1] = records[1]._replace(timestamp=now_ms - DAY_MS)
    produce(c, raw.build_batch(records))
    read_back(c)


@case
def no_timestamp(c: Conversation) -> None:
    c.create()
    produce(c, batch_of(b"x", timestamp_ms=-1))
    read_back(c)


@case
def the_default_range_of_timestamps(c: Conversation) -> None:
    now_ms = int(time.time() * 1_000)
    c.create()
    produce(c, batch_of(b"x", timestamp_ms=now_ms + 2 * 3_600_000))
    produce(c, batch_of(b"x", timestamp_ms=0))


@case
def log_append_time(c: Conversation) -> None:
    c.create(configs={"message.timestamp.type": "LogAppendTime"})
    produce(c, batch_of(b"x", timestamp_ms=5))
    produce(c, batch_of(b"x", b"y", timestamp_ms=5, compression=3))
    read_back(c)


@case
def recompression(c: Conversation) -> None:
    c.create(configs={"compression.type": "gzip"})
    produce(c, batch_of(b"x" * 100, b"y" * 100))
    produce(c, batch_of(b"x" * 100, b"y" * 100, compression=3))
    produce(c, batch_of(b"x" * 100, b"y" * 100, compression=1))
    read_back(c)


@case
def decompression(c: Conversation) -> None:
    c.create(configs={"compression.type": "uncompressed"})
    produce(c, batch_of(b"x" * 100, b"y" * 100, compression=1))
    read_back(c)


@case
def keyless_records_on_a_compacted_topic(c: Conversation) -> None:
    c.create(configs={"cleanup.policy": "compact"})
    produce(c, batch_of(b"no key"))
    produce(c, batch_of(b"a key", key=b"k"))
    produce(c, batch_of(None, key=b"k"))
    produce(c, batch_of(b"no key", compression=1))
    records = records_of(b"a", b"b", key=b"k")
    records[1] = records[1]._replace(key=None)
    produce(c, raw.build_batch(records))
    read_back(c)


@case
def the_same_partition_twice_in_one_request(c: Conversation) -> None:
    c.create()
    data = [
        raw.struct_of("Produce", "PartitionProduceData", index=0, records=batch_of(value))
        for value in (b"one", b"two")
    ]
    topics = [raw.struct_of("Produce", "TopicProduceData", name=c.topic, partition_data=data)]
    c.ask(raw.request_of("Produce", acks=-1, timeout_ms=10_000, topic_data=topics), PRODUCE_BY_NAME)


@case
def produce_to_the_internal_topic(c: Conversation) -> None:
    raw.find_coordinator(c.connection, c.group)
    c.ask(produce_request("__consumer_offsets", 0, batch_of(b"x", key=b"k")), PRODUCE_BY_NAME)


@case
def nothing_to_produce(c: Conversation) -> None:
    c.ask(raw.request_of("Produce", acks=-1, timeout_ms=1_000, topic_data=[]), PRODUCE_BY_NAME)
