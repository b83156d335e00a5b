"""The configs a log acts on."""

import pytest

from odradek.storage.config import PRODUCER, UNLIMITED, LogConfig


def test_from_a_topics_configs() -> None:
    config = LogConfig.from_topic(
        {
            "cleanup.policy": ["compact", "delete"],
            "segment.bytes": 1 << 20,
            "compression.type": "zstd",
            "compression.zstd.level": 7,
            "min.insync.replicas": 2,
            "flush.messages": UNLIMITED,
            "message.timestamp.type": "LogAppendTime",
        }
    )
    assert config.is_compacted
    assert config.is_deleted
    assert not config.is_strict
    assert (config.segment_bytes, config.compression_codec, config.compression_level) == (1 << 20, 4, 7)
    assert config.timestamp_type == 1


def test_defaults() -> None:
    config = LogConfig()
    assert config.is_strict
    assert config.accepts_batches_as_they_are
    assert config.compression_codec == PRODUCER
    assert config.compression_level is None


@pytest.mark.parametrize(
    "changes",
    [
        {"cleanup_policy": ("compact",)},
        {"compression_type": "gzip"},
        {"message_timestamp_type": "LogAppendTime"},
        {"message_timestamp_before_max_ms": 5},
    ],
)
def test_what_needs_a_closer_look(changes: dict[str, object]) -> None:
    assert not LogConfig().with_changes(**changes).accepts_batches_as_they_are
