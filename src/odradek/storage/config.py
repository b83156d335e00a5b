"""The topic configs that a log acts on, under Kafka's names with underscores."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

from odradek.records.batch import CREATE_TIME, LOG_APPEND_TIME
from odradek.records.compression import NAMES

UNLIMITED = (1 << 63) - 1
PRODUCER = -1
"""``compression_codec`` that leaves batches as the producer compressed them."""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Values are of the key's own type; defaults are Kafka's, but for ``flush_messages``."""

    cleanup_policy: tuple[str, ...] = ("delete",)
    compression_type: str = "producer"
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_zstd_level: int = 3
    delete_retention_ms: int = 86_400_000
    file_delete_delay_ms: int = 60_000
    flush_messages: int = 1
    flush_ms: int = UNLIMITED
    index_interval_bytes: int = 4096
    max_compaction_lag_ms: int = UNLIMITED
    max_message_bytes: int = 1_048_588
    message_timestamp_type: str = "CreateTime"
    message_timestamp_before_max_ms: int = UNLIMITED
    message_timestamp_after_max_ms: int = 3_600_000
    min_cleanable_dirty_ratio: float = 0.5
    min_compaction_lag_ms: int = 0
    retention_bytes: int = -1
    retention_ms: int = 604_800_000
    segment_bytes: int = 1 << 30
    segment_index_bytes: int = 10 * 1024 * 1024
    segment_jitter_ms: int = 0
    segment_ms: int = 604_800_000

    @classmethod
    def from_topic(cls, values: Mapping[str, object]) -> Self:
        """From resolved topic configs (dotted keys, typed values); other rooms' keys are left out."""
        known = {field.name for field in fields(cls)}
        chosen = {}
        for key, value in values.items():
            name = key.replace(".", "_").replace("-", "_")
            if name in known and value is not None:
                chosen[name] = tuple(value) if isinstance(value, list | set | frozenset) else value
        return cls(**chosen)  # type: ignore[arg-type]

    def with_changes(self, **changes: object) -> Self:
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def is_compacted(self) -> bool:
        return "compact" in self.cleanup_policy

    @property
    def is_deleted(self) -> bool:
        """Whether old segments are deleted by time and size."""
        return "delete" in self.cleanup_policy

    @property
    def longest_segment_ms(self) -> int:
        """``segment.ms``; what is to be compacted by a certain age must leave the active segment by then."""
        if self.is_compacted and self.max_compaction_lag_ms > 0:
            return min(self.segment_ms, self.max_compaction_lag_ms)
        return self.segment_ms

    @property
    def is_strict(self) -> bool:
        """Whether only flushed records count as committed."""
        return self.flush_messages <= 1

    @property
    def timestamp_type(self) -> int:
        return LOG_APPEND_TIME if self.message_timestamp_type == "LogAppendTime" else CREATE_TIME

    @property
    def compression_codec(self) -> int:
        """The codec that batches must have, or ``PRODUCER``."""
        return PRODUCER if self.compression_type == "producer" else NAMES.index(self.compression_type)

    @property
    def compression_level(self) -> int | None:
        """The level for ``compression_codec``; None where the codec has none."""
        return {
            "gzip": self.compression_gzip_level,
            "lz4": self.compression_lz4_level,
            "zstd": self.compression_zstd_level,
        }.get(self.compression_type)

    @property
    def accepts_batches_as_they_are(self) -> bool:
        """Whether the batch header alone tells all that has to be checked, and nothing is rewritten."""
        return (
            self.compression_type == "producer"
            and not self.is_compacted
            and self.timestamp_type == CREATE_TIME
            and self.message_timestamp_before_max_ms == UNLIMITED
        )
