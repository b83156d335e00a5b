"""What one input to a coordinator leads to: records to append, replies to release, timers to set.

The driver (``broker/shard_runner.py``) performs a step in this order:

1. ``records`` are appended to the coordinator's partition, if there are any.
   When the append is accepted, ``write.appended(base_offset)`` makes the records part of the machine's
   state. When it is refused (too large, disk full: nothing was written) ``write.refused(code, now)`` gives
   a second step that takes back what the first one did and carries the error replies.
   Nothing comes between the step and this moment, so neither ever meets a state that moved on.
2. ``replies`` are released, ``timers`` set and ``effects`` performed, then those of the second step: they
   promise nothing that must survive a crash.
3. Once the records are durable, ``write.durable(now)`` gives the step that follows, with the replies that
   had to wait. Meanwhile other inputs were served, so it looks at the state afresh. A step without records
   may have a ``write`` too: then everything written before it is waited for, as what it says rests on that.

An append that was accepted and then cannot be made durable takes the partition offline. Then the whole
machine is unloaded: everyone who waits is told NOT_COORDINATOR, and it is rebuilt by replay when the
partition is back. There is no undo for it, as nobody can know what the disk holds. ``write.refused`` is
called all the same, for the replies that it carries; nothing else of its step counts then.

Source of the idea: Kafka's ``CoordinatorResult``; Kafka reverts to a snapshot where we call ``refused``.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from odradek.core.errors import ErrorCode

Token = Any
"""Names one reply that is owed; the machine only stores it and hands it back, once."""

TimerKey = tuple[str, ...]
"""Names one timer: its kind first, then whom it is for. Setting a timer replaces the one of that key."""

RecordBytes = tuple[bytes, bytes | None]
"""Key and value of a record of an internal topic; without a value it is a tombstone."""


class Now(NamedTuple):
    """The time of an input: what people call it, and what deadlines are kept in (both milliseconds)."""

    wall_ms: int
    monotonic_ms: int


class Producer(NamedTuple):
    """A transactional producer, as batches name it."""

    producer_id: int
    epoch: int


class Write(Protocol):
    """Who is told what became of a step's records."""

    def appended(self, base_offset: int) -> None: ...

    def durable(self, now: Now) -> "Step | None": ...

    def refused(self, code: ErrorCode, now: Now) -> "Step | None": ...


class Step:
    """The effects of one input; empty when there are none."""

    __slots__ = ("effects", "is_atomic", "is_urgent", "producer", "records", "replies", "timers", "write")

    def __init__(self) -> None:
        self.records: list[RecordBytes] = []
        self.is_atomic = True
        """All records must go into one batch; else the driver may split them."""
        self.is_urgent = True
        """Somebody waits for the records to be durable; else they may wait for others to be flushed with."""
        self.producer: Producer | None = None
        """Whose transaction the records belong to; they are one batch then."""
        self.write: Write | None = None
        self.replies: list[tuple[Token, Any]] = []
        self.timers: list[tuple[TimerKey, int | None]] = []
        """Deadlines on the monotonic clock; ``None`` cancels."""
        self.effects: Sequence[Any] = ()
        """What else is to be done, in the words of the machine at hand."""

    def reply(self, token: Token, response: Any) -> None:
        self.replies.append((token, response))

    def set_timer(self, key: TimerKey, deadline_ms: int) -> None:
        self.timers.append((key, deadline_ms))

    def cancel_timer(self, key: TimerKey) -> None:
        self.timers.append((key, None))


class PlainWrite:
    """A write that leads to nothing but its reply once it is durable."""

    __slots__ = ("response", "token")

    token: Token
    response: Any

    def durable(self, now: Now) -> Step:
        step = Step()
        step.replies.append((self.token, self.response))
        return step


class ReplyWhenDurable(PlainWrite):
    """The plainest write: state changes when appended, the reply goes when durable.

    ``apply`` gets the offset of the first record. ``refuse`` makes the response for a refused append.
    """

    __slots__ = ("apply", "refuse")

    def __init__(
        self,
        token: Token,
        response: Any,
        apply: Callable[[int], None],
        refuse: Callable[[ErrorCode], Any],
    ) -> None:
        self.token = token
        self.response = response
        self.apply = apply
        self.refuse = refuse

    def appended(self, base_offset: int) -> None:
        self.apply(base_offset)

    def refused(self, code: ErrorCode, now: Now) -> Step:
        step = Step()
        step.replies.append((self.token, self.refuse(code)))
        return step


_ERRORS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.INVALID_FETCH_SIZE: ErrorCode.UNKNOWN_SERVER_ERROR,
}


def coordinator_error(code: ErrorCode) -> ErrorCode:
    """What a client of the coordinator is told when an append failed with ``code``: clients know how to
    go on after these, not after errors of a partition that they never asked for.

    Source: ``CoordinatorOperationExceptionHelper.handleOperationException``.
    """
    return _ERRORS.get(code, code)
