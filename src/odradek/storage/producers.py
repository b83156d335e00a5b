"""What a partition knows of its idempotent and transactional producers.

Source: ``ProducerStateManager``, ``ProducerStateEntry``, ``ProducerAppendInfo`` (KIP-98, KIP-360). As
there, a producer of which nothing is known may start with any sequence number; UNKNOWN_PRODUCER_ID is no
longer given.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition
from odradek.records.batch import BatchHeader, previous_sequence
from odradek.records.control import EndTransactionMarker

BATCHES_KEPT = 5
"""As many as a producer may have in flight: each of them can be recognized when it comes again."""
NO_TRANSACTION = -1


class Vouched(IntEnum):
    """What is known of the transaction that a batch says to be part of."""

    NOTHING = 0
    """Whoever sent it named no transactional id."""
    ONGOING = 1
    """It goes on with a transaction that is open in this partition."""
    VERIFIED = 2
    """The coordinator has the partition in the producer's transaction."""
    ADDED = 3
    """The same, and it was put there for this batch, so a producer without history begins with sequence 0."""


NOTHING = Vouched.NOTHING


class KeptBatch(NamedTuple):
    """One of a producer's last batches."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_offset(self) -> int:
        return self.last_offset - self.offset_delta

    @property
    def first_sequence(self) -> int:
        return previous_sequence(self.last_sequence, self.offset_delta)


class Producer:
    """State of one producer id; ``seen_ms`` is when it last wrote by our clock, not persisted."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "epoch",
        "last_sequence",
        "last_timestamp",
        "producer_id",
        "seen_ms",
        "transaction_start",
    )

    def __init__(
        self,
        producer_id: int,
        epoch: int = -1,
        coordinator_epoch: int = -1,
        last_timestamp: int = -1,
        transaction_start: int = NO_TRANSACTION,
    ) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.coordinator_epoch = coordinator_epoch
        self.last_timestamp = last_timestamp
        self.transaction_start = transaction_start
        self.last_sequence = -1
        self.seen_ms = 0
        self.batches: list[KeptBatch] = []

    def set_epoch(self, epoch: int) -> None:
        """With a new epoch sequences start afresh."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.batches.clear()
            self.last_sequence = -1

    def add(self, batch: KeptBatch) -> None:
        batches = self.batches
        batches.append(batch)
        if len(batches) > BATCHES_KEPT:
            del batches[0]
        self.last_sequence = batch.last_sequence
        self.last_timestamp = batch.timestamp

    def recall(self, earlier: list[KeptBatch]) -> None:
        """Takes back batches that a snapshot, which holds one for each producer, has left out.

        ``earlier`` are this producer's last batches as the log has them; only an unbroken run of sequences
        that ends in the one batch known counts.
        """
        if len(self.batches) != 1:
            return
        batches = list(self.batches)
        for batch in reversed(earlier):
            if batch.last_offset >= batches[0].last_offset:
                continue
            if batch.last_sequence != previous_sequence(batches[0].first_sequence, 1):
                break
            batches.insert(0, batch)
            if len(batches) == BATCHES_KEPT:
                break
        self.batches = batches

    def find(self, first_sequence: int, last_sequence: int) -> KeptBatch | None:
        """The kept batch with exactly this range of sequences."""
        for batch in self.batches:
            if batch.last_sequence == last_sequence and batch.first_sequence == first_sequence:
                return batch
        return None


class AbortedTransaction(NamedTuple):
    """One entry of the transaction index; ``last_offset`` is that of the marker."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class Producers:
    """All producers of one partition, and its open and just-ended transactions."""

    __slots__ = ("by_id", "ended", "open", "topic_partition")

    def __init__(self, topic_partition: TopicPartition) -> None:
        self.topic_partition = topic_partition
        self.by_id: dict[int, Producer] = {}
        self.open: dict[int, int] = {}
        """First offset → producer id of each open transaction, ascending."""
        self.ended: dict[int, int] = {}
        """First → last offset of transactions whose marker may still lie above the high watermark."""

    def expect(self, producer_id: int, epoch: int, sequence: int) -> None:
        """Take only ``sequence`` as the first of a producer of which nothing is known yet."""
        if producer_id not in self.by_id:
            producer = self.by_id[producer_id] = Producer(producer_id, epoch)
            producer.last_sequence = sequence - 1

    def check(self, header: BatchHeader, *, sequenced: bool, vouched: Vouched) -> KeptBatch | None:
        """Check a data batch about to be appended; a kept batch when it is here already.

        ``sequenced`` is false for coordinators, which write without sequence numbers.
        Raises ApiError: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TXN_STATE,
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
        """
        producer = self.by_id.get(header.producer_id)
        if header.is_transactional and not vouched:
            raise ApiError(
                ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                "a transactional batch came in a request without a transactional id",
            )
        if sequenced and producer is not None and header.producer_epoch == producer.epoch:
            duplicate = producer.find(header.base_sequence, header.last_sequence)
            if duplicate is not None:
                return duplicate
        in_transaction = producer is not None and producer.transaction_start != NO_TRANSACTION
        if (
            header.is_transactional
            and vouched < Vouched.VERIFIED
            and not self.has_open(header.producer_id, header.producer_epoch)
        ):
            raise ApiError(ErrorCode.INVALID_TXN_STATE, "Record was not part of an ongoing transaction")
        if vouched == Vouched.ADDED and (producer is None or not producer.batches):
            self._check_first_sequence(header)
        if producer is None:
            return None
        self._check_epoch(producer, header.producer_epoch)
        if sequenced:
            self._check_sequence(producer, header.producer_epoch, header.base_sequence)
        if in_transaction and not header.is_transactional:
            raise ApiError(
                ErrorCode.INVALID_TXN_STATE,
                f"Expected transactional write from producer {producer.producer_id} in "
                f"{self.topic_partition}",
            )
        return None

    def has_open(self, producer_id: int, epoch: int) -> bool:
        """Whether this producer has a transaction open here, begun or gone on with under this very epoch."""
        producer = self.by_id.get(producer_id)
        return producer is not None and producer.transaction_start >= 0 and producer.epoch == epoch

    def ended_ones(self) -> Iterator[tuple[int, int]]:
        """Id and epoch of each producer of which nothing is known but, maybe, that a marker with an epoch of
        its own has ended its transaction here."""
        for producer in self.by_id.values():
            if producer.transaction_start == NO_TRANSACTION and not producer.batches:
                yield producer.producer_id, producer.epoch

    def check_end(self, producer_id: int, epoch: int, version: int) -> None:
        """Check the end of a transaction that is about to be written.

        From version 2 on its epoch must be above that of all records, else it came late and the open
        transaction is another one (KIP-1228); the same marker once more, with nothing open, does no harm.
        Raises ApiError: INVALID_PRODUCER_EPOCH.
        """
        producer = self.by_id.get(producer_id)
        if producer is None:
            return
        self._check_epoch(producer, epoch)
        if version >= 2 and epoch == producer.epoch and producer.transaction_start != NO_TRANSACTION:
            raise ApiError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Epoch {epoch} of producer {producer_id} in {self.topic_partition} has a transaction open, "
                "the marker that ends it must have a higher one",
            )

    def _check_epoch(self, producer: Producer, epoch: int) -> None:
        if epoch < producer.epoch:
            raise ApiError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Epoch of producer {producer.producer_id} in {self.topic_partition} is {epoch}, "
                f"smaller than the last seen epoch {producer.epoch}",
            )

    def _check_first_sequence(self, header: BatchHeader) -> None:
        if header.base_sequence:
            raise ApiError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"The first sequence number of producer {header.producer_id} in {self.topic_partition} is "
                f"{header.base_sequence}, 0 expected",
            )

    def _check_sequence(self, producer: Producer, epoch: int, sequence: int) -> None:
        if epoch != producer.epoch:
            expected = 0 if producer.epoch >= 0 else sequence
        else:
            expected = (producer.last_sequence + 1) & 0x7FFFFFFF
        if sequence != expected:
            raise ApiError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"Out of order sequence number for producer {producer.producer_id} in "
                f"{self.topic_partition}: {sequence} (incoming), {expected} expected (last "
                f"{producer.last_sequence} of epoch {producer.epoch}, incoming epoch {epoch})",
            )

    def check_marker(self, header: BatchHeader, marker: EndTransactionMarker) -> None:
        """Check a transaction marker about to be appended.

        Raises ApiError: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.
        """
        producer = self.by_id.get(header.producer_id)
        if producer is None:
            return
        self._check_epoch(producer, header.producer_epoch)
        if marker.coordinator_epoch < producer.coordinator_epoch:
            raise ApiError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"Invalid coordinator epoch for producer {producer.producer_id} in {self.topic_partition}: "
                f"{marker.coordinator_epoch}, {producer.coordinator_epoch} is known",
            )

    def add(self, header: BatchHeader, now_ms: int) -> None:
        """Take in a data batch that has been written, ``header`` with its final offsets."""
        producer = self.by_id.get(header.producer_id)
        if producer is None:
            producer = self.by_id[header.producer_id] = Producer(header.producer_id)
        producer.set_epoch(header.producer_epoch)
        delta = header.last_offset_delta
        kept = (header.last_sequence, header.base_offset + delta, delta, header.max_timestamp)
        producer.add(tuple.__new__(KeptBatch, kept))  # in half the time
        producer.seen_ms = now_ms
        if header.is_transactional and producer.transaction_start == NO_TRANSACTION:
            producer.transaction_start = header.base_offset
            self.open[header.base_offset] = header.producer_id

    def end_transaction(
        self, header: BatchHeader, marker: EndTransactionMarker, timestamp: int
    ) -> AbortedTransaction | None:
        """Take in a marker that has been written; an index entry when it ended a transaction by abort."""
        producer = self.by_id.get(header.producer_id)
        if producer is None:
            producer = self.by_id[header.producer_id] = Producer(header.producer_id)
        producer.set_epoch(header.producer_epoch)
        producer.coordinator_epoch = marker.coordinator_epoch
        producer.last_timestamp = timestamp
        start, producer.transaction_start = producer.transaction_start, NO_TRANSACTION
        if start == NO_TRANSACTION:
            return None
        self.open.pop(start, None)
        self.ended[start] = header.base_offset
        if marker.commit:
            return None
        stable = min(self.open, default=header.base_offset + 1)
        return AbortedTransaction(header.producer_id, start, header.base_offset, stable)

    def first_unstable_offset(self, high_watermark: int) -> int | None:
        """Where the first transaction starts that is open, or whose marker is not committed yet."""
        for start in [start for start, last in self.ended.items() if last < high_watermark]:
            del self.ended[start]
        if not self.open and not self.ended:
            return None
        return min(*self.open, *self.ended, 1 << 63)

    def load(self, producers: list[Producer]) -> None:
        """Start from the producers of a snapshot."""
        for producer in producers:
            self.by_id[producer.producer_id] = producer
            if producer.transaction_start != NO_TRANSACTION:
                self.open[producer.transaction_start] = producer.producer_id

    def expire(self, now_ms: int, expiration_ms: int, *, keeps_ended: bool = False) -> int:
        """Forget producers without an open transaction that are quiet for ``expiration_ms``; how many went.

        With ``keeps_ended`` those stay of which only an end is known (:meth:`ended_ones`). Unlike Kafka, a
        producer that wrote lately stays even when its records carry old timestamps.
        """
        expired = [
            producer.producer_id
            for producer in self.by_id.values()
            if producer.transaction_start == NO_TRANSACTION
            and (producer.batches or not keeps_ended)
            and now_ms - max(producer.last_timestamp, producer.seen_ms) >= expiration_ms
        ]
        for producer_id in expired:
            del self.by_id[producer_id]
        return len(expired)
