"""The broker: takes request frames, keeps all state, gives answers. No I/O waits here, no clock, no loop.

Everything that must be durable before it is answered goes through two doors: :meth:`Broker.await_commit`
for records of a partition, and :meth:`Broker.commit_metadata` for what the broker knows about itself.
The server flushes (:meth:`begin_flush`, in a thread) and both doors open in :meth:`finish_flush`.
"""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence, Set
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from odradek.broker import table
from odradek.broker.cleaner import Cleaner
from odradek.broker.cold_reads import LoadAtOnce, Loader
from odradek.broker.disk_room import DiskRoom
from odradek.broker.fetch_sessions import FetchSessions
from odradek.broker.gathered import Gathered
from odradek.broker.maintenance import Chore, Maintenance
from odradek.broker.metadata_commits import MetadataCommits
from odradek.broker.partitions import OFFSETS_TOPIC, TRANSACTIONS_TOPIC, CommitWaiter, Partition
from odradek.broker.producer_ids import ProducerIds
from odradek.broker.quotas import Quotas
from odradek.broker.recovery import Recovery
from odradek.broker.requests import Answer, Close, Message, Parts, RequestContext, Session, Wait
from odradek.broker.scrubber import Scrubber
from odradek.broker.timers import Timers
from odradek.broker.topics import Topics
from odradek.cluster.change import Change
from odradek.cluster.configs import dynamic_texts
from odradek.cluster.image import ClusterImage
from odradek.cluster.store import MetadataStore
from odradek.core.clock import Clock
from odradek.core.config.broker import BrokerConfig
from odradek.core.config.values import ConfigError
from odradek.core.errors import ApiError, ErrorCode, PeerError
from odradek.core.ids import Randomness
from odradek.protocol.fields import skip_tags
from odradek.storage.flush import FlushTicket
from odradek.storage.log import Log
from odradek.storage.log_state import LogState
from odradek.storage.store import LogStore

if TYPE_CHECKING:
    from odradek.broker.group_settings import GroupSettingsOf
    from odradek.broker.groups import Groups
    from odradek.broker.shards import Shards
    from odradek.broker.transactions import Transactions

log = logging.getLogger("odradek.broker")

_HEADER = struct.Struct(">iih")
"""API key and version as one number, correlation id, length of the client id."""
_PLAIN_ANSWER = struct.Struct(">ii")
_FLEXIBLE_ANSWER = struct.Struct(">iiB")
WAITER_SWEEP_MS = 500
"""How late a Produce that times out may be answered; sweeping keeps timers off the hot path."""


class Broker:
    """The sole owner of a node's state.

    ``node_id`` and ``config`` are fixed at start; ``image`` is what the metadata log folds to; ``topics``
    are the partitions this node leads; ``timers`` hold every deadline.
    """

    def __init__(
        self,
        config: BrokerConfig,
        store: LogStore,
        metadata: MetadataStore,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.config = config
        self.store = store
        self.on_config: Callable[[], None] = lambda: None
        """Called when dynamic settings have changed ``config``."""
        self._follow_config(metadata.image)
        self.node_id = config.node_id
        self.clock = clock
        self.randomness = randomness
        self.timers = Timers()
        self.topics = Topics(store, config, clock, self.timers)
        self.metadata = MetadataCommits(
            metadata,
            self._apply,
            on_dirty=lambda: self.want_flush(is_urgent=True),
            when_applied=self.topics.when_made,
        )
        self.apis = table.build()
        self.fetch_sessions = FetchSessions(config.max_incremental_fetch_session_cache_slots, randomness)
        self.flush_is_urgent = False
        """Someone waits for the next flush; else it may linger so that more rides along."""
        self.has_unflushed = False
        self.urgent_wishes = 0
        """How often somebody has come to wait for what he wrote, so far."""
        self.maintenance = Maintenance(store, clock, config.log_retention_check_interval_ms)
        self.loader: Loader = LoadAtOnce(store.volume.disk)
        """Who waits for the disk where a fetch would have to; the server has threads for it."""
        self.cleaner = Cleaner(store, config, clock, self.after_flush)
        self.scrubber = Scrubber(store, config, clock)
        self.recovery = Recovery(store, config, clock, self._log_recovered)
        self.producer_ids = ProducerIds(self)
        self.quotas = Quotas(self)
        self.room = DiskRoom(self, store, config)
        self._after_flush: list[Callable[[bool], None]] = []
        self._sweep_is_due = False
        self.gathered = Gathered(self)
        self._client_ids: dict[bytes, str] = {}
        self._configs = self.image.configs
        store.volume.on_offline = self._log_went_offline
        store.are_ends_known = self._are_ends_known
        self.topics.apply(self.image)
        self.quotas.apply(self.image)
        if OFFSETS_TOPIC in self.topics.by_name:
            self.timers.schedule(clock.monotonic_ms(), lambda: self.groups.start())
        if TRANSACTIONS_TOPIC in self.topics.by_name:
            self.timers.schedule(clock.monotonic_ms(), lambda: self.transactions.start())

    @property
    def image(self) -> ClusterImage:
        """What this broker knows about the cluster, folded from durable change records only."""
        return self.metadata.image

    @cached_property
    def groups(self) -> "Groups":
        """The group coordinator, made when it is first needed: many a broker never has a group."""
        from odradek.broker.groups import Groups

        return Groups(self)

    @cached_property
    def group_settings(self) -> "GroupSettingsOf":
        """``group_settings(group_id)``: what is in force for one group, made when it is first needed."""
        from odradek.broker.group_settings import GroupSettingsOf

        return GroupSettingsOf(self)

    @cached_property
    def transactions(self) -> "Transactions":
        """The transaction coordinator, made when it is first needed."""
        from odradek.broker.transactions import Transactions

        return Transactions(self)

    def coordinators(self) -> "Iterator[Shards[Any]]":
        """Those that were needed so far."""
        if "groups" in self.__dict__:
            yield self.groups
        if "transactions" in self.__dict__:
            yield self.transactions

    def _follow_config(self, image: ClusterImage) -> None:
        """Puts the dynamic settings of ``image`` into force."""
        try:
            self.config.follow(dynamic_texts(image, self.config))
        except ConfigError as error:
            # They were checked when they were made, by another version or beside other static settings.
            log.error("dynamic settings cannot be used, those before them stay in force: %s", error)
            return
        self.store.volume.producer_expiration_ms = self.config.producer_id_expiration_ms
        self.on_config()

    def _apply(self, image: ClusterImage, touched: Set[str]) -> None:
        if image.configs is not self._configs:
            self._configs = image.configs
            self._follow_config(image)
        self.topics.apply(image, touched)
        self.quotas.apply(image)
        for coordinator in self.coordinators():
            coordinator.image_changed(image)

    def handle(self, frame: memoryview, session: Session) -> Answer:
        """One request frame (without its size prefix) → its answer.

        Never raises: what the peer did wrong is a ``Close``, what we did wrong is logged once with its
        request and answered with UNKNOWN_SERVER_ERROR.
        """
        answer = self.handle_gathering(frame, session)
        if self.gathered.is_pending:
            self.gathered.write()
        return answer

    def handle_gathering(self, frame: memoryview, session: Session) -> Answer:
        """Like :meth:`handle`, but batches may be left in ``gathered``: the caller has them written, after as
        many frames as it likes, before it sends an answer or lets the bytes of a frame change."""
        try:
            kind, correlation_id, client_id_length = _HEADER.unpack_from(frame, 0)
            repeat = session.repeats.known.get(kind)
            if repeat is not None:
                answer = repeat.answer(frame)
                if answer is not None:
                    return answer
            api_key, version = kind >> 16, kind & 0xFFFF
            api = self.apis.get(api_key)
            if api is None:
                return Close(f"API key {api_key} is not served")
            if not api.lowest_version <= version <= api.highest_version:
                if api_key == table.API_VERSIONS:
                    return self._refuse_api_versions(correlation_id)
                return Close(f"{api.name} version {version} is not served")
            position = 10
            client_id = None
            if client_id_length > 0:
                position += client_id_length
                client_id = self._client_id(bytes(frame[10:position]), client_id_length)
            elif client_id_length == 0:
                client_id = ""
            if version >= api.request_flexible_from:
                tags = frame[position]
                position += 1
                if tags:
                    position = skip_tags(frame, position, tags)
            if not api.is_loaded:
                api.load()
            request, _ = api.decode(frame, position, version)
            if self.gathered.is_pending and not api.is_gathered:
                self.gathered.write()
        except PeerError as error:
            return Close(f"malformed request: {error}")
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            return Close(f"malformed request header: {error}")
        except Exception:
            log.exception("a request could not be read: %.200r", bytes(frame[:64]))
            return Close("an internal error, logged above")
        api.requests += 1
        context = RequestContext(session, version, client_id, self.clock.now_ms())
        answer = self._answer(api, request, context, correlation_id)
        if api.learn is not None and session.repeats.is_time_to_learn(kind):
            self._learn(api, kind, frame, request, context)
        return answer

    def _learn(
        self, api: table.Api, kind: int, frame: memoryview, request: Any, context: RequestContext
    ) -> None:
        assert api.learn is not None
        try:
            repeat = api.learn(self, api, frame, request, context)
            if repeat is not None:
                context.session.repeats.known[kind] = repeat
        except ApiError:
            return  # it is refused: its coordinator is still loading, or offline
        except Exception:
            log.exception("%s v%d could not be learnt: %.2000r", api.name, context.api_version, request)

    def _answer(self, api: table.Api, request: Any, context: RequestContext, correlation_id: int) -> Answer:
        try:
            result = api.handle(self, request, context)
            if type(result) is not Wait:
                if result is None or type(result) is Close:
                    return result
                return _encode(api, context.api_version, correlation_id, result)
            result.bind(partial(self.encode_late, api, request, context, correlation_id))
            return result if not result.is_complete else result.parts or None
        except ApiError as error:
            api.failures += 1
            refusal = api.refuse(request, error.code, error.message)
        except Exception:
            api.failures += 1
            log.exception("%s v%d failed: %.2000r", api.name, context.api_version, request)
            refusal = api.refuse(request, ErrorCode.UNKNOWN_SERVER_ERROR, None)
        if refusal is None or type(refusal) is Close:
            return refusal
        return _encode(api, context.api_version, correlation_id, refusal)

    def encode_late(
        self,
        api: table.Api,
        request: Any,
        context: RequestContext,
        correlation_id: int,
        response: Message | ApiError,
    ) -> Parts:
        """The answer to a request that had to wait, as one frame; an error becomes the response with it."""
        try:
            if isinstance(response, ApiError):
                api.failures += 1
                refusal = api.refuse(request, response.code, response.message)
                return _encode(api, context.api_version, correlation_id, refusal)
            return _encode(api, context.api_version, correlation_id, response)
        except Exception:
            api.failures += 1
            log.exception("%s v%d could not be answered: %.2000r", api.name, context.api_version, request)
            refusal = api.refuse(request, ErrorCode.UNKNOWN_SERVER_ERROR, None)
            return _encode(api, context.api_version, correlation_id, refusal)

    def encode(self, api: table.Api, version: int, correlation_id: int, response: Message) -> Parts:
        """``response`` as one frame."""
        return _encode(api, version, correlation_id, response)

    def _refuse_api_versions(self, correlation_id: int) -> Parts:
        """An unknown version is answered in version 0, so that the client can step down (KIP-511)."""
        api = self.apis[table.API_VERSIONS]
        if not api.is_loaded:
            api.load()
        return _encode(api, 0, correlation_id, api.refuse(None, ErrorCode.UNSUPPORTED_VERSION, None))

    def _client_id(self, raw: bytes, length: int) -> str:
        """The client id as text; the few that a broker sees are kept, as decoding each anew costs more."""
        text = self._client_ids.get(raw)
        if text is None:
            if len(raw) != length:
                raise PeerError("the client id is longer than the frame")
            text = raw.decode()
            if len(self._client_ids) < 1_024:
                self._client_ids[raw] = text
        return text

    def await_commit(self, partition: Partition, next_offset: int, waiter: CommitWaiter) -> None:
        """Calls ``waiter.committed()`` once all below ``next_offset`` is durable, else ``failed``."""
        if partition.log.high_watermark >= next_offset:
            waiter.committed()
            return
        partition.await_commit(next_offset, waiter)
        self.topics.waiting.add(partition)
        if waiter.deadline_ms is not None and not self._sweep_is_due:
            self._sweep_is_due = True
            self.timers.schedule(self.clock.monotonic_ms() + WAITER_SWEEP_MS, self._sweep_waiters)

    def _sweep_waiters(self) -> None:
        now_ms = self.clock.monotonic_ms()
        for partition in list(self.topics.waiting):
            partition.expire_waiters(now_ms)
            if not partition.waiters:
                self.topics.waiting.discard(partition)
        self._sweep_is_due = bool(self.topics.waiting)
        if self._sweep_is_due:
            self.timers.schedule(now_ms + WAITER_SWEEP_MS, self._sweep_waiters)

    def commit_metadata(self, change: Change[Any], reply: Callable[[ClusterImage], Message]) -> Wait:
        """Appends ``change`` to the metadata log; once it is durable it is folded and applied, and the wait
        is completed with ``reply(new image)``."""
        wait = Wait()

        def done(image: ClusterImage | ApiError) -> None:
            wait.complete(image if isinstance(image, ApiError) else reply(image))

        self.metadata.commit(change, done)
        return wait

    def want_flush(self, is_urgent: bool) -> None:
        """Notes that something was appended that is not durable yet."""
        self.has_unflushed = True
        if is_urgent:
            self.flush_is_urgent = True
            self.urgent_wishes += 1

    def hasten_flush(self) -> None:
        """Notes that somebody waits for what others have written."""
        self.has_unflushed = self.flush_is_urgent = True

    def run_timers(self) -> None:
        """Runs the deadlines that have passed."""
        self.timers.run_due(self.clock.monotonic_ms())

    def begin_flush(self) -> "Flush | None":
        """What is to be made durable now, or ``None``. One flush is in flight at a time."""
        self.flush_is_urgent = self.has_unflushed = False
        metadata_is_dirty = self.metadata.begin_flush()
        ticket = self.store.begin_flush(self.clock.now_ms())
        waiting, self._after_flush = self._after_flush, []
        if not metadata_is_dirty and ticket is None:
            _tell(waiting, is_durable=True)
            return None
        return Flush(self.metadata if metadata_is_dirty else None, ticket, waiting)

    def finish_flush(self, flush: "Flush", begin_next: Callable[[], None] = lambda: None) -> None:
        """Moves high watermarks over what ``flush`` made durable and releases who waited for it.

        ``begin_next`` is called in between, so that the disk need not wait while answers are sent. What it
        raises is raised here, once everybody is told.
        """
        # The logs first: what is done about the metadata must not get between a flush and its end.
        flushed = self.store.finish_flush(flush.ticket) if flush.ticket is not None else []
        if flush.metadata is not None:
            flush.metadata.finish_flush()
        try:
            begin_next()
        finally:
            self._tell_flushed(flushed)
            _tell(flush.waiting, is_durable=flush.ticket is None or flush.ticket.checkpoint_error is None)

    def _tell_flushed(self, flushed: Sequence[Log]) -> None:
        for flushed_log in flushed:
            partition = self.topics.partition_of(flushed_log)
            if partition is None:
                continue
            try:
                partition.high_watermark_moved()
            except Exception:
                log.exception("someone who waited for %s could not be told", partition.topic_partition)

    def after_flush(self, callback: Callable[[bool], None]) -> None:
        """Calls back once the checkpoints changed so far are on disk, with whether they are."""
        self._after_flush.append(callback)
        self.want_flush(is_urgent=True)

    def _log_went_offline(self, failed: LogState) -> None:
        partition = self.topics.partition(*failed.topic_partition)
        if partition is not None and partition.log is failed:
            try:
                partition.fail_waiters(ErrorCode.KAFKA_STORAGE_ERROR)
                for coordinator in self.coordinators():
                    if coordinator.topic == partition.topic.name:
                        coordinator.partition_failed(partition.index)
            except Exception:
                log.exception("someone who waited for %s could not be told", failed.topic_partition)

    def _log_recovered(self, recovered: Log) -> None:
        self.topics.recovered(recovered)
        partition = self.topics.partition_of(recovered)
        for coordinator in self.coordinators():
            if partition is not None and coordinator.topic == partition.topic.name:
                coordinator.partition_came(partition)
        if not self.store.recovering.sizes and TRANSACTIONS_TOPIC in self.topics.by_name:
            self.transactions.start()

    def _are_ends_known(self) -> bool:
        """Whether nothing that a crash has left is still to be held against a transaction."""
        if self.store.was_clean or TRANSACTIONS_TOPIC not in self.topics.by_name:
            return True
        return self.transactions.is_settled

    def housekeep(self) -> list[Chore]:
        """Called about once a second; returns what should run in some thread."""
        if self.store.volume.dirty or self.store.volume.timed:
            self.want_flush(is_urgent=False)
        self.topics.make_missing()
        self.recovery.run()
        self.room.look()
        chores = self.groups.chores() if "groups" in self.__dict__ else []
        return chores + self.maintenance.run() + self.cleaner.run() + self.scrubber.run()

    def close(self, *, is_clean: bool = True) -> None:
        """Everything durable, the folder marked as cleanly closed, unless ``is_clean`` is false: then files
        are only let go of, and the next start recovers. A flush in flight must be finished."""
        is_clean = is_clean and self._are_ends_known()
        try:
            self.metadata.close()
        finally:
            if is_clean:
                for coordinator in self.coordinators():
                    coordinator.close()
            self.store.close(self.clock.now_ms(), clean=is_clean)


class Flush:
    """One grouped flush: the metadata log first, as partitions may exist only because of it."""

    __slots__ = ("metadata", "ticket", "waiting")

    def __init__(
        self,
        metadata: MetadataCommits | None,
        ticket: FlushTicket | None,
        waiting: Sequence[Callable[[bool], None]],
    ) -> None:
        self.metadata = metadata
        self.ticket = ticket
        self.waiting = waiting

    def run(self) -> None:
        """Blocks until the bytes are on disk; called in the flusher's thread, touches no shared state.

        Never raises: a fault of ours counts as one of the disk, else all who wait would wait for ever.
        """
        if self.metadata is not None:
            self.metadata.run_flush()
        if self.ticket is not None:
            try:
                self.ticket.run()
            except Exception as error:
                log.exception("a flush failed")
                self.ticket.fail(error)


def _tell(waiting: Sequence[Callable[[bool], None]], *, is_durable: bool) -> None:
    for callback in waiting:
        try:
            callback(is_durable)
        except Exception:
            log.exception("someone who waited for a flush could not be told")


def _encode(api: table.Api, version: int, correlation_id: int, response: Message) -> Parts:
    """A response as one frame; its first part is put in last, once the size is known."""
    parts: Parts = [b""]
    response.encode(parts, version)
    size = 4
    for part in parts:
        size += len(part)
    if version >= api.response_flexible_from:
        parts[0] = _FLEXIBLE_ANSWER.pack(size + 1, correlation_id, 0)
    else:
        parts[0] = _PLAIN_ANSWER.pack(size, correlation_id)
    return parts
