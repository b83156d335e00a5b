"""A broker that serves while logs are still recovered: what clients are told, and how they come online."""

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odradek.broker import health
from odradek.broker.partitions import OFFSETS_TOPIC
from odradek.broker.recovery import MOST_TRIES, REST_MS, TELL_MS, Recovery, RecoveryProgress
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from odradek.protocol.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest
from odradek.protocol.generated.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest, FetchTopic
from odradek.protocol.generated.find_coordinator import FindCoordinatorRequest
from odradek.protocol.generated.list_groups import ListGroupsRequest
from odradek.protocol.generated.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic
from odradek.protocol.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.storage.jobs import Job, JobFailedError, JobQueue, Outcome, Submitted

from .group_client import commit_request, committed, with_groups
from .harness import Harness, batch
from .test_traffic import create
from .transaction_client import TransactionalProducer, read
from .transaction_client import create_topic as create_transactional

INTERNAL = {"offsets_topic_num_partitions": "1", "transaction_state_log_num_partitions": "1"}


def produce(harness: Harness, name: str, index: int, *values: bytes, **fields: int) -> int:
    records = batch(*values, **fields)
    data = TopicProduceData(name=name, partition_data=[PartitionProduceData(index=index, records=records)])
    answer = harness.call(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]), version=12)
    code: int = answer.responses[0].partition_responses[0].error_code
    return code


def fetch(harness: Harness, name: str, index: int, **fields: int) -> Any:
    partition = FetchPartition(partition=index, partition_max_bytes=1 << 20, **fields)
    request = FetchRequest(
        max_wait_ms=0, max_bytes=1 << 20, topics=[FetchTopic(topic=name, partitions=[partition])]
    )
    return harness.call(request, version=12).responses[0].partitions[0]


def end_offset(harness: Harness, name: str, index: int) -> tuple[int, int]:
    partition = ListOffsetsPartition(partition_index=index, timestamp=-1)
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=name, partitions=[partition])])
    (found,) = harness.call(request, 5).topics[0].partitions
    return found.error_code, found.offset


def described(harness: Harness, name: str) -> list[tuple[int, int, list[int]]]:
    request = MetadataRequest(topics=[MetadataRequestTopic(name=name)])
    (topic,) = harness.call(request, 9).topics
    return [(one.error_code, one.leader_id, one.offline_replicas) for one in topic.partitions]


def crash(harness: Harness) -> JobQueue:
    """Killed and started again; the recovery's jobs wait until the test does them."""
    harness.broker.close(is_clean=False)
    harness.at_once_bytes = 0
    harness.start()
    queue = harness.broker.recovery.jobs = JobQueue(harness.disk)
    harness.broker.recovery.job_logs = 1
    harness.broker.run_timers()
    return queue


def recover(harness: Harness, queue: JobQueue) -> None:
    harness.broker.recovery.run()
    while queue:
        queue.run_next()


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    harness = Harness(tmp_path, **INTERNAL)
    create(harness, "a")
    for number in range(2):
        assert produce(harness, "a", number, b"one", b"two") == 0
    return harness


def test_what_clients_are_told_meanwhile(harness: Harness) -> None:
    crash(harness)
    assert described(harness, "a") == [(ErrorCode.LEADER_NOT_AVAILABLE, harness.broker.node_id, [])] * 2
    request = DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name="a")], response_partition_limit=10, cursor=None
    )
    (topic,) = harness.call(request, 0).topics
    assert [(one.error_code, one.leader_id, one.offline_replicas) for one in topic.partitions] == [
        (ErrorCode.LEADER_NOT_AVAILABLE, harness.broker.node_id, [])
    ] * 2
    assert produce(harness, "a", 0, b"no") == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert fetch(harness, "a", 0).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert fetch(harness, "a", 0, last_fetched_epoch=0).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert end_offset(harness, "a", 0) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)
    partition = DeleteRecordsPartition(partition_index=0, offset=-1)
    delete = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name="a", partitions=[partition])])
    (refused,) = harness.call(delete, 2).topics[0].partitions
    assert refused.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_partitions_come_online_one_by_one(harness: Harness) -> None:
    queue = crash(harness)
    harness.broker.recovery.run()
    queue.run_next()
    assert [code for code, _, _ in described(harness, "a")] == [0, ErrorCode.LEADER_NOT_AVAILABLE]
    assert end_offset(harness, "a", 0) == (0, 2)
    assert produce(harness, "a", 0, b"three") == 0
    assert produce(harness, "a", 1, b"three") == ErrorCode.NOT_LEADER_OR_FOLLOWER
    queue.run_next()
    assert end_offset(harness, "a", 1) == (0, 2)
    assert health.look(harness.broker).problems == []


def test_progress_and_health(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "odradek.recovery")
    queue = crash(harness)
    total = sum(harness.broker.store.recovering.sizes.values())
    assert harness.broker.recovery.progress == RecoveryProgress(2, 0, total)
    found = health.look(harness.broker)
    assert (found.offline, found.recovery.partitions) == ({}, 2)
    assert found.problems == ["2 partitions are being recovered, 0 of 0 MB are checked"]
    harness.broker.recovery.run()
    queue.run_next()
    assert harness.broker.recovery.progress == RecoveryProgress(1, total // 2, total)
    harness.clock.advance(TELL_MS)
    harness.broker.recovery.run()
    queue.run_next()
    assert harness.broker.recovery.progress == RecoveryProgress(0, 0, 0)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert told[0].startswith("recovery: 2 partitions were not closed cleanly; 0.0 MB")
    assert told[1].startswith("recovery: 1 of 2 partitions are done")
    assert told[2].startswith("recovery: all 2 partitions are done after 5.0 s")
    harness.broker.recovery.run()
    assert len(caplog.records) == 3, "it is over"


def test_groups_come_with_their_partition_which_is_first(harness: Harness) -> None:
    with_groups(harness)
    assert harness.call(commit_request(7), 8).topics[0].partitions[0].error_code == 0
    queue = crash(harness)
    (found,) = harness.call(FindCoordinatorRequest(coordinator_keys=["g"]), 4).coordinators
    assert found.error_code == 0
    refused = harness.call(commit_request(8), 8).topics[0].partitions[0].error_code
    assert refused == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert harness.call(ListGroupsRequest(), 4).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    harness.broker.recovery.run()
    queue.run_next()
    partition = harness.broker.topics.partition(OFFSETS_TOPIC, 0)
    assert partition is not None
    assert not partition.log.is_recovering
    assert committed(harness) == {"t-0": 7}
    assert described(harness, "a")[0][0] == ErrorCode.LEADER_NOT_AVAILABLE


def test_what_a_coordinator_refuses_meanwhile_is_no_fault(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    with_groups(harness)
    harness.call(commit_request(7), 8)
    crash(harness)
    for offset in range(40):  # so often that it would be learnt by its bytes
        assert (
            harness.call(commit_request(offset), 8).topics[0].partitions[0].error_code
            == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        )
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_transactions_wait_for_all_logs(tmp_path: Path) -> None:
    harness = Harness(tmp_path, **INTERNAL)
    create_transactional(harness, 2)
    producer = TransactionalProducer(harness)
    producer.init()
    assert producer.produce(0, b"kept")[0] == 0
    queue = crash(harness)
    harness.broker.recovery.run()
    queue.run_next()  # the coordinator's
    queue_of_rest = len(queue)
    assert producer.end() == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert queue_of_rest
    recover(harness, queue)
    assert producer.end() == 0
    assert read(harness) == [b"kept"]


def test_a_topic_is_deleted_meanwhile(harness: Harness) -> None:
    queue = crash(harness)
    harness.broker.recovery.run()
    assert harness.call(DeleteTopicsRequest(topic_names=["a"], timeout_ms=1), 5).responses[0].error_code == 0
    create(harness, "a")
    assert produce(harness, "a", 0, b"new") == ErrorCode.KAFKA_STORAGE_ERROR, "a job still has its folder"
    recover(harness, queue)
    harness.broker.housekeep()
    assert produce(harness, "a", 0, b"new") == 0
    assert end_offset(harness, "a", 0) == (0, 1)


def test_partitions_are_added_meanwhile(harness: Harness) -> None:
    queue = crash(harness)
    topic = CreatePartitionsTopic(name="a", count=3, assignments=None)
    assert harness.call(CreatePartitionsRequest(topics=[topic], timeout_ms=1), 3).results[0].error_code == 0
    assert produce(harness, "a", 2, b"new") == 0
    recover(harness, queue)
    assert [end_offset(harness, "a", index) for index in range(3)] == [(0, 2), (0, 2), (0, 1)]


def test_a_log_whose_owner_is_not_told_is_named_when_it_comes(harness: Harness) -> None:
    path = Path(harness.folder, "a-0", "partition.metadata")
    content = path.read_bytes()
    harness.broker.close(is_clean=False)
    path.write_bytes(b"")
    harness.at_once_bytes = 0
    harness.start()
    queue = harness.broker.recovery.jobs = JobQueue(harness.disk)
    recover(harness, queue)
    assert end_offset(harness, "a", 0) == (0, 2)
    assert path.read_bytes() == content


def test_a_log_of_an_earlier_topic_is_set_aside_at_the_start(harness: Harness) -> None:
    """The broker was killed before it came to it, and the new one has no records yet."""
    create(harness, "b")
    harness.broker.close(is_clean=False)
    shutil.copytree(harness.folder / "a-0", harness.folder / "b-0", dirs_exist_ok=True)
    path = Path(harness.folder, "b-0", "partition.metadata")
    path.write_bytes(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAFw")
    harness.at_once_bytes = 0
    harness.start()
    queue = harness.broker.recovery.jobs = JobQueue(harness.disk)
    assert end_offset(harness, "b", 0) == (0, 0)
    recover(harness, queue)
    assert [end_offset(harness, name, 0) for name in ("a", "b")] == [(0, 2), (0, 0)]


class DyingJobs:
    """A runner whose processes end before they have told anything."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Job, Callable[[Outcome], None]]] = []

    def submit(self, job: Job, done: Callable[[Outcome], None], on_part: Any = None) -> Submitted:
        self.waiting.append((job, done))
        return Submitted(job)


def test_logs_whose_process_dies_are_tried_again_one_by_one_and_then_given_up(harness: Harness) -> None:
    crash(harness)
    dying = DyingJobs()
    recovery: Recovery = harness.broker.recovery
    recovery.jobs, recovery.job_logs = dying, 10
    recovery.run()
    sizes = []
    while dying.waiting:
        job, done = dying.waiting.pop(0)
        sizes.append(len(job.argument))
        done(Outcome(error=JobFailedError("the process ended early")))
    assert sizes == [2] + [1] * (2 * (MOST_TRIES - 1))
    found = health.look(harness.broker)
    assert len(found.offline) == 2
    assert all("ended early" in reason for reason in found.offline.values())
    assert described(harness, "a")[0] == (ErrorCode.KAFKA_STORAGE_ERROR, -1, [harness.broker.node_id])


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Outcome(errno.ENOSPC), "there is no room on the disk"),
        (Outcome(errno.EMFILE), "too many files are open (EMFILE; raise ulimit -n"),
        (Outcome(errno.ENOMEM), "there is not enough memory"),
        (Outcome(error=OSError(errno.EAGAIN, "no process")), "too many processes"),
    ],
)
def test_logs_for_which_something_is_lacking_are_tried_until_it_is_there(
    harness: Harness, caplog: pytest.LogCaptureFixture, outcome: Outcome, told: str
) -> None:
    crash(harness)
    short = DyingJobs()
    recovery: Recovery = harness.broker.recovery
    recovery.jobs, recovery.job_logs = short, 10
    for _ in range(MOST_TRIES + 1):
        recovery.run()
        ((_, done),) = short.waiting
        short.waiting.clear()
        done(outcome)
        recovery.run()
        assert short.waiting == []
        harness.clock.advance(REST_MS)
    assert told in caplog.text
    assert caplog.text.count("to recover 2 partitions, it is tried every 5 s: a-0, a-1") == 1
    assert not health.look(harness.broker).offline
    queue = recovery.jobs = JobQueue(harness.disk)
    recover(harness, queue)
    assert [end_offset(harness, "a", index) for index in range(2)] == [(0, 2), (0, 2)]
