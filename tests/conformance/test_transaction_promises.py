"""What others got wrong about transactions (design §6), each under its own name.

How every request is answered is held against Kafka in ``cases/transactions.py``; what is here needs a broker
that is stopped or killed, segments that are rolled or compacted, or time that passes.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from odradek.core.errors import ErrorCode
from tests.conformance import raw
from tests.conformance.cases import Conversation
from tests.conformance.cases.transactions import Producer as RawProducer
from tests.conformance.test_promises import how, restart
from tests.support.broker_process import BrokerProcess

__all__ = ["how"]  # a fixture

TOPIC = "transactional"


@pytest.fixture
def conversation(bootstrap: str) -> Iterator[Conversation]:
    conversation = Conversation(bootstrap)
    conversation.create()
    yield conversation
    conversation.close()


def eventually(is_so: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def create_topic(bootstrap: str, **configs: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1, 1, config=configs)])[TOPIC].result(20)


def read(bootstrap: str, isolation: str) -> list[tuple[bytes | None, bytes]]:
    """Keys and the beginnings of values, from the first offset to the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "nobody",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
    records: list[tuple[bytes | None, bytes]] = []
    deadline = time.monotonic() + 60
    while True:
        for message in consumer.consume(500, 0.2):
            if message.error() is not None and message.error().code() == -191:  # the end
                consumer.close()
                return records
            if message.error() is None:
                records.append((message.key(), message.value().split(b" ")[0]))
        assert time.monotonic() < deadline, "the partition has no end"


def write(bootstrap: str, number: int, count: int, size: int, *, commit: bool, keys: str = "") -> list[bytes]:
    """One transaction of one producer of its own."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"writer-{number}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    values = [b"%s-%d-%d" % (b"kept" if commit else b"aborted", number, at) for at in range(count)]
    for at, value in enumerate(values):
        producer.produce(TOPIC, value + b" " * size, key=f"{keys}-{at}" if keys else None)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)
    return values


def test_aborted_records_stay_unseen_across_segment_rolls_and_restarts(
    own_broker: BrokerProcess, how: str
) -> None:
    create_topic(own_broker.bootstrap, **{"segment.bytes": "1048576"})
    kept: list[bytes] = []
    for number in range(8):  # each larger than a segment
        values = write(own_broker.bootstrap, number, 150, 8_000, commit=number % 2 == 1)
        kept += values if number % 2 else []
    segments = list((own_broker.data / f"{TOPIC}-0").glob("*.log"))
    assert len(segments) >= 8
    restart(own_broker, how)
    assert [value for _, value in read(own_broker.bootstrap, "read_committed")] == kept
    assert len(read(own_broker.bootstrap, "read_uncommitted")) == 8 * 150
    restart(own_broker, how)
    assert [value for _, value in read(own_broker.bootstrap, "read_committed")] == kept


def test_an_open_transaction_is_aborted_after_a_kill_and_its_records_stay_unseen(
    own_broker: BrokerProcess,
) -> None:
    create_topic(own_broker.bootstrap)
    producer = Producer(
        {
            "bootstrap.servers": own_broker.bootstrap,
            "transactional.id": "killed",
            "transaction.timeout.ms": 3_000,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(TOPIC, b"open")
    producer.flush(30)
    restart(own_broker, "kill")
    kept = write(own_broker.bootstrap, 1, 3, 10, commit=True)
    consumed = lambda: [value for _, value in read(own_broker.bootstrap, "read_committed")]
    eventually(lambda: consumed() == kept, "the open transaction is not aborted when its time is over")


def test_aborted_records_stay_unseen_across_compaction(tmp_path: Any, request: pytest.FixtureRequest) -> None:
    settings = {"log.cleaner.backoff.ms": "200", "log.cleaner.min.cleanable.ratio": "0.01"}
    broker = BrokerProcess(tmp_path / "data", settings).start()
    request.addfinalizer(broker.kill)
    create_topic(
        broker.bootstrap, **{"cleanup.policy": "compact", "segment.bytes": "1048576", "segment.ms": "2000"}
    )
    for number in range(9):
        write(broker.bootstrap, number, 50, 8_000, commit=number % 3 != 2, keys="key")
    wanted = {b"key-%d" % at: b"kept-7-%d" % at for at in range(50)}

    def is_compacted() -> bool:
        write(
            broker.bootstrap, 10_000, 1, 10, commit=True, keys="roll"
        )  # the active segment is never compacted: roll it
        return len(read(broker.bootstrap, "read_uncommitted")) < 150

    eventually(is_compacted, "the log is not compacted")
    for _ in range(2):
        records = read(broker.bootstrap, "read_committed")
        assert {key: value for key, value in records if key != b"roll-0"} == wanted
        assert not [value for _, value in records if value.startswith(b"aborted")]
        restart(broker, "kill")


def test_the_last_stable_offset_moves_on_when_a_hung_transaction_times_out(
    conversation: Conversation,
) -> None:
    hung = RawProducer(conversation, timeout_ms=3_000)
    hung.init()
    hung.produce(0, b"hung")
    assert stable(conversation) == 0
    eventually(lambda: stable(conversation) == 2, "the last stable offset stays")
    assert hung.produce(1, b"late").responses[0].partition_responses[0].error_code in (
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.PRODUCER_FENCED,
    )


def stable(c: Conversation) -> int:
    """What ListOffsets calls the latest offset for read_committed."""
    partition = raw.struct_of("ListOffsets", "ListOffsetsPartition", partition_index=0, timestamp=-1)
    topic = raw.struct_of("ListOffsets", "ListOffsetsTopic", name=c.topic, partitions=[partition])
    answer = c.quietly(raw.request_of("ListOffsets", replica_id=-1, isolation_level=1, topics=[topic]))
    offset: int = answer.topics[0].partitions[0].offset
    return offset


@pytest.mark.parametrize("committed", [True, False], ids=["commit", "abort"])
def test_a_delayed_end_never_touches_a_later_transaction(conversation: Conversation, committed: bool) -> None:
    producer = RawProducer(conversation)
    producer.init()
    producer.produce(0, b"first")
    delayed = raw.request_of(
        "EndTxn",
        transactional_id=producer.transactional_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        committed=committed,
    )
    producer.end(committed=committed)
    producer.produce(0, b"second")
    assert stable(conversation) == 2
    conversation.quietly(delayed)  # whatever it is answered
    time.sleep(0.3)
    assert stable(conversation) == 2
    producer.end(committed=not committed)
    assert stable(conversation) == 4
    fetch = raw.fetch_request(conversation.topic, 0, 0, isolation_level=1)
    partition = conversation.quietly(fetch, raw.FETCH_BY_NAME).responses[0].partitions[0]
    aborted = [one.first_offset for one in partition.aborted_transactions or []]
    assert aborted == [2 if committed else 0]


def test_sequence_numbers_begin_anew_after_an_abort_and_old_ones_are_refused(
    conversation: Conversation,
) -> None:
    producer = RawProducer(conversation)
    producer.init()
    before = producer.epoch
    producer.produce(0, b"aborted")
    producer.end(committed=False)
    assert producer.epoch == before + 1
    stale = producer.produce(1, b"of the old epoch", producer_epoch=before)
    assert stale.responses[0].partition_responses[0].error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    gap = producer.produce(1, b"goes on as if nothing was")
    assert gap.responses[0].partition_responses[0].error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producer.produce(0, b"anew").responses[0].partition_responses[0].error_code == ErrorCode.NONE
