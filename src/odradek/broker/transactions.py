"""The transaction coordinator of this broker: the shards of ``__transaction_state``.

Partitions that take part are asked for through :meth:`Transactions.add_or_verify`, also by Produce and
TxnOffsetCommit of this very broker: in a cluster it is where a request to the coordinator's broker goes out.
"""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from odradek.broker.markers import EndedTransaction, Marker
from odradek.broker.partitions import TRANSACTIONS_TOPIC, Partition
from odradek.broker.producer_ids import Taker
from odradek.broker.shard_runner import ShardRunner
from odradek.broker.shards import Shards
from odradek.cluster.features import TRANSACTION_VERSION
from odradek.cluster.image import ClusterImage
from odradek.coordinator.settings import TransactionSettings
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.decisions import End, Ended, StillOpen
from odradek.coordinator.transactions.effects import InForce, Retry, TakeProducerId, WriteMarkers
from odradek.coordinator.transactions.shard import TransactionShard
from odradek.coordinator.transactions.transaction import VERSION_2, TopicPartitionKey, Transaction
from odradek.coordinator.transactions.writes import Restored
from odradek.core.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.broker.transactional_produce import ProduceQueue

log = logging.getLogger("odradek.transactions")

Outcomes = dict[TopicPartitionKey, ErrorCode]
"""What came of each partition that was to be added or verified."""


class Told(NamedTuple):
    """A token: whoever is owed an outcome, as a function. ``in_force`` is called before, if that may be."""

    complete: Callable[[Any], None]
    in_force: Callable[[], None] = lambda: None


class TransactionRunner(ShardRunner[TransactionShard]):
    """One partition of ``__transaction_state`` and its machine."""

    def start(self) -> None:
        transactions = self._broker.transactions
        try:
            still_open = transactions.still_open()
            ended = transactions.ended(self.shard.enders())
        except ApiError as error:
            log.warning("%s: %s", self.partition.topic_partition, error)
            self.unload()  # brought up again after a while, as below
            return
        if still_open or ended:
            step = self.shard.restore(still_open, ended, self.now())
            if step is not None:
                log.warning(
                    "%s: a power cut took the states of transactions that had begun to be written, "
                    "they are put back: %d records",
                    self.partition.topic_partition,
                    len(step.records),
                )
                self.perform(step)
                if isinstance(step.write, Restored) and step.write.is_refused:
                    # It is brought up again after a while: without them nobody must go on.
                    self.unload()
                    return
        transactions.looked_at.add(self.partition.index)
        super().start()

    def perform_effect(self, effect: Any) -> None:
        if isinstance(effect, (WriteMarkers, InForce)):
            transaction = effect.transaction
            if self.shard.transactions.get(transaction.transactional_id) is not transaction:
                return  # its record was refused
            if isinstance(effect, WriteMarkers):
                self._write_markers(transaction)
            else:
                effect.token.in_force()
        elif isinstance(effect, TakeProducerId):
            self._broker.producer_ids.take(
                Taker(
                    lambda producer_id: self.perform(effect.taken(producer_id, self.now())),
                    lambda code: self.perform(effect.refused(code)),
                )
            )
        elif isinstance(effect, Retry):
            self.perform(effect.run(self.now()))

    def when_nothing_is_taken_back(self, then: Callable[[ErrorCode], None]) -> None:
        """Like :meth:`when_settled`, but also of the ends that wait for another record to be written with."""
        self.perform(self.shard.close())
        if self.is_over:
            then(ErrorCode.NOT_COORDINATOR)
        else:
            self.when_settled(then)

    def _write_markers(self, transaction: Transaction) -> None:
        marker = Marker(
            transaction.producer_id,
            transaction.epoch,
            transaction.is_commit,
            self.partition.leader_epoch,
            transaction.version,
        )
        EndedTransaction(
            self._broker,
            marker,
            transaction.partitions,
            lambda: not self.is_over,
            lambda: self.perform(self.shard.marked(transaction, self.now())),
        ).start()


class Transactions(Shards[TransactionRunner]):
    """All transactions that this broker coordinates."""

    def __init__(self, broker: "Broker") -> None:
        config = broker.config
        super().__init__(
            broker,
            TRANSACTIONS_TOPIC,
            config.transaction_state_log_num_partitions,
            [
                ("cleanup.policy", "compact"),
                ("compression.type", "uncompressed"),
                ("min.insync.replicas", "1"),
                ("segment.bytes", str(config.transaction_state_log_segment_bytes)),
                ("unclean.leader.election.enable", "false"),
            ],
        )
        self.patience_ms = config.add_partitions_to_txn_retry_backoff_max_ms
        """How long who begins a transaction waits for the end of the one before."""
        self._settings = TransactionSettings(expiration_ms=config.transactional_id_expiration_ms)
        self._image = broker.image
        self.produce_queues: dict[int, ProduceQueue] = {}
        """By producer id: Produce requests that wait for :meth:`add_or_verify`."""
        self.ahead: set[tuple[int, TopicPartitionKey]] = set()
        """Producer ids that have written into partitions which their transactions may not name on disk yet:
        what they write there is answered once the coordinator has said that they do."""
        self._open_at_start: StillOpen | None = {} if broker.store.was_clean else None
        """``None`` until all logs are recovered."""
        self._ended_at_start: StillOpen = {}
        """Likewise, but for what markers have ended, or may have."""
        self.looked_at: set[int] = set()
        """Partitions whose transactions were held against these since the start."""
        self._every(config.transaction_abort_timed_out_transaction_cleanup_interval_ms, self._abort_timed_out)
        self._every(config.transaction_remove_expired_transaction_cleanup_interval_ms, self._forget_expired)

    def level(self) -> int:
        """The finalized transaction.version."""
        return self._image.features.get(TRANSACTION_VERSION, 0)

    def make_runner(self, partition: Partition) -> TransactionRunner:
        return TransactionRunner(self._broker, partition, TransactionShard(self._settings, self.level))

    def image_changed(self, image: ClusterImage) -> None:
        """Forgets everything when the topic is gone. Called after the change is durable and applied."""
        before, self._image = self._image, image
        if TRANSACTIONS_TOPIC in before.topics and TRANSACTIONS_TOPIC not in image.topics:
            self.unload_all()

    def _bring_up(self, index: int) -> TransactionRunner:
        if self._open_at_start is None:
            if self._broker.store.recovering.sizes:
                # What is open in a partition may be all that is left of a transaction.
                raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
            self._open_at_start, self._ended_at_start = _open_and_ended(self._broker)
            for producer, partitions in self._open_at_start.items():
                self.ahead.update((producer.producer_id, name) for name in partitions)
        return super()._bring_up(index)

    @property
    def is_settled(self) -> bool:
        """Whether nothing that a crash has left is still to be held against a transaction: before that the
        next start must look for it again, however this broker ends."""
        topic = self._broker.topics.by_name.get(TRANSACTIONS_TOPIC)
        return all(
            partition.index in self.looked_at or _holds_nothing(partition)
            for partition in (topic.partitions if topic is not None else ())
        )

    def partition_came(self, partition: Partition) -> None:
        """Brings it up, unless all have to wait for logs that are still being recovered."""
        if self._open_at_start is not None or not self._broker.store.recovering.sizes:
            super().partition_came(partition)

    def still_open(self) -> StillOpen:
        """What was open in the partitions when this broker came up after a crash, and is open still."""
        return {
            producer: frozenset(name for name in partitions if self._is_still_open(name, producer))
            for producer, partitions in (self._open_at_start or {}).items()
        }

    def ended(self, producers: Iterable[Producer]) -> Ended:
        """Of the ends that markers with these ids and epochs may have written in the partitions before this
        broker came up after a crash: what they say."""
        found = {}
        for producer in self._ended_at_start.keys() & set(producers):
            partitions = self._ended_at_start[producer]
            for name in sorted(partitions):
                is_commit = self._last_end(name, producer)
                if is_commit is not None:
                    found[producer] = End(is_commit, partitions)
                    break
        return found

    def _last_end(self, name: TopicPartitionKey, producer: Producer) -> bool | None:
        partition = self._broker.topics.partition(*name)
        try:
            return partition.log.last_end(*producer) if partition is not None else None
        except ApiError as error:
            assert partition is not None
            _check_offline(partition, error)
            return None

    def _is_still_open(self, name: TopicPartitionKey, producer: Producer) -> bool:
        partition = self._broker.topics.partition(*name)
        try:
            return partition is not None and partition.log.producers.has_open(*producer)
        except ApiError as error:
            assert partition is not None
            _check_offline(partition, error)
            return False

    def is_open(self, partition: Partition, producer: Producer) -> bool:
        """Whether the producer has a transaction open in ``partition`` that names it, on disk. Raises
        :class:`ApiError`."""
        if self._open_at_start is None:
            return False
        if self.ahead and (producer.producer_id, (partition.topic.name, partition.index)) in self.ahead:
            return False
        return partition.log.producers.has_open(*producer)

    def add_or_verify(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: Iterable[TopicPartitionKey],
        *,
        is_added: bool,
        then: Callable[[Outcomes], None],
        in_force: Callable[[], None] = lambda: None,
    ) -> None:
        """Makes ``partitions`` part of the producer's transaction, or only asks whether they are; ``then``
        is called when that is durable, or with why it is refused. ``in_force`` may be called before: the
        partitions can be written to already, but nobody may be told so before ``then``."""
        wanted = frozenset(partitions)

        def told(outcome: ErrorCode) -> None:
            if not outcome and is_added and self.ahead:
                self.ahead.difference_update([(producer.producer_id, name) for name in wanted])
            then(dict.fromkeys(wanted, outcome))

        def ahead() -> None:
            self.ahead.update([(producer.producer_id, name) for name in wanted])
            in_force()

        try:
            if not transactional_id:
                raise ApiError(ErrorCode.INVALID_REQUEST)
            runner = self.runner(transactional_id)
            if is_added:
                runner.perform(
                    runner.shard.add_partitions(
                        transactional_id,
                        producer,
                        wanted,
                        VERSION_2,
                        Told(told, ahead),
                        runner.now(),
                        patience_ms=self.patience_ms,
                        is_ahead=True,
                    )
                )
                return
            verified = runner.shard.verify_partitions(transactional_id, producer, wanted)
        except ApiError as error:
            told(error.code)
            return
        runner.when_settled(lambda code: told(code) if code else then(verified))

    def close(self) -> None:
        for runner in self.ready_runners():
            runner.perform(runner.shard.close())

    # What nobody asks for

    def _every(self, interval_ms: int, action: Callable[[], None]) -> None:
        def due() -> None:
            self._every(interval_ms, action)
            action()

        broker = self._broker
        broker.timers.schedule(broker.clock.monotonic_ms() + interval_ms, due)

    def _abort_timed_out(self) -> None:
        self.start()  # what could not be loaded before: no descriptors, a write that came to nothing half-way
        for runner in self.ready_runners():
            for step in runner.shard.abort_timed_out(runner.now()):
                runner.perform(step)

    def _forget_expired(self) -> None:
        for runner in self.ready_runners():
            runner.perform(runner.shard.expire(runner.now()))


def _holds_nothing(partition: Partition) -> bool:
    held = partition.log
    return held.offline is None and held.log_start_offset == held.log_end_offset


def _check_offline(partition: Partition, error: ApiError) -> None:
    """Raises COORDINATOR_LOAD_IN_PROGRESS when a log that is not offline could not be read, as there were too
    many open files: it may know what nobody else does, and is read again in a while."""
    if partition.log.offline is None or partition.log.is_recovering:
        raise ApiError(
            ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, f"transactions wait until it can be read: {error}"
        ) from error


def _open_and_ended(broker: "Broker") -> tuple[StillOpen, StillOpen]:
    """What recovery has found open in the partitions; and producers with nothing open and nothing to be
    known of but an epoch, as a marker leaves them."""
    still_open: dict[Producer, set[TopicPartitionKey]] = {}
    ended: dict[Producer, set[TopicPartitionKey]] = {}
    for topic in broker.topics.by_name.values():
        for partition in topic.partitions:
            if partition.log.log_end_offset == 0:
                continue
            try:
                producers = partition.log.producers
            except ApiError as error:
                _check_offline(partition, error)
                continue  # nobody can go on with it
            name = (topic.name, partition.index)
            for producer_id in producers.open.values():
                producer = Producer(producer_id, producers.by_id[producer_id].epoch)
                still_open.setdefault(producer, set()).add(name)
            for one in producers.ended_ones():
                ended.setdefault(Producer(*one), set()).add(name)
    return _frozen(still_open), _frozen(ended)


def _frozen(found: dict[Producer, set[TopicPartitionKey]]) -> StillOpen:
    return {producer: frozenset(partitions) for producer, partitions in found.items()}
