"""The machine's records on their way to the disk: what they change, and who is told when they are durable."""

from functools import partial
from typing import Protocol

from odradek.coordinator.step import Now, PlainWrite, RecordBytes, Step, Token, coordinator_error
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


class Moved(PlainWrite):
    """The record of a move: it is in force when appended, and told of when durable. What is ``closing`` lies
    before it, in the same batch."""

    __slots__ = ("_moved", "_shard")

    def __init__(self, shard: Store, moved: Transaction, token: Token, response: object) -> None:
        self._shard = shard
        self._moved = moved
        self.token = token
        self.response = response

    def appended(self, base_offset: int) -> None:
        self._shard.closing.clear()
        self._shard.transactions[self._moved.transactional_id] = self._moved

    def refused(self, code: ErrorCode, now: Now) -> Step:
        return answer(self.token, refusal(self.response, coordinator_error(code)))


class Decided:
    """Likewise, but of the move that decides an end. With ``is_ahead`` its markers are written at once, else
    when it is durable. Without a token nobody is told."""

    __slots__ = ("_decided", "_is_ahead", "_outcome", "_shard", "_token")

    def __init__(
        self, shard: Store, decided: Transaction, token: Token | None, outcome: object, *, is_ahead: bool
    ) -> None:
        self._shard = shard
        self._decided = decided
        self._token = token
        self._outcome = outcome
        self._is_ahead = is_ahead

    def appended(self, base_offset: int) -> None:
        transactional_id = self._decided.transactional_id
        self._shard.closing.clear()
        self._shard.transactions[transactional_id] = self._decided
        if self._is_ahead:
            self._shard.undecided[transactional_id] = False

    def durable(self, now: Now) -> Step:
        if self._is_ahead and self._shard.undecided.pop(self._decided.transactional_id, False):
            step = self._shard.marked(self._decided, now)
        else:
            step = Step()
        if self._token is not None:
            step.reply(self._token, self._outcome)
        if not self._is_ahead:
            step.effects = [WriteMarkers(self._decided)]
        return step

    def refused(self, code: ErrorCode, now: Now) -> Step:
        if self._token is None:
            return Step()
        return answer(self._token, refusal(self._outcome, coordinator_error(code)))


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
