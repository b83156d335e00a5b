"""Room on the data folder's volume: before it ends producers are slowed, at its end they are refused.

What is left then, the headroom, is for everything else: group commits, transactions, metadata, compaction,
checkpoints. Produce is answered KAFKA_STORAGE_ERROR, which clients retry; once there is room again, because
records were deleted or the volume grew, it goes on by itself.
"""

import logging
from typing import TYPE_CHECKING, Any

from odradek.broker.requests import Close, RequestContext, Wait
from odradek.core.config.broker import BrokerConfig
from odradek.core.config.headroom import headroom_of
from odradek.core.errors import ErrorCode
from odradek.storage.store import LogStore

if TYPE_CHECKING:
    from odradek.broker.broker import Broker
    from odradek.protocol.generated.produce import ProduceRequest, ProduceResponse

log = logging.getLogger("odradek.disk")

SLOW_FROM_MS = 60_000
"""Producers are slowed from when the volume would be full in so long, at the rate of the last seconds,"""
SLOW_FROM_SHARE = 1.0
"""or when not even so many headrooms are left above the headroom."""
LONGEST_THROTTLE_MS = 1_000
WARN_BEFORE_MS = 3_600_000
WARN_EVERY_MS = 300_000
LOOK_SOON_MS = 100
"""How often room is looked for when it could end before the next housekeeping."""
BURST_BYTES = 256 << 20
"""What producers may write between two such looks: with less above the headroom each batch is counted."""
_BURSTS_BETWEEN_LOOKS = 10
_SMOOTHING = 0.3
_ROOM_AGAIN = 1.1
"""So many headrooms must be free for producers to be taken again."""


class DiskRoom:
    """``throttle_ms`` is what producers are told to wait, ``is_full`` that they are refused; ``is_tight`` is
    either, or that what they write is counted, and nothing of it costs the hot path more than a look at that.
    """

    def __init__(self, broker: "Broker", store: LogStore, config: BrokerConfig) -> None:
        self.is_tight = self.is_full = False
        self.throttle_ms = 0
        self.bytes_per_second = 0.0
        """How fast room gets less, smoothed."""
        self._broker = broker
        self._store = store
        self._config = config
        self._looked_ms = -1
        self._usable = 0
        self._allowance_bytes = 0
        """What producers may still write before the file system is asked again, while it is tight."""
        self._warned_ms: int | None = None
        self._looks_soon = False

    def look(self) -> None:
        """Ask the file system; called with each housekeeping, and more often when room gets scarce."""
        now_ms = self._broker.clock.monotonic_ms()
        try:
            total, usable = self._store.disk.space(self._store.folder)
        except OSError:
            return
        headroom = headroom_of(total, self._config.odradek_disk_headroom_bytes)
        self._measure(now_ms, usable)
        room = self._allowance_bytes = usable - headroom
        self._set_full(usable, headroom)
        self.throttle_ms = 0 if self.is_full else self._throttle_ms(room, headroom)
        self._warn(now_ms, room, headroom)
        is_tight = self.is_full or self.throttle_ms > 0 or room < BURST_BYTES
        if is_tight != self.is_tight:
            self.is_tight = is_tight
            self._store.set_tight(is_tight)
        if (is_tight or room < _BURSTS_BETWEEN_LOOKS * BURST_BYTES) and not self._looks_soon:
            self._looks_soon = True
            self._broker.timers.schedule(now_ms + LOOK_SOON_MS, self._look_again)

    def _look_again(self) -> None:
        self._looks_soon = False
        self.look()

    def _measure(self, now_ms: int, usable: int) -> None:
        if now_ms == self._looked_ms:
            return
        if self._looked_ms >= 0:
            rate = (self._usable - usable) * 1_000 / (now_ms - self._looked_ms)
            weight = min(_SMOOTHING * (now_ms - self._looked_ms) / 1_000, 1.0)
            self.bytes_per_second += weight * (rate - self.bytes_per_second)
        self._looked_ms, self._usable = now_ms, usable

    def _set_full(self, usable: int, headroom: int) -> None:
        if not self.is_full and usable <= headroom:
            self.is_full = True
            log.error(
                "%s is full but for the headroom of %s: producers are refused until there is room. Delete"
                " topics or records, shorten retention, or make the volume larger",
                self._store.folder,
                _size(headroom),
            )
        elif self.is_full and usable > headroom * _ROOM_AGAIN:
            self.is_full = False
            log.warning("%s has room again, producers are served", self._store.folder)

    def _throttle_ms(self, room: int, headroom: int) -> int:
        """The nearer the end, the longer; nothing while it is far."""
        near = max(self.bytes_per_second * SLOW_FROM_MS / 1_000, headroom * SLOW_FROM_SHARE)
        if room >= near or self.bytes_per_second <= 0:
            return 0
        return max(int(LONGEST_THROTTLE_MS * (1 - max(room, 0) / near)), 1)

    def _warn(self, now_ms: int, room: int, headroom: int) -> None:
        left_ms = room / self.bytes_per_second * 1_000 if self.bytes_per_second > 0 else float("inf")
        if self.is_full or left_ms > WARN_BEFORE_MS:
            return
        if self._warned_ms is None or now_ms - self._warned_ms >= WARN_EVERY_MS:
            self._warned_ms = now_ms
            log.warning(
                "%s will be full in %s at this rate (%s/s): %s are left above the headroom of %s",
                self._store.folder,
                _duration(left_ms),
                _size(int(self.bytes_per_second)),
                _size(max(room, 0)),
                _size(headroom),
            )

    # Produce, while it is tight

    def takes(self, request: "ProduceRequest") -> bool:
        """Whether there is room for it, or was before it: the headroom lasts for the last one, too."""
        self._allowance_bytes -= sum(
            len(data.records) for topic in request.topic_data for data in topic.partition_data if data.records
        )
        if self._allowance_bytes < 0:
            self.look()
        return not self.is_full

    def refuse(self, request: "ProduceRequest") -> "ProduceResponse | Close":
        """KAFKA_STORAGE_ERROR for all of it; what its producers have in flight behind it must not get in."""
        from odradek.broker import produce

        topics = self._broker.topics
        for data in request.topic_data:
            topic = topics.by_name.get(data.name) or topics.by_id.get(data.topic_id)
            if topic is None or topic.is_internal:
                continue
            for partition_data in data.partition_data:
                partition = topic.partition(partition_data.index)
                if partition is not None and partition_data.records is not None:
                    partition.log.refused(partition_data.records)
        message = "the disk is full; it goes on by itself once there is room"
        return produce.refuse(request, ErrorCode.KAFKA_STORAGE_ERROR, message)

    def slow(self, answer: Any, context: RequestContext) -> Any:
        """Tell a producer to wait, and read nothing more from its connection for so long."""
        throttle_ms = self.throttle_ms
        if not throttle_ms or type(answer) is Close:
            return answer
        self._broker.quotas.mute(context.session, throttle_ms)

        def tell(response: Any) -> Any:
            if hasattr(response, "throttle_time_ms"):
                response.throttle_time_ms = throttle_ms
            return response

        if type(answer) is Wait:
            answer.before_encoding(tell)
            return answer
        return answer if answer is None else tell(answer)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"


def _duration(ms: float) -> str:
    minutes, seconds = divmod(int(ms / 1_000), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
