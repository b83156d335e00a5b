"""Incremental fetch sessions (KIP-227): what a consumer reads is kept here, so that it sends only changes.

Transitions of a fetch request (session id, session epoch):

    (0, -1)      full fetch, no session
    (any, 0)     full fetch, a new session is made if there is room (an old one of that id ends)
    (id, -1)     full fetch, the session ends
    (id, n > 0)  incremental: n must be the session's epoch, which then moves on

Source: Kafka's ``FetchManager`` / ``FetchSession``.
"""

from collections.abc import Iterator

from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import Randomness, TopicId
from odradek.protocol.generated.fetch import FetchPartition, FetchRequest

TOPIC_IDS_FROM_VERSION = 13
FINAL_EPOCH = -1
INITIAL_EPOCH = 0
MIN_EVICTION_MS = 120_000
"""How long a session must have been idle before a new one may take its slot (Kafka's constant)."""


class WantedPartition:
    """One partition that a fetch asks for, and what its session told the consumer last."""

    __slots__ = (
        "current_leader_epoch",
        "fetch_offset",
        "index",
        "last_fetched_epoch",
        "max_bytes",
        "told_high_watermark",
        "told_log_start_offset",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: TopicId, asked: FetchPartition) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.index = asked.partition
        self.told_high_watermark = -1
        self.told_log_start_offset = -1
        self.update(asked)

    def update(self, asked: FetchPartition) -> None:
        self.fetch_offset = asked.fetch_offset
        self.current_leader_epoch = asked.current_leader_epoch
        self.last_fetched_epoch = asked.last_fetched_epoch
        self.max_bytes = asked.partition_max_bytes

    @property
    def key(self) -> tuple[str | TopicId, int]:
        return (self.topic or self.topic_id, self.index)


def partitions_of(request: FetchRequest) -> Iterator[WantedPartition]:
    """Everything that one request names, in its order."""
    for topic in request.topics:
        for asked in topic.partitions:
            yield WantedPartition(topic.topic, topic.topic_id, asked)


class FetchSession:
    """One consumer's set of partitions, kept in the order in which they are served next."""

    __slots__ = ("epoch", "last_used_ms", "partitions", "session_id", "uses_topic_ids")

    def __init__(self, session_id: int, uses_topic_ids: bool, now_ms: int) -> None:
        self.session_id = session_id
        self.uses_topic_ids = uses_topic_ids
        self.epoch = 1
        self.last_used_ms = now_ms
        self.partitions: dict[tuple[str | TopicId, int], WantedPartition] = {}

    def update(self, request: FetchRequest) -> None:
        """Adds, changes and forgets partitions as an incremental request says."""
        for topic in request.topics:
            for asked in topic.partitions:
                known = self.partitions.get((topic.topic or topic.topic_id, asked.partition))
                if known is not None:
                    known.update(asked)
                else:
                    wanted = WantedPartition(topic.topic, topic.topic_id, asked)
                    self.partitions[wanted.key] = wanted
        for forgotten in request.forgotten_topics_data:
            for index in forgotten.partitions:
                self.partitions.pop((forgotten.topic or forgotten.topic_id, index), None)

    def serve_last(self, wanted: WantedPartition) -> None:
        """Moves a partition that just gave data behind the others, so that none starves."""
        if self.partitions.pop(wanted.key, None) is not None:
            self.partitions[wanted.key] = wanted

    def repeat(self, asked: FetchPartition, high_watermark: int, log_start_offset: int) -> None:
        """Takes in a request for its only partition, and what it was answered."""
        (wanted,) = self.partitions.values()
        wanted.update(asked)
        wanted.told_high_watermark = high_watermark
        wanted.told_log_start_offset = log_start_offset


class FetchSessions:
    """The sessions of one broker, at most ``slots`` of them; the longest idle gives way first."""

    def __init__(self, slots: int, randomness: Randomness) -> None:
        self._slots = slots
        self._randomness = randomness
        self._sessions: dict[int, FetchSession] = {}
        """Ordered by last use: a used session is put back at the end."""

    def __len__(self) -> int:
        return len(self._sessions)

    def resolve(self, request: FetchRequest, version: int, now_ms: int) -> FetchSession | None:
        """The session that ``request`` runs in, made or updated as it asks; ``None`` for a plain full fetch.

        Raises :class:`ApiError` FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or
        FETCH_SESSION_TOPIC_ID_ERROR.
        """
        uses_topic_ids = version >= TOPIC_IDS_FROM_VERSION
        if request.session_epoch in (FINAL_EPOCH, INITIAL_EPOCH):
            self._sessions.pop(request.session_id, None)
            if request.session_epoch == FINAL_EPOCH:
                return None
            return self._create(request, uses_topic_ids, now_ms)
        session = self._sessions.get(request.session_id)
        if session is None:
            raise ApiError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            raise ApiError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.uses_topic_ids != uses_topic_ids:
            raise ApiError(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        session.update(request)
        self.used(session, now_ms)
        return session

    def of_one_partition(
        self, session_id: int, epoch: int, key: tuple[str | TopicId, int]
    ) -> FetchSession | None:
        """The session of that id, if it is at ``epoch`` and of the one partition ``key`` only."""
        session = self._sessions.get(session_id)
        if session is None or session.epoch != epoch:
            return None
        return session if len(session.partitions) == 1 and key in session.partitions else None

    def used(self, session: FetchSession, now_ms: int) -> None:
        """Moves ``session`` on to its next epoch, as one request has been taken in."""
        self._sessions[session.session_id] = self._sessions.pop(session.session_id)
        session.last_used_ms = now_ms
        session.epoch = session.epoch + 1 if session.epoch < 0x7FFFFFFF else 1

    def forget_told(self, session_id: int) -> None:
        """An answer was held back: its consumer knows nothing of what stood in it."""
        session = self._sessions.get(session_id)
        for wanted in session.partitions.values() if session is not None else ():
            wanted.told_high_watermark = wanted.told_log_start_offset = -1

    def _create(self, request: FetchRequest, uses_topic_ids: bool, now_ms: int) -> FetchSession | None:
        wanted = {partition.key: partition for partition in partitions_of(request)}
        if not wanted or not self._make_room(now_ms):
            return None
        session = FetchSession(self._new_id(), uses_topic_ids, now_ms)
        session.partitions = wanted
        self._sessions[session.session_id] = session
        return session

    def _make_room(self, now_ms: int) -> bool:
        if len(self._sessions) < self._slots:
            return True
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None or now_ms - oldest.last_used_ms < MIN_EVICTION_MS:
            return False
        del self._sessions[oldest.session_id]
        return True

    def _new_id(self) -> int:
        while True:
            candidate = int.from_bytes(self._randomness.randbytes(4), "big") & 0x7FFFFFFF
            if candidate and candidate not in self._sessions:
                return candidate
