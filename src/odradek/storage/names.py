"""File and folder names of a data folder, as Kafka gives them."""

import re

from odradek.core.ids import TopicPartition

LOG = ".log"
OFFSET_INDEX = ".index"
TIME_INDEX = ".timeindex"
TRANSACTION_INDEX = ".txnindex"
SNAPSHOT = ".snapshot"
SEGMENT_SUFFIXES = (LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX)

DELETED = ".deleted"
CLEANED = ".cleaned"
SWAP = ".swap"
TEMPORARY = ".tmp"

LOCK = ".lock"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
META_PROPERTIES = "meta.properties"
RECOVERY_POINTS = "recovery-point-offset-checkpoint"
LOG_STARTS = "log-start-offset-checkpoint"
CLEANER_POINTS = "cleaner-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
FLUSHED_OFFSETS = "odradek-flushed-offsets"
SCRUB_NOTES = "odradek-scrub"
REBALANCES = "odradek-rebalances"
LEADER_EPOCHS = "leader-epoch-checkpoint"
PARTITION_METADATA = "partition.metadata"

DELETED_FOLDER = "-delete"
KAFKA_METADATA_FOLDER = "__cluster_metadata-0"
"""Kafka's own metadata log: it lies among the partitions, but is none of ours."""
_LONGEST_NAME = 255
_FOLDER = re.compile(r"([a-zA-Z0-9._-]+)-(\d+)")
_PARTITION_SUFFIXES = frozenset([*SEGMENT_SUFFIXES, SNAPSHOT])


def file_name(offset: int, suffix: str) -> str:
    """``00000000000000000042.log`` and its like."""
    return f"{offset:020d}{suffix}"


def parse_file_name(name: str) -> tuple[int, str] | None:
    """(offset, suffix) of a segment's or snapshot's file name, None for any other."""
    if name[20:] not in _PARTITION_SUFFIXES or not name[:20].isascii() or not name[:20].isdigit():
        return None
    return int(name[:20]), name[20:]


def folder_name(topic_partition: TopicPartition) -> str:
    return f"{topic_partition.topic}-{topic_partition.partition}"


def parse_folder_name(name: str) -> TopicPartition | None:
    """The partition that lives in folder ``name``; None when the name is no partition's."""
    match = _FOLDER.fullmatch(name)
    return TopicPartition(match[1], int(match[2])) if match else None


def deleted_folder_name(topic_partition: TopicPartition, unique_hex: str) -> str:
    """The name a partition's folder gets while it waits for removal; long topic names are shortened."""
    suffix = f"-{topic_partition.partition}.{unique_hex}{DELETED_FOLDER}"
    return topic_partition.topic[: _LONGEST_NAME - len(suffix)] + suffix


def is_deleted_folder(name: str) -> bool:
    return name.endswith(DELETED_FOLDER) and "." in name
