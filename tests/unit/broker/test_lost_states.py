"""A power cut keeps what was written to partitions and takes the states that name them, which were written
before, but to another file: what is open is put back into its transaction."""

from collections.abc import Callable
from pathlib import Path

import pytest

from odradek.core.errors import ApiError, ErrorCode
from odradek.storage.jobs import JobQueue
from odradek.storage.log import Log
from odradek.storage.volume import DAY_MS

from .harness import Harness
from .transaction_client import TransactionalProducer, committed_offset, producer_beside_a_group, read

RETRIED = (ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.KAFKA_STORAGE_ERROR)
STATES = "__transaction_state-0/00000000000000000000.log"


@pytest.fixture
def producer(tmp_path: Path) -> TransactionalProducer:
    return producer_beside_a_group(tmp_path)


def lose_states(
    producer: TransactionalProducer, work: Callable[[], object], cut: Callable[[], object] = lambda: None
) -> None:
    """Does ``work``; then there is a power cut that takes all states written meanwhile, and nothing but what
    ``cut`` does."""
    harness = producer.harness
    states = harness.folder / STATES
    partition = harness.broker.topics.partition("__transaction_state", 0)
    assert partition is not None
    size = partition.log.active.size
    work()
    harness.broker.close(is_clean=False)
    with states.open("r+b") as file:
        file.truncate(size)
    cut()
    harness.start()


def flush_once(harness: Harness) -> None:
    flush = harness.broker.begin_flush()
    assert flush is not None
    flush.run()
    harness.broker.finish_flush(flush)


def test_a_batch_whose_state_is_lost_belongs_to_the_transaction_again(
    producer: TransactionalProducer,
) -> None:
    lose_states(producer, lambda: producer.send_produce(0, b"a"))
    assert producer.state == "Ongoing"
    # whoever sent it was not answered, and sends it again
    assert producer.produce(0, b"a") == (0, 0)
    assert producer.produce(0, b"b", partition=1) == (0, 0)
    assert producer.end() == 0
    assert (read(producer.harness), read(producer.harness, 1)) == ([b"a"], [b"b"])


def test_a_state_that_names_other_partitions_gets_the_one_that_it_lost(
    producer: TransactionalProducer,
) -> None:
    producer.produce(0, b"b", partition=1)
    lose_states(producer, lambda: producer.send_produce(0, b"a"))
    assert [topic.partitions for topic in producer.describe().topics] == [[0, 1]]
    assert producer.end(False) == 0
    assert producer.produce(0, b"c") == (0, 2)
    assert producer.end() == 0
    assert (read(producer.harness), read(producer.harness, 1)) == ([b"c"], [])


def test_who_wrote_it_does_not_come_back(producer: TransactionalProducer) -> None:
    lose_states(producer, lambda: producer.send_produce(0, b"a"))
    producer.harness.advance(0)
    producer.harness.advance(120_000)
    producer.harness.flush()
    assert producer.state == "CompleteAbort"
    assert read(producer.harness) == []


def test_a_new_producer_comes(producer: TransactionalProducer) -> None:
    lose_states(producer, lambda: producer.send_produce(0, b"a"))
    assert producer.init() == ErrorCode.CONCURRENT_TRANSACTIONS
    producer.harness.flush()
    assert producer.init() == 0
    producer.produce(0, b"b")
    assert producer.end() == 0
    assert read(producer.harness) == [b"b"]


def test_offsets_whose_state_is_lost(producer: TransactionalProducer) -> None:
    harness = producer.harness
    producer.produce(0, b"a")
    producer.end()
    lose_states(producer, lambda: producer.send_offset(5))
    assert [topic.topic for topic in producer.describe().topics] == ["__consumer_offsets"]
    assert committed_offset(harness, stable=True) == (ErrorCode.UNSTABLE_OFFSET_COMMIT, -1)
    assert producer.commit_offset(6) == 0
    assert producer.end() == 0
    assert committed_offset(harness, stable=True) == (0, 6)


def lose_the_decision(producer: TransactionalProducer, is_commit: bool) -> None:
    """A transaction over two partitions and a group is ended; of that a power cut keeps one marker."""
    harness = producer.harness
    producer.produce(0, b"a")
    producer.produce(0, b"b", partition=1)
    producer.commit_offset(5)
    sizes = {}
    for place in ("t-1", "__consumer_offsets-0"):
        path = harness.folder / place / "00000000000000000000.log"
        topic, _, index = place.rpartition("-")
        partition = harness.broker.topics.partition(topic, int(index))
        assert partition is not None
        sizes[path] = partition.log.active.size

    def end() -> None:
        assert not harness.send(producer.end_request(is_commit), 5).is_answered

    def cut() -> None:
        for path, size in sizes.items():
            with path.open("r+b") as file:
                file.truncate(size)

    lose_states(producer, end, cut)


@pytest.mark.parametrize("name", ["last_end", "producers"])
def test_while_the_log_that_knows_of_an_end_cannot_be_read_transactions_wait(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(log: Log, *_: object) -> None:
        raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, "EMFILE")

    harness = producer.harness
    start = harness.start

    def start_without_descriptors() -> None:
        monkeypatch.setattr(Log, name, property(refuse) if name == "producers" else refuse)
        start()
        with pytest.raises(ApiError):
            harness.broker.transactions.runner(producer.transactional_id)
        # which may last, and the broker may have been down for longer than producers are remembered
        harness.broker.store.expire_producers(harness.clock.now_ms() + 2 * DAY_MS)

    monkeypatch.setattr(harness, "start", start_without_descriptors)
    lose_the_decision(producer, True)
    monkeypatch.undo()
    assert producer.state == "PrepareCommit"
    harness.flush()
    assert producer.state == "CompleteCommit"


@pytest.mark.parametrize("is_commit", [True, False])
def test_an_end_that_only_a_marker_tells_of_is_carried_out(
    producer: TransactionalProducer, is_commit: bool
) -> None:
    """Who asked for it was not answered, and does not come back."""
    harness = producer.harness
    lose_the_decision(producer, is_commit)
    assert producer.state == ("PrepareCommit" if is_commit else "PrepareAbort")
    harness.flush()
    assert producer.state == ("CompleteCommit" if is_commit else "CompleteAbort")
    assert (read(harness), read(harness, 1)) == (([b"a"], [b"b"]) if is_commit else ([], []))
    assert committed_offset(harness, stable=True) == (0, 5 if is_commit else -1)


@pytest.mark.parametrize("is_commit", [True, False])
def test_an_end_that_only_a_marker_tells_of_cannot_be_ended_otherwise(
    producer: TransactionalProducer, is_commit: bool
) -> None:
    harness = producer.harness
    lose_the_decision(producer, is_commit)
    assert producer.end(not is_commit) == ErrorCode.INVALID_TXN_STATE
    assert producer.end(is_commit) == 0
    assert (read(harness), read(harness, 1)) == (([b"a"], [b"b"]) if is_commit else ([], []))
    assert producer.produce(0, b"c")[0] == 0
    assert producer.end() == 0
    assert read(harness)[-1] == b"c"


def test_a_marker_is_not_forgotten_while_other_logs_are_recovered(producer: TransactionalProducer) -> None:
    """That may take long, and the broker may have been down for longer than producers are remembered."""
    harness = producer.harness
    harness.at_once_bytes = 0
    jobs = JobQueue(harness.disk)
    lose_the_decision(producer, True)
    recovery, store = harness.broker.recovery, harness.broker.store
    recovery.jobs, recovery.job_logs = jobs, 1
    harness.advance(0)
    recovery.run()
    store.expire_producers(harness.clock.now_ms() + 2 * DAY_MS)
    while jobs:
        jobs.run_next()
        if jobs:
            store.expire_producers(harness.clock.now_ms() + 2 * DAY_MS)
    harness.flush()
    assert producer.state == "CompleteCommit"
    assert (read(harness), read(harness, 1)) == ([b"a"], [b"b"])
    assert store.expire_producers(harness.clock.now_ms() + 2 * DAY_MS) > 0


def test_a_stop_before_it_was_looked_for_is_not_a_clean_one(producer: TransactionalProducer) -> None:
    harness = producer.harness
    lose_the_decision(producer, True)
    harness.restart()
    assert not harness.broker.store.was_clean
    assert producer.state == "PrepareCommit"
    harness.flush()
    assert (read(harness), read(harness, 1)) == ([b"a"], [b"b"])
    harness.restart()
    assert harness.broker.store.was_clean


def test_a_power_cut_while_it_is_carried_out(producer: TransactionalProducer) -> None:
    harness = producer.harness
    lose_the_decision(producer, True)
    lose_states(producer, lambda: None)
    assert producer.init() == ErrorCode.CONCURRENT_TRANSACTIONS
    harness.flush()
    assert (read(harness), read(harness, 1)) == ([b"a"], [b"b"])
    assert producer.init() == 0
    assert (producer.state, producer.epoch) == ("Empty", 2)


def test_while_the_decision_is_not_on_disk_the_next_transaction_does_not_begin(
    producer: TransactionalProducer,
) -> None:
    """Else its records bore the epoch by which the end before could be told."""
    harness = producer.harness
    producer.produce(0, b"a")
    ended = harness.send(producer.end_request(True), 5)
    producer.flush_all_but_states()
    assert ended.response().error_code == ErrorCode.NOT_COORDINATOR
    assert read(harness) == [b"a"], "its marker is on disk"
    producer.epoch += 1
    assert producer.produce(0, b"b")[0] == ErrorCode.NOT_ENOUGH_REPLICAS
    harness.restart()
    producer.epoch -= 1
    assert producer.end(False) == ErrorCode.INVALID_TXN_STATE
    assert producer.end(True) == 0
    assert read(harness) == [b"a"]


@pytest.mark.parametrize("committed", [True, False])
def test_the_end_of_the_transaction_before_is_not_taken_for_that_of_the_next(
    producer: TransactionalProducer, committed: bool
) -> None:
    """Its Complete… is lost, too: what is left says that its markers are to be written."""
    harness = producer.harness
    producer.produce(0, b"a")
    pending = harness.send(producer.end_request(committed), 5)
    flush_once(harness)
    assert pending.response().error_code == 0

    def go_on() -> None:
        producer.epoch += 1
        producer.send_produce(0, b"b")

    lose_states(producer, go_on)
    assert producer.state == "Ongoing"
    harness.flush()
    seen = [b"a"] if committed else []
    assert read(harness) == seen
    assert producer.produce(0, b"b") == (0, 2)
    assert producer.end(False) == 0
    assert read(harness) == seen


def test_while_it_cannot_be_put_back_nobody_is_served(
    producer: TransactionalProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = producer.harness
    append = Log.append
    lose_states(producer, lambda: producer.send_produce(0, b"a"))

    def full(log: Log, *arguments: object, **options: object) -> object:
        if log.topic_partition.topic == "__transaction_state":
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR)
        return append(log, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Log, "append", full)
    assert producer.produce(0, b"a")[0] == ErrorCode.NOT_ENOUGH_REPLICAS
    assert producer.end(False) == ErrorCode.NOT_COORDINATOR
    monkeypatch.undo()
    harness.advance(0)
    assert producer.produce(0, b"a") == (0, 0)
    assert producer.end() == 0
    assert read(harness) == [b"a"]


def test_after_a_clean_stop_nothing_is_looked_for(producer: TransactionalProducer) -> None:
    producer.produce(0, b"a")
    producer.harness.restart()
    assert not producer.harness.broker.transactions.still_open()
    assert producer.end() == 0
    assert read(producer.harness) == [b"a"]


def test_transactions_wait_until_all_logs_are_recovered(producer: TransactionalProducer) -> None:
    harness = producer.harness
    producer.produce(0, b"b", partition=1)
    harness.at_once_bytes = 0
    jobs = JobQueue(harness.disk)
    lose_states(producer, lambda: producer.send_produce(0, b"a"))
    recovery = harness.broker.recovery
    recovery.jobs, recovery.job_logs = jobs, 1
    harness.advance(0)
    recovery.run()
    while jobs:
        # partitions come back one by one; what is open in one of them is not believed in yet
        assert producer.produce(1, b"c", partition=1)[0] in RETRIED
        assert producer.end() == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        jobs.run_next()
    harness.flush()
    assert [topic.partitions for topic in producer.describe().topics] == [[0, 1]]
    assert producer.produce(0, b"a") == (0, 0)
    assert producer.end() == 0
    assert (read(harness), read(harness, 1)) == ([b"a"], [b"b"])
