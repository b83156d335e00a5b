"""The machine's records on their way to the disk: what they change, and who is told when they are durable."""

from functools import partial
from typing import Protocol

from odradek.coordinator.step import Now, Step, Token, coordinator_error
from odradek.coordinator.transactions.effects import Initialized, Retry, WriteMarkers
from odradek.coordinator.transactions.transaction import PREPARED, State, Transaction
from odradek.core.errors import ErrorCode

COMPLETE = "complete"
COMPLETE_AGAIN_MS = 1_000
"""When the record that closes a transaction is tried again, after the disk refused it."""


class Store(Protocol):
    """What these need of a shard."""

    transactions: dict[str, Transaction]
    undecided: dict[str, bool]

    def marked(self, transaction: Transaction, now: Now) -> Step: ...


class Moved:
    """The record of a transaction's move: it is in force when appended, and told of when durable.

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
        elif self.moved.state in (State.COMPLETE_COMMIT, State.COMPLETE_ABORT):
            # The markers are written; it must not be left at that.
            key = (COMPLETE, self.moved.transactional_id)
            step.set_timer(key, now.monotonic_ms + COMPLETE_AGAIN_MS)
        return step


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
    """Tombstones of ids that expired."""

    __slots__ = ("expired", "shard")

    def __init__(self, shard: Store, expired: dict[str, Transaction]) -> None:
        self.shard = shard
        self.expired = expired

    def appended(self, base_offset: int) -> None:
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
