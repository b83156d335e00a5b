"""The machine's records on their way to the disk: what they change, and who is told when they are durable."""

from functools import partial
from typing import Protocol

from odradek.coordinator.step import Now, RecordBytes, Step, Token, coordinator_error
from odradek.coordinator.transactions.effects import Initialized, Retry, WriteMarkers
from odradek.coordinator.transactions.transaction import PREPARED, Transaction
from odradek.core.errors import ErrorCode

CLOSE = "close"
CLOSE_WITHIN_MS = 100
"""How long the record that closes a transaction waits for another to go with."""
CLOSE_AGAIN_MS = 1_000
"""When such records are tried again, after the disk refused them."""


class Store(Protocol):
    """What these need of a shard."""

    transactions: dict[str, Transaction]
    undecided: dict[str, bool]
    closing: list[RecordBytes]

    def marked(self, transaction: Transaction, now: Now) -> Step: ...

    def close_later(self, delay_ms: int, now: Now) -> Step: ...


class Moved:
    """The record of a transaction's move: it is in force when appended, and told of when durable. What is
    ``closing`` lies before it, in the same batch.

    With ``is_ahead`` it decides an end whose markers are written at once, not when it is durable.
    """

    __slots__ = ("is_ahead", "moved", "outcome", "shard", "token")

    def __init__(
        self, shard: Store, moved: Transaction, token: Token | None, outcome: object, *, is_ahead: bool
    ) -> None:
        self.shard = shard
        self.moved = moved
        self.token = token
        self.outcome = outcome
        self.is_ahead = is_ahead

    def appended(self, base_offset: int) -> None:
        self.shard.closing.clear()
        self.shard.transactions[self.moved.transactional_id] = self.moved
        if self.is_ahead:
            self.shard.undecided[self.moved.transactional_id] = False

    def durable(self, now: Now) -> Step:
        if self.is_ahead and self.shard.undecided.pop(self.moved.transactional_id, False):
            step = self.shard.marked(self.moved, now)
        else:
            step = Step()
        if self.token is not None:
            step.reply(self.token, self.outcome)
        if self.moved.state in PREPARED and not self.is_ahead:
            step.effects = [WriteMarkers(self.moved)]
        return step

    def refused(self, code: ErrorCode, now: Now) -> Step:
        step = Step()
        if self.token is not None:
            step.reply(self.token, refusal(self.outcome, coordinator_error(code)))
        return step


class Closed:
    """The records of ends that are complete, which nothing else came to go with."""

    __slots__ = ("shard",)

    def __init__(self, shard: Store) -> None:
        self.shard = shard

    def appended(self, base_offset: int) -> None:
        self.shard.closing.clear()

    def durable(self, now: Now) -> None:
        return None

    def refused(self, code: ErrorCode, now: Now) -> Step:
        return self.shard.close_later(CLOSE_AGAIN_MS, now)


class Restored:
    """States that a power cut had taken, written again; ``is_refused`` when the disk does not take them."""

    __slots__ = ("is_refused", "restored", "shard")

    def __init__(self, shard: Store, restored: list[Transaction]) -> None:
        self.shard = shard
        self.restored = restored
        self.is_refused = False

    def appended(self, base_offset: int) -> None:
        for transaction in self.restored:
            self.shard.transactions[transaction.transactional_id] = transaction
            if transaction.state in PREPARED:
                self.shard.undecided[transaction.transactional_id] = False

    def durable(self, now: Now) -> Step:
        step = Step()
        step.effects = [
            Retry(partial(self.shard.marked, transaction))
            for transaction in self.restored
            if transaction.state in PREPARED and self.shard.undecided.pop(transaction.transactional_id, False)
        ]
        return step

    def refused(self, code: ErrorCode, now: Now) -> None:
        self.is_refused = True


class Forgotten:
    """Tombstones of ids that expired, behind what is ``closing``."""

    __slots__ = ("expired", "shard")

    def __init__(self, shard: Store, expired: dict[str, Transaction]) -> None:
        self.shard = shard
        self.expired = expired

    def appended(self, base_offset: int) -> None:
        self.shard.closing.clear()
        for transactional_id in self.expired:
            self.shard.transactions.pop(transactional_id, None)

    def durable(self, now: Now) -> None:
        return None

    def refused(self, code: ErrorCode, now: Now) -> None:
        return None


class _Later:
    """An answer that rests on what others wrote."""

    __slots__ = ("outcome", "token")

    def __init__(self, token: Token, outcome: object) -> None:
        self.token = token
        self.outcome = outcome

    def appended(self, base_offset: int) -> None:
        """There is nothing to append."""

    def durable(self, now: Now) -> Step:
        return answer(self.token, self.outcome)

    def refused(self, code: ErrorCode, now: Now) -> Step:
        return answer(self.token, refusal(self.outcome, coordinator_error(code)))


def answer(token: Token, outcome: object) -> Step:
    step = Step()
    step.reply(token, outcome)
    return step


def when_durable(token: Token, outcome: object) -> Step:
    step = Step()
    step.write = _Later(token, outcome)
    return step


def refusal(outcome: object, code: ErrorCode) -> object:
    """``code`` in the form in which whoever waited for ``outcome`` expects it."""
    return Initialized(code) if isinstance(outcome, Initialized) else code
