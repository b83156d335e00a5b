"""What must hold of broker keys beyond the range of each: of several together, where their value ends up, or
how far it may go at a time.

Source: ``KafkaConfig.validateValues``, ``DynamicThreadPool``, ``LogCleaner`` and ``SocketServer`` (steps); of
internal topics, see :func:`_check_internal_topics`.
"""

from collections.abc import Callable

from odradek.core.config.keys import broker_keys, topic_keys
from odradek.core.config.values import ConfigError, Value, invalid, parse

ValueOf = Callable[[str], Value]
"""The value of a broker key that is in force."""

CLEANER_THREAD_BYTES = 1_048_576
"""Each thread must have more than that of ``log.cleaner.dedupe.buffer.size``."""
_RETENTIONS = ("log.retention.ms", "log.retention.minutes", "log.retention.hours")
"""The first that is set counts."""
_SEGMENTS_OF = {
    "offsets.topic.segment.bytes": "__consumer_offsets",
    "transaction.state.log.segment.bytes": "__transaction_state",
}
"""Keys that become the ``segment.bytes`` of a topic that the broker makes itself."""
CHANGED_IN_STEPS = (
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
)
"""While the broker runs they go to a half and to the double of what is in force, no further."""


def check_values(value_of: ValueOf) -> None:
    """Raises :class:`ConfigError` for the first thing that is wrong."""
    _check_retention(value_of)
    _check_at_least(value_of, "log.roll.ms", 1)
    _check_at_least(value_of, "log.roll.jitter.ms", 0)
    _check_cleaner(value_of)
    if value_of("max.connections.per.ip") == 0 and not value_of("max.connections.per.ip.overrides"):
        raise ConfigError(
            "max.connections.per.ip=0 lets nobody in: name those who may come in"
            " max.connections.per.ip.overrides, or allow at least 1"
        )
    _check_requests(value_of)
    _check_internal_topics(value_of)


def check_steps(before: ValueOf, after: ValueOf) -> None:
    """Raises :class:`ConfigError` when a key goes further than it may while the broker runs."""
    for name in CHANGED_IN_STEPS:
        old, new = before(name), after(name)
        assert isinstance(old, int)
        assert isinstance(new, int)
        if not old // 2 <= new <= old * 2:
            raise ConfigError(
                f"{name}={new}: from {old} it can go to {max(old // 2, 1)} at least and to {old * 2} at most"
                " while the broker runs; go in steps"
            )


def _check_retention(value_of: ValueOf) -> None:
    for name in _RETENTIONS:
        value = value_of(name)
        if value is None:
            continue
        if value == 0:
            raise ConfigError(f"{name}=0 would delete all there is: choose at least 1, or -1 for ever")
        return


def _check_at_least(value_of: ValueOf, name: str, least: int) -> None:
    value = value_of(name)
    if isinstance(value, int) and value < least:
        raise invalid(broker_keys()[name], value, f"Value must be at least {least}")


def _check_cleaner(value_of: ValueOf) -> None:
    threads, memory_bytes = value_of("log.cleaner.threads"), value_of("log.cleaner.dedupe.buffer.size")
    assert isinstance(threads, int)
    assert isinstance(memory_bytes, int)
    if threads < 1:
        raise ConfigError("log.cleaner.threads must be at least 1; log.cleaner.enable=false ends compaction")
    if memory_bytes // threads <= CLEANER_THREAD_BYTES:
        raise ConfigError(
            f"log.cleaner.dedupe.buffer.size={memory_bytes} is too small:"
            f" each of log.cleaner.threads={threads} must have more than {CLEANER_THREAD_BYTES}"
        )


def _check_requests(value_of: ValueOf) -> None:
    queued_bytes, largest_bytes = value_of("queued.max.request.bytes"), value_of("socket.request.max.bytes")
    assert isinstance(queued_bytes, int)
    assert isinstance(largest_bytes, int)
    if 0 < queued_bytes < largest_bytes:
        raise ConfigError(
            f"queued.max.request.bytes={queued_bytes} has no room for"
            f" socket.request.max.bytes={largest_bytes}: choose at least that, or -1 for no bound"
        )


def _check_internal_topics(value_of: ValueOf) -> None:
    """Unlike Kafka 4.3, which starts and then never makes the topic: every group, or every producer with
    transactions, waits forever."""
    for name, topic in _SEGMENTS_OF.items():
        text = str(value_of(name))
        try:
            parse(topic_keys()["segment.bytes"], text)
        except ConfigError as error:
            raise ConfigError(f"{name}={text}: {topic} could not be made with it. {error}") from error
