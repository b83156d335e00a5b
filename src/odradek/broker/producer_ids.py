"""Producer ids in blocks of a thousand: one entry of the metadata log for each block, none used twice.

What is left of a block when the broker stops is lost, as Kafka loses it; there are 2^63 of them.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from odradek.cluster.controller import allocate_producer_ids
from odradek.cluster.image import ClusterImage
from odradek.core.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


class Taker(NamedTuple):
    """Someone who asked for an id: called with one, or with why there is none."""

    taken: Callable[[int], None]
    refused: Callable[[ErrorCode], None]


class ProducerIds:
    """Hands out ids. Invariant: every id of ``_block`` is below a durable ``next_producer_id``."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._block = iter(range(0))
        self._waiting: deque[Taker] = deque()

    def take(self, taker: Taker) -> None:
        """Gives ``taker`` an id, at once when there is one, else when the next block is durable."""
        self._waiting.append(taker)
        if len(self._waiting) == 1:
            self._serve()

    def _serve(self) -> None:
        while self._waiting:
            producer_id = next(self._block, None)
            if producer_id is None:
                self._allocate()
                return
            self._waiting.popleft().taken(producer_id)

    def _allocate(self) -> None:
        broker = self._broker
        change = allocate_producer_ids(broker.metadata.proposed, broker.node_id)

        def allocated(image: ClusterImage | ApiError) -> None:
            if isinstance(image, ApiError):
                self._refuse_all(image.code)
                return
            self._block = iter(change.result)
            self._serve()

        try:
            broker.metadata.commit(change, allocated)
        except ApiError as error:
            self._refuse_all(error.code)

    def _refuse_all(self, code: ErrorCode) -> None:
        while self._waiting:
            self._waiting.popleft().refused(code)
