"""What the transaction machine answers, and what else it asks its driver for."""

from collections.abc import Callable
from typing import NamedTuple

from odradek.coordinator.step import Now, Producer, Step, Token
from odradek.coordinator.transactions.transaction import NO_EPOCH, NO_PRODUCER_ID, Transaction
from odradek.core.errors import ErrorCode


class Initialized(NamedTuple):
    """What InitProducerId and EndTxn come to; without a producer the ids are -1."""

    code: ErrorCode
    producer: Producer = Producer(NO_PRODUCER_ID, NO_EPOCH)


class TakeProducerId(NamedTuple):
    """Effect: get a producer id that nobody had, and perform ``taken(id)``; or ``refused(code)``."""

    taken: Callable[[int, Now], Step]
    refused: Callable[[ErrorCode], Step]


class WriteMarkers(NamedTuple):
    """Effect: write the end of this transaction into its partitions, then perform ``shard.marked(self)``."""

    transaction: Transaction


class InForce(NamedTuple):
    """Effect: if ``transaction`` is what the shard knows now, as its record was not refused, tell ``token``
    that the partitions may be written to already. What is answered waits for the record, too."""

    token: Token
    transaction: Transaction


class Retry(NamedTuple):
    """Effect: perform ``run(now)``, which had to wait."""

    run: Callable[[Now], Step]
