"""The commit of a client in a loop: one partition, the same but for the offset and its leader epoch.

All that is the same each time is made once: the record's key, the bytes around the numbers in its value, the
response. Whether the client may commit is checked each time as for any other (``GroupShard.admit_commit``).
"""

from struct import Struct

from odradek.coordinator import records
from odradek.coordinator.kept_offset import keep
from odradek.coordinator.offset_writes import DEFAULT_RETENTION, Store
from odradek.coordinator.step import Now, PlainWrite, Step, Token, coordinator_error
from odradek.core.errors import ErrorCode
from odradek.core.ids import ZERO_ID
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)


class PreparedCommit:
    """Such a commit, but for its numbers.

    ``request`` is for one partition of one topic, which exists and has name and id; one like it was let in
    before. Its own offset is not looked at.
    """

    __slots__ = (
        "_api_version",
        "_first",
        "_key",
        "_last",
        "_middle",
        "_pack_value",
        "_request",
        "_topics",
        "group_id",
        "index",
        "metadata",
        "response",
        "store",
        "topic_id",
        "topic_name",
    )

    def __init__(self, store: Store, request: OffsetCommitRequest, api_version: int) -> None:
        (topic,) = self._topics = request.topics
        (partition,) = topic.partitions
        assert request.retention_time_ms == DEFAULT_RETENTION
        self.store = store
        self._request = request
        self._api_version = api_version
        self.group_id = request.group_id
        self.topic_name, self.topic_id = topic.name, topic.topic_id or ZERO_ID
        self.index = partition.partition_index
        self.metadata = partition.committed_metadata or ""
        self.response = self.answer(ErrorCode.NONE)
        self._key = records.offset_key(self.group_id, self.topic_name, self.index)
        value = records.offset_value_stencil(self.metadata, self.topic_id)
        self._first, self._middle, self._last = value.fixed
        self._pack_value = Struct(">" + value.layout).pack

    def answer(self, code: ErrorCode) -> OffsetCommitResponse:
        """The response that says ``code``."""
        partition = OffsetCommitResponsePartition(partition_index=self.index, error_code=code)
        topic = OffsetCommitResponseTopic(
            name=self.topic_name, topic_id=self.topic_id, partitions=[partition]
        )
        return OffsetCommitResponse(topics=[topic])

    def commit(self, offset: int, leader_epoch: int, token: Token, now: Now) -> Step:
        """The step of one such commit; its reply is ``response``, that very object, when all goes well.
        Raises :class:`ApiError` when the client is not let in."""
        step = Step()
        self.store.admit_commit(step, self._request, self._topics, self._api_version, now)
        value = self._pack_value(self._first, offset, leader_epoch, self._middle, now.wall_ms, self._last)
        step.records.append((self._key, value))
        step.write = _Commit(self, offset, leader_epoch, now.wall_ms, token)
        return step


class _Commit(PlainWrite):
    """The record of one such commit."""

    __slots__ = ("_leader_epoch", "_offset", "_prepared", "_wall_ms")

    def __init__(
        self, prepared: PreparedCommit, offset: int, leader_epoch: int, wall_ms: int, token: Token
    ) -> None:
        self._prepared = prepared
        self._offset = offset
        self._leader_epoch = leader_epoch
        self._wall_ms = wall_ms
        self.token = token
        self.response = prepared.response

    def appended(self, base_offset: int) -> None:
        prepared = self._prepared
        store, group_id = prepared.store, prepared.group_id
        store.make_simple_group(group_id)
        kept = keep(
            self._offset,
            self._leader_epoch,
            prepared.metadata,
            self._wall_ms,
            -1,
            prepared.topic_id,
            base_offset,
        )
        store.offsets.put(group_id, prepared.topic_name, prepared.index, kept)

    def refused(self, code: ErrorCode, now: Now) -> Step:
        step = Step()
        step.reply(self.token, self._prepared.answer(coordinator_error(code)))
        return step
