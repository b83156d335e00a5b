"""Idempotent producers: sequences, epochs, duplicates (KIP-98, KIP-360)."""

from tests.conformance import raw
from tests.conformance.cases import Conversation, case
from tests.conformance.cases.records import produce, read_back
from tests.conformance.raw import batch_of


def producer_id(c: Conversation) -> int:
    answer = c.quietly(raw.request_of("InitProducerId", transactional_id=None, transaction_timeout_ms=60_000))
    assert answer.error_code == 0
    number: int = answer.producer_id
    return number


def numbered(c: Conversation, producer: int, sequence: int, count: int = 1, epoch: int = 0) -> None:
    values = [b"%d" % number for number in range(sequence, sequence + count)]
    produce(c, batch_of(*values, producer_id=producer, producer_epoch=epoch, base_sequence=sequence))


@case
def init_producer_id_in_every_version(c: Conversation) -> None:
    for version in range(6):
        request = raw.request_of("InitProducerId", transactional_id=None, transaction_timeout_ms=60_000)
        c.ask(request, version)


@case
def init_producer_id_of_a_producer_that_has_one(c: Conversation) -> None:
    producer = producer_id(c)
    for known, epoch in ((producer, 0), (producer, -1), (-1, 0), (producer + 1_000_000, 3)):
        request = raw.request_of(
            "InitProducerId",
            transactional_id=None,
            transaction_timeout_ms=60_000,
            producer_id=known,
            producer_epoch=epoch,
        )
        c.ask(request, 5)


@case
def init_producer_id_with_odd_arguments(c: Conversation) -> None:
    c.ask(raw.request_of("InitProducerId", transactional_id="", transaction_timeout_ms=60_000), 5)
    c.ask(raw.request_of("InitProducerId", transactional_id=None, transaction_timeout_ms=0), 5)
    c.ask(raw.request_of("InitProducerId", transactional_id=None, transaction_timeout_ms=-1), 5)


@case
def sequences_in_order(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    numbered(c, producer, 0, 3)
    numbered(c, producer, 3, 2)
    numbered(c, producer, 5)
    read_back(c)


@case
def a_duplicate_is_answered_with_its_first_offset(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    for sequence in range(0, 12, 2):
        numbered(c, producer, sequence, 2)
    for sequence in (10, 8, 2, 0):
        numbered(c, producer, sequence, 2)
    numbered(c, producer, 12, 2)
    read_back(c)


@case
def half_a_duplicate(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    numbered(c, producer, 0, 4)
    numbered(c, producer, 0, 2)
    numbered(c, producer, 2, 2)
    numbered(c, producer, 2, 4)
    read_back(c)


@case
def a_gap_in_the_sequence(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    numbered(c, producer, 0, 2)
    numbered(c, producer, 3)
    numbered(c, producer, 2)
    read_back(c)


@case
def a_first_sequence_above_zero(c: Conversation) -> None:
    c.create()
    numbered(c, producer_id(c), 7)
    read_back(c)


@case
def a_producer_that_nobody_gave_an_id(c: Conversation) -> None:
    c.create()
    numbered(c, 4_611_686_018_427_387_000, 0)


@case
def epochs_of_a_producer(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    numbered(c, producer, 0, 2, epoch=1)
    numbered(c, producer, 2, epoch=0)
    numbered(c, producer, 5, epoch=2)
    numbered(c, producer, 0, epoch=2)
    numbered(c, producer, 2, epoch=1)
    read_back(c)


@case
def a_producer_id_without_epoch_or_sequence(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    produce(c, batch_of(b"x", producer_id=producer, producer_epoch=-1, base_sequence=0))
    produce(c, batch_of(b"x", producer_id=producer, producer_epoch=0, base_sequence=-1))
    produce(c, batch_of(b"x", producer_id=-1, producer_epoch=0, base_sequence=0))
    read_back(c)


@case
def sequences_wrap_around(c: Conversation) -> None:
    c.create()
    producer = producer_id(c)
    numbered(c, producer, 2_147_483_646, 2)
    produce(c, batch_of(b"x", producer_id=producer, producer_epoch=0, base_sequence=0))


@case
def sequences_are_counted_by_partition(c: Conversation) -> None:
    c.create(2)
    producer = producer_id(c)
    for partition in (0, 1):
        batch = batch_of(b"x", producer_id=producer, producer_epoch=0, base_sequence=0)
        produce(c, batch, partition=partition)
    produce(c, batch_of(b"x", producer_id=producer, producer_epoch=0, base_sequence=1), partition=1)
