"""Transactions: their coordinator, what may be written when, what a reader sees of it (KIP-98, KIP-890)."""

import time
from typing import Any

from odradek.core.errors import ErrorCode
from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.commits import commit, fetch_group
from tests.conformance.cases.groups import leave, lone_member
from tests.conformance.raw import batch_of

SETTLED = {"Empty", "CompleteCommit", "CompleteAbort"}


class Producer:
    """One transactional producer as its coordinator knows it, or as it believes itself to be."""

    def __init__(self, c: Conversation, word: str = "transaction", timeout_ms: int = 60_000) -> None:
        self.c = c
        self.transactional_id = c.new_name(word)
        self.timeout_ms = timeout_ms
        self.producer_id = self.epoch = -1
        find_coordinator(c, self.transactional_id)

    def init(self, version: int = 5, *, known: bool = False, noted: bool = True, **options: Any) -> Any:
        """InitProducerId; a good answer is believed. Notes whether the id is the one it had."""
        settings: dict[str, Any] = {
            "transactional_id": self.transactional_id,
            "transaction_timeout_ms": self.timeout_ms,
        }
        if known:
            settings |= {"producer_id": self.producer_id, "producer_epoch": self.epoch}
        ask = self.c.ask if noted else self.c.quietly
        answer = ask(raw.request_of("InitProducerId", **{**settings, **options}), version)
        self.believe(answer, noted)
        return answer

    def believe(self, answer: Any, noted: bool = True) -> None:
        if answer.error_code == ErrorCode.NONE and answer.producer_id >= 0:
            if noted:
                self.c.notes.append("same id" if answer.producer_id == self.producer_id else "new id")
            self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch

    def add(self, *names: str, version: int = 3, **options: Any) -> Any:
        """AddPartitionsToTxn of ``topic-partition`` names as a client sends it."""
        settings: dict[str, Any] = {
            "v3_and_below_transactional_id": self.transactional_id,
            "v3_and_below_producer_id": self.producer_id,
            "v3_and_below_producer_epoch": self.epoch,
            "v3_and_below_topics": _topics(self.c, names),
        }
        return self.c.ask(raw.request_of("AddPartitionsToTxn", **{**settings, **options}), version)

    def transaction(self, *names: str, verify_only: bool = False, **options: Any) -> Any:
        """One transaction of a batched AddPartitionsToTxn."""
        settings: dict[str, Any] = {
            "transactional_id": self.transactional_id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "verify_only": verify_only,
            "topics": _topics(self.c, names),
        }
        return raw.struct_of("AddPartitionsToTxn", "AddPartitionsToTxnTransaction", **{**settings, **options})

    def produce(
        self,
        sequence: int,
        *values: bytes,
        version: int = 12,
        partition: int = 0,
        acks: int = -1,
        **options: Any,
    ) -> Any:
        settings: dict[str, Any] = {
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "base_sequence": sequence,
            "transactional": True,
        }
        transactional_id = options.pop("transactional_id", self.transactional_id)
        records = batch_of(*(values or (b"v",)), **{**settings, **options})
        request: Any = raw.produce_request(self.c.topic, partition, records, acks)
        request.transactional_id = transactional_id
        return self.c.ask(request, version)

    def end(self, committed: bool = True, version: int = 5, *, settle: bool = True, **options: Any) -> Any:
        """EndTxn; waits for the markers unless told otherwise, and believes a bumped epoch."""
        settings: dict[str, Any] = {
            "transactional_id": self.transactional_id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "committed": committed,
        }
        answer = self.c.ask(raw.request_of("EndTxn", **{**settings, **options}), version)
        if version >= 5:
            self.believe(answer)
        if settle:
            self.settle()
        return answer

    def settle(self) -> None:
        deadline = time.monotonic() + 60
        while self._state() not in SETTLED:
            assert time.monotonic() < deadline, "the transaction does not end"
            time.sleep(0.02)

    def _state(self) -> str:
        request = raw.request_of("DescribeTransactions", transactional_ids=[self.transactional_id])
        (state,) = self.c.quietly(request).transaction_states
        return "Empty" if state.error_code else state.transaction_state

    def describe(self) -> None:
        """Notes the state, but for its start time."""
        request = raw.request_of("DescribeTransactions", transactional_ids=[self.transactional_id])
        (state,) = self.c.quietly(request).transaction_states
        topics = sorted((self.c.names.get(t.topic, t.topic), sorted(t.partitions)) for t in state.topics)
        self.c.notes.append(
            [
                ErrorCode(state.error_code).name,
                state.transaction_state,
                state.transaction_timeout_ms,
                state.transaction_start_time_ms > 0,
                "same id" if state.producer_id == self.producer_id else "another id",
                state.producer_epoch,
                topics,
            ]
        )

    def add_offsets(self, version: int = 4, **options: Any) -> Any:
        settings: dict[str, Any] = {
            "transactional_id": self.transactional_id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "group_id": self.c.group,
        }
        return self.c.ask(raw.request_of("AddOffsetsToTxn", **{**settings, **options}), version)

    def commit_offset(
        self, offset: int, version: int = 5, partition: int = 0, metadata: str | None = "", **options: Any
    ) -> Any:
        where = raw.struct_of(
            "TxnOffsetCommit",
            "TxnOffsetCommitRequestPartition",
            partition_index=partition,
            committed_offset=offset,
            committed_leader_epoch=-1,
            committed_metadata=metadata,
        )
        topic = options.pop("topic", self.c.topic)
        topics = [
            raw.struct_of("TxnOffsetCommit", "TxnOffsetCommitRequestTopic", name=topic, partitions=[where])
        ]
        settings: dict[str, Any] = {
            "transactional_id": self.transactional_id,
            "group_id": self.c.group,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "topics": topics,
        }
        return self.c.ask(raw.request_of("TxnOffsetCommit", **{**settings, **options}), version)


def find_coordinator(c: Conversation, transactional_id: str) -> None:
    """Waits until the transaction coordinator is there."""
    deadline = time.monotonic() + 60
    request = raw.request_of("FindCoordinator", key_type=1, coordinator_keys=[transactional_id])
    while c.quietly(request).coordinators[0].error_code:
        assert time.monotonic() < deadline, "no coordinator"
        time.sleep(0.05)
    describe = raw.request_of("DescribeTransactions", transactional_ids=[transactional_id])
    while c.quietly(describe).transaction_states[0].error_code != ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
        assert time.monotonic() < deadline, "the coordinator does not load"
        time.sleep(0.05)


def _topics(c: Conversation, names: tuple[str, ...]) -> list[Any]:
    found: dict[str, list[int]] = {}
    for name in names or ("0",):
        topic, _, index = name.rpartition("-")
        found.setdefault(topic or c.topic, []).append(int(index))
    return [
        raw.struct_of("AddPartitionsToTxn", "AddPartitionsToTxnTopic", name=topic, partitions=indexes)
        for topic, indexes in found.items()
    ]


def read(c: Conversation, committed: bool = True, offset: int = 0, partition: int = 0) -> None:
    request = raw.fetch_request(c.topic, partition, offset, isolation_level=int(committed))
    c.ask(request, raw.FETCH_BY_NAME)


def latest(c: Conversation, committed: bool) -> None:
    query = [
        raw.struct_of("ListOffsets", "ListOffsetsPartition", partition_index=0, timestamp=t) for t in (-1,)
    ]
    topics = [raw.struct_of("ListOffsets", "ListOffsetsTopic", name=c.topic, partitions=query)]
    c.ask(raw.request_of("ListOffsets", replica_id=-1, isolation_level=int(committed), topics=topics))


# One producer, both versions


@case
def a_transaction_of_version_2(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    p.produce(0, b"a", b"b")
    p.describe()
    p.produce(2, b"c")
    read(c)
    read(c, committed=False)
    latest(c, True)
    latest(c, False)
    p.end()
    p.describe()
    read(c)
    p.produce(0, b"d")
    p.end(False)
    p.describe()
    read(c)
    latest(c, True)


@case
def a_transaction_of_version_1(c: Conversation) -> None:
    c.create(2)
    p = Producer(c)
    p.init(4)
    p.add("0")
    p.add("0")
    p.add("0", "1")
    p.describe()
    p.produce(0, b"a", version=11)
    p.end(version=4)
    p.describe()
    p.add("0")
    p.produce(1, b"b", version=11)
    p.produce(0, b"b", version=11, partition=1)
    p.end(False, version=4)
    read(c)
    read(c, partition=1)


@case
def init_producer_id_bumps_the_epoch(c: Conversation) -> None:
    p = Producer(c)
    for version in range(6):
        p.init(version)
    p.describe()


@case
def init_producer_id_with_what_is_known(c: Conversation) -> None:
    p = Producer(c)
    p.init(known=True)
    p.init(known=True)
    before = p.epoch
    p.init(known=True)
    p.init(known=True, producer_epoch=before)
    p.init(known=True, producer_epoch=before - 1)
    p.init(known=True, producer_epoch=before - 1, version=3)
    p.init(known=True, producer_id=p.producer_id + 100_000)
    p.init(known=True, producer_id=-1)
    p.init(known=True, producer_epoch=-1)
    p.init()
    p.init(known=True, producer_epoch=p.epoch - 1)


@case
def init_producer_id_of_a_new_transactional_id_with_what_is_known(c: Conversation) -> None:
    p = Producer(c)
    p.init(producer_id=123_456_789, producer_epoch=7)


@case
def transaction_timeouts(c: Conversation) -> None:
    p = Producer(c)
    for timeout_ms in (0, -1, 900_001, 2_147_483_647, 900_000, 1):
        p.init(transaction_timeout_ms=timeout_ms)
    p.describe()


@case
def odd_transactional_ids(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.transactional_id = ""
    p.init()
    p.producer_id, p.epoch = 5, 0
    p.add()
    p.add_offsets()
    p.end(settle=False)
    p.end(version=4, settle=False)
    c.ask(raw.request_of("DescribeTransactions", transactional_ids=[""]))
    c.ask(raw.request_of("AddPartitionsToTxn", transactions=[p.transaction("0")]), 5)
    c.ask(raw.request_of("AddPartitionsToTxn", transactions=[p.transaction("0", verify_only=True)]), 5)
    p.transactional_id = c.new_name("huge" * 7_000)
    p.init()
    p.add()
    p.end()


@case
def ids_that_nobody_knows(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.producer_id, p.epoch = 5, 0
    p.add()
    p.add_offsets()
    p.end(settle=False)
    p.end(version=4, settle=False)
    p.describe()
    p.produce(0)
    p.produce(0, version=11)
    p.produce(0, version=10)
    p.produce(0, version=9)


# Fencing


@case
def stale_epochs_and_other_ids_in_every_version(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init()
    p.init()
    for epoch in (p.epoch - 1, p.epoch + 1):
        for version in range(4):
            p.add(version=version, v3_and_below_producer_epoch=epoch)
        for version in range(5):
            p.add_offsets(version, producer_epoch=epoch)
        for version in range(6):
            p.end(version=version, producer_epoch=epoch)
        for version in (9, 10, 11, 12):
            p.produce(0, version=version, producer_epoch=epoch)
        for version in range(3, 6):
            p.commit_offset(3, version, producer_epoch=epoch)
    other = p.producer_id + 100_000
    p.add(v3_and_below_producer_id=other)
    p.add_offsets(producer_id=other)
    p.end(producer_id=other)
    p.end(version=4, producer_id=other)
    for version in (11, 12):
        p.produce(0, version=version, producer_id=other)
    p.commit_offset(3, producer_id=other)


@case
def a_new_instance_fences_an_open_transaction_of_version_2(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    p.produce(0, b"a")
    p.init()
    p.settle()
    p.describe()
    p.produce(1, b"late")
    p.produce(1, b"late", version=11)
    p.end()
    p.end(version=4)
    p.init()
    p.describe()
    p.produce(0, b"b")
    p.end()
    read(c)


@case
def a_new_instance_fences_an_open_transaction_of_version_1(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init(4)
    p.add()
    p.produce(0, b"a", version=11)
    p.init(4)
    p.settle()
    p.describe()
    p.add()
    p.produce(1, b"late", version=11)
    p.end(version=4)
    p.init(4)
    p.describe()
    read(c)


@case
def a_producer_recovers_with_an_open_transaction(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    p.produce(0, b"a")
    p.init(known=True)
    p.settle()
    p.describe()
    p.init(known=True)
    p.describe()


# Ends


@case
def ends_of_version_2_and_their_retries(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    before = p.epoch
    p.end(True)
    p.end(False)
    p.describe()
    p.end(False, producer_epoch=before)
    p.end(True, producer_epoch=before)
    p.produce(0)
    before = p.epoch
    p.end(True)
    p.describe()
    p.end(True, producer_epoch=before)
    p.end(False, producer_epoch=before)
    p.end(True)
    p.end(False)
    p.end(False)
    p.describe()
    p.end(True, producer_epoch=before)
    p.end(True, producer_epoch=p.epoch + 1)
    p.produce(0)
    before = p.epoch
    p.end(False)
    p.end(False, producer_epoch=before)
    p.end(True, producer_epoch=before)
    p.end(True)
    read(c)


@case
def ends_of_version_1_and_their_retries(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init(4)
    p.end(True, version=4)
    p.end(False, version=4)
    p.add()
    p.end(True, version=4)
    p.end(True, version=4)
    p.end(False, version=4)
    p.add()
    p.end(False, version=4)
    p.end(False, version=4)
    p.end(True, version=4)
    p.end(False, version=5)
    p.describe()
    for version in range(5):
        p.add()
        p.end(version=version)
    read(c)


@case
def an_end_of_the_other_version(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    p.add()
    p.produce(0, version=11)
    p.end(version=5)
    p.describe()
    p.produce(0)
    p.end(version=4)
    p.describe()
    p.produce(1)
    p.end()
    read(c)


# What may be added


@case
def partitions_that_are_not_there_keep_the_others_out(c: Conversation) -> None:
    c.create(2)
    p = Producer(c)
    p.init(4)
    for version in range(4):
        p.add("0", "1", "7", f"{c.new_name('nobody')}-0", version=version)
    p.add("__transaction_state-0")
    p.describe()
    p.add("0", "0")
    p.describe()
    p.end(version=4)


@case
def batched_add_partitions(c: Conversation) -> None:
    c.create(2)
    p, q = Producer(c, "first"), Producer(c, "second")
    p.init()
    q.init()
    for version in (4, 5):
        both = [p.transaction("0"), q.transaction("1", verify_only=True)]
        c.ask(raw.request_of("AddPartitionsToTxn", transactions=both), version)
        both = [p.transaction("0", "1", verify_only=True), q.transaction("0")]
        c.ask(raw.request_of("AddPartitionsToTxn", transactions=both), version)
        stale = [p.transaction("0", producer_epoch=5), q.transaction("0", producer_id=5, verify_only=True)]
        c.ask(raw.request_of("AddPartitionsToTxn", transactions=stale), version)
        stale = [
            p.transaction("0", producer_epoch=5, verify_only=True),
            q.transaction("0", "9", verify_only=True),
        ]
        c.ask(raw.request_of("AddPartitionsToTxn", transactions=stale), version)
    p.describe()
    q.describe()
    p.end()
    q.end()


# What may be written


@case
def transactional_records_outside_of_a_transaction(c: Conversation) -> None:
    c.create(2)
    p = Producer(c)
    p.init()
    for version in (9, 10, 11):
        p.produce(0, version=version)
    p.produce(0, transactional_id=None)
    p.produce(0, transactional_id=c.new_name("another"))
    p.produce(0, transactional_id="")
    p.add("0")
    p.produce(0, version=11, partition=1)
    p.produce(0, version=11)
    p.produce(1, version=11, transactional_id=None)
    p.produce(1, version=11, transactional=False)
    p.produce(1, version=11, transactional=False, transactional_id=None)
    p.end(version=4)
    p.produce(1, version=11)
    read(c)


@case
def transactional_records_with_few_acks(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    p.produce(0, acks=1)
    p.produce(1, acks=2)
    p.produce(1, acks=-1)
    p.end()
    read(c)


@case
def sequences_inside_and_after_transactions(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    p.produce(3)
    p.produce(0, b"a")
    p.produce(0, b"a")
    p.produce(2, b"gap")
    p.produce(1, b"b")
    p.end(False)
    p.produce(2, b"goes on")
    p.produce(0, b"afresh")
    p.end()
    read(c)


@case
def sequences_go_on_after_an_abort_of_version_1(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init(4)
    p.add()
    p.produce(0, b"a", version=11)
    p.end(False, version=4)
    p.add()
    p.produce(1, b"b", version=11)
    p.end(version=4)
    read(c)


@case
def transactions_that_overlap(c: Conversation) -> None:
    c.create()
    p, q = Producer(c, "first"), Producer(c, "second")
    p.init()
    q.init()
    p.produce(0, b"p1")
    q.produce(0, b"q1")
    p.produce(1, b"p2")
    p.end(False)
    latest(c, True)
    read(c)
    q.produce(1, b"q2")
    p.produce(0, b"p3")
    q.end()
    read(c)
    p.end()
    read(c)
    read(c, offset=3)
    read(c, committed=False)


# Offsets


@case
def offsets_of_a_transaction_of_version_2(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init()
    p.commit_offset(5, metadata="first")
    _fetch_offsets(c)
    p.end()
    _fetch_offsets(c)
    p.commit_offset(9)
    p.commit_offset(10)
    p.end(False)
    _fetch_offsets(c)


@case
def offsets_of_a_transaction_of_version_1(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init(4)
    for version in range(5):
        p.commit_offset(4, version)
        p.add_offsets(version)
        p.commit_offset(5 + version, version, metadata=None if version else "m")
        _fetch_offsets(c)
        p.end(version=4)
        _fetch_offsets(c)


def _fetch_offsets(c: Conversation) -> None:
    wanted = [raw.struct_of("OffsetFetch", "OffsetFetchRequestTopics", name=c.topic, partition_indexes=[0])]
    for require_stable in (True, False):
        group = raw.struct_of("OffsetFetch", "OffsetFetchRequestGroup", group_id=c.group, topics=wanted)
        c.ask(raw.request_of("OffsetFetch", groups=[group], require_stable=require_stable), 9)


@case
def transactional_offsets_that_are_refused(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init()
    for version in (3, 4, 5):
        p.commit_offset(5, version, member_id="nobody")
        p.commit_offset(5, version, member_id="nobody", generation_id=3)
        p.commit_offset(5, version, generation_id=3)
        p.commit_offset(5, version, group_instance_id="nobody")
        p.commit_offset(5, version, partition=9)
        p.commit_offset(5, version, topic=c.new_name("none"))
        p.commit_offset(5, version, metadata="x" * 5_000)
        p.commit_offset(5, version, group_id="")
        p.commit_offset(5, version, topics=[])
    p.end(False)
    fetch_group(c)


@case
def transactional_offsets_of_the_members_of_a_group(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init()
    member_id = lone_member(c)
    for version in (3, 5):
        if version < 5:
            p.add_offsets()
        p.commit_offset(1, version, member_id=member_id, generation_id=1)
        p.commit_offset(2, version, member_id=member_id, generation_id=2)
        p.commit_offset(3, version, member_id=member_id, generation_id=0)
        p.commit_offset(4, version, member_id=member_id)
        p.commit_offset(5, version, member_id="nobody", generation_id=1)
        p.commit_offset(6, version, generation_id=1)
        p.commit_offset(7, version, member_id=member_id, generation_id=1, group_instance_id="nobody")
        p.commit_offset(8, version)
        p.end(version=4 if version < 5 else 5)
        _fetch_offsets(c)
    leave(c, (member_id, None))
    p.commit_offset(9, member_id=member_id, generation_id=1)
    p.commit_offset(10, member_id=member_id)
    p.end()
    _fetch_offsets(c)


@case
def transactional_offsets_of_the_members_of_a_consumer_group(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init()
    heartbeat = {"group_id": c.group, "member_id": "member", "topic_partitions": []}
    joined = c.quietly(
        raw.request_of(
            "ConsumerGroupHeartbeat",
            **heartbeat,
            member_epoch=0,
            rebalance_timeout_ms=30_000,
            subscribed_topic_names=[c.topic],
        ),
        1,
    )
    assert joined.error_code == 0
    epoch = joined.member_epoch
    for version in (4, 5):
        if version < 5:
            p.add_offsets()
        for offset, generation in enumerate((epoch, epoch + 1, epoch - 1, -1)):
            p.commit_offset(offset, version, member_id="member", generation_id=generation)
        p.commit_offset(7, version, member_id="nobody", generation_id=epoch)
        p.commit_offset(8, version, generation_id=epoch)
        p.commit_offset(9, version, member_id="nobody")
        p.commit_offset(10, version, group_instance_id="nobody")
        p.commit_offset(11, version)
        p.end(version=4 if version < 5 else 5)
        _fetch_offsets(c)


@case
def offsets_committed_beside_a_transaction(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    raw.find_coordinator(c.connection, c.group)
    p.init()
    commit(c, 3)
    p.commit_offset(5)
    commit(c, 4)
    _fetch_offsets(c)
    p.end()
    _fetch_offsets(c)
    p.commit_offset(6)
    delete = [
        raw.struct_of(
            "OffsetDelete",
            "OffsetDeleteRequestTopic",
            name=c.topic,
            partitions=[raw.struct_of("OffsetDelete", "OffsetDeleteRequestPartition", partition_index=0)],
        )
    ]
    c.ask(raw.request_of("OffsetDelete", group_id=c.group, topics=delete), 0)
    _fetch_offsets(c)
    p.end()
    _fetch_offsets(c)
    p.commit_offset(7)
    c.ask(raw.request_of("DeleteGroups", groups_names=[c.group]), 2)
    _fetch_offsets(c)
    p.end()
    _fetch_offsets(c)


# Administration


@case
def list_transactions(c: Conversation) -> None:
    c.create()
    p, q = Producer(c, "first"), Producer(c, "second")
    p.init()
    q.init()
    p.produce(0)
    mine = [p.producer_id, q.producer_id]
    for version in range(3):
        c.ask(raw.request_of("ListTransactions", producer_id_filters=mine), version)
    for states in (
        ["Ongoing"],
        ["Empty"],
        ["Ongoing", "Empty"],
        ["Dead", "PrepareEpochFence"],
        ["ongoing", "odd"],
    ):
        c.ask(raw.request_of("ListTransactions", producer_id_filters=mine, state_filters=states))
    for duration_ms in (-1, 0, 3_600_000):
        c.ask(raw.request_of("ListTransactions", producer_id_filters=mine, duration_filter=duration_ms), 1)
    for pattern in ("first.*", "fir", ".*", "", "second-.{10}", "(", "a\\", "(?i)FIRST.*", "\\Qfirst\\E.*"):
        c.ask(raw.request_of("ListTransactions", producer_id_filters=mine, transactional_id_pattern=pattern))
    p.end()
    c.ask(raw.request_of("ListTransactions", producer_id_filters=mine))


@case
def describe_producers(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    _describe_producers(c, c.topic, 0)
    p.produce(0, b"a", b"b")
    _describe_producers(c, c.topic, 0, 1)
    p.end(False)
    _describe_producers(c, c.topic, 0)
    p.produce(0, b"c")
    _describe_producers(c, c.topic, 0)
    p.end()
    _describe_producers(c, c.topic, 0)
    _describe_producers(c, c.new_name("nobody"), 0)
    _describe_producers(c, "bad name", 0)


def _describe_producers(c: Conversation, topic: str, *indexes: int) -> None:
    wanted = raw.struct_of("DescribeProducers", "TopicRequest", name=topic, partition_indexes=list(indexes))
    answer = c.quietly(raw.request_of("DescribeProducers", topics=[wanted]))
    for partition in answer.topics[0].partitions:
        producers = [
            [
                s.producer_epoch,
                s.last_sequence,
                s.last_timestamp > 0,
                s.coordinator_epoch,
                s.current_txn_start_offset,
            ]
            for s in partition.active_producers
        ]
        c.notes.append([partition.partition_index, ErrorCode(partition.error_code).name, producers])


@case
def describe_several_transactions(c: Conversation) -> None:
    p = Producer(c)
    p.init()
    ids = [p.transactional_id, c.new_name("nobody"), ""]
    answer = c.quietly(raw.request_of("DescribeTransactions", transactional_ids=ids))
    c.notes.append([[ErrorCode(s.error_code).name, s.transaction_state] for s in answer.transaction_states])


@case
def markers_written_by_an_administrator(c: Conversation) -> None:
    """What ``kafka-transactions abort`` does: the coordinator is not asked."""
    c.create()
    p = Producer(c)
    p.init()
    p.init()
    p.produce(0, b"a")
    for version in (1, 2):
        _write_marker(c, p, version, partition=5)
        _write_marker(c, p, version, producer_epoch=p.epoch - 1)
    _write_marker(c, p, 2, transaction_version=2)
    _write_marker(c, p, 1, coordinator_epoch=-1)
    read(c)
    _write_marker(c, p, 1)
    _write_marker(c, p, 1)
    _write_marker(c, p, 2, transaction_version=2)
    _write_marker(c, p, 1, coordinator_epoch=-1)
    c.ask(raw.request_of("WriteTxnMarkers", markers=[]), 1)
    read(c)
    p.end(False)
    read(c)


@case
def markers_without_a_producer(c: Conversation) -> None:
    c.create()
    p = Producer(c)
    p.init()
    for version in (1, 2):
        _write_marker(c, p, version, producer_id=-1)
        _write_marker(c, p, version, producer_epoch=-1)
    read(c)


def _write_marker(c: Conversation, p: Producer, version: int, partition: int = 0, **options: Any) -> None:
    topics = [
        raw.struct_of(
            "WriteTxnMarkers", "WritableTxnMarkerTopic", name=c.topic, partition_indexes=[partition]
        )
    ]
    settings: dict[str, Any] = {
        "producer_id": p.producer_id,
        "producer_epoch": p.epoch,
        "transaction_result": False,
        "topics": topics,
        "coordinator_epoch": 0,
    }
    marker = raw.struct_of("WriteTxnMarkers", "WritableTxnMarker", **{**settings, **options})
    c.ask(raw.request_of("WriteTxnMarkers", markers=[marker]), version)


@case
def a_transaction_runs_out_of_time(c: Conversation) -> None:
    c.create()
    p = Producer(c, timeout_ms=1)
    p.init()
    p.produce(0, b"a")
    deadline = time.monotonic() + 60
    while p._state() not in SETTLED:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    p.describe()
    p.produce(1, b"b")
    p.end()
    p.end(version=4)
    p.init(known=True)
    p.init()
    read(c)


# Features


@case
def features(c: Conversation) -> None:
    for version in (3, 4):
        request = raw.request_of("ApiVersions", client_software_name="x", client_software_version="1")
        answer = c.quietly(request, version)
        mine = ("group.version", "transaction.version")
        c.notes.append(
            [
                sorted(
                    [f.name, f.min_version, f.max_version]
                    for f in answer.supported_features
                    if f.name in mine
                ),
                sorted(
                    [f.name, f.min_version_level, f.max_version_level]
                    for f in answer.finalized_features
                    if f.name in mine
                ),
                answer.finalized_features_epoch >= 0,
            ]
        )


@case
def update_features_that_is_refused(c: Conversation) -> None:
    for version in range(3):
        for upgrade_type in (1, 2, 3, 0, 4):
            for name, level in (("transaction.version", 3), ("transaction.version", -1), ("odd.version", 1)):
                _update_features(c, version, [(name, level, upgrade_type)], version > 0)
    for version in (1, 2):
        for upgrade_type in (1, 2, 3):
            _update_features(c, version, [("transaction.version", 2, upgrade_type)], True)
            _update_features(c, version, [("transaction.version", 1, upgrade_type)], True)
            _update_features(c, version, [("transaction.version", 0, upgrade_type)], True)
        _update_features(c, version, [("transaction.version", 2, 1), ("group.version", 7, 1)], True)
        _update_features(c, version, [("transaction.version", 1, 2), ("group.version", 0, 2)], True)
        _update_features(c, version, [], True)
    _update_features(c, 2, [("", 1, 1)], True)


def _update_features(
    c: Conversation, version: int, updates: list[tuple[str, int, int]], validate_only: bool
) -> None:
    entries = [
        raw.struct_of(
            "UpdateFeatures",
            "FeatureUpdateKey",
            feature=name,
            max_version_level=level,
            **({"upgrade_type": upgrade_type} if version else {"allow_downgrade": upgrade_type > 1}),
        )
        for name, level, upgrade_type in updates
    ]
    c.ask(raw.request_of("UpdateFeatures", feature_updates=entries, validate_only=validate_only), version)
