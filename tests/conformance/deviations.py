"""Where Odradek answers otherwise than Apache Kafka on purpose, and why."""

from typing import NamedTuple


class Deviation(NamedTuple):
    """``places`` is a regular expression that the paths of all differing values match."""

    reason: str
    places: str


_OPAQUE = "batches are opaque: their header and CRC are checked, their records never walked (design §1)"
_ANY = r"answer\[\d+\].*"

_START = "a refusal of the batch's form tells where the log starts, as the others do"
_LOG_START = r".*\.log_start_offset"

DEVIATIONS: dict[str, Deviation] = {
    "some_partitions_are_refused_and_others_taken": Deviation(_START, _LOG_START),
    "a_batch_length_that_lies": Deviation(_START, _LOG_START),
    "records_that_are_cut_short": Deviation(_START, _LOG_START),
    "no_records_at_all": Deviation(_START, _LOG_START),
    "two_batches_for_one_partition": Deviation(_START, _LOG_START),
    "old_and_unknown_magic": Deviation(_START, _LOG_START),
    "one_flipped_bit_anywhere_in_a_batch": Deviation(
        "the bit that says transactional is looked at behind the CRC, not before it",
        r"answer\[2\]\..*\.error_code",
    ),
    "a_compressed_stream_that_is_garbage": Deviation(_OPAQUE, _ANY),
    "a_compressed_batch_whose_count_lies": Deviation(_OPAQUE, _ANY),
    "records_whose_insides_lie": Deviation(_OPAQUE, _ANY),
    "unknown_codecs": Deviation(
        "INVALID_RECORD says more than Kafka's UNKNOWN_SERVER_ERROR", r".*\.error_code"
    ),
    "the_same_partition_twice_in_one_request": Deviation(
        "Kafka forgets the first of the two and answers once; we take both", r".*\.partition_responses"
    ),
    "the_first_batch_is_whole_even_above_the_limit": Deviation(
        "a negative limit is no limit's end: Kafka fails with UNKNOWN_SERVER_ERROR", r"answer\[5\]\..*"
    ),
    "list_offsets_of_one_partition_twice": Deviation(
        "each of the two is refused, where Kafka answers for both at once", r".*\.partitions"
    ),
    "describe_configs_of_a_topic": Deviation(
        "flush.messages is 1, durable by default (design §3); nobody set min.insync.replicas for the cluster",
        r".*\.(flush\.messages\.value|min\.insync\.replicas\.source)",
    ),
    "describe_configs_of_odd_keys": Deviation(
        "as in describe_configs_of_a_topic",
        r".*\.(flush\.messages\.value|min\.insync\.replicas\.source)",
    ),
    "markers_without_a_producer": Deviation(
        "a marker for nobody is an INVALID_REQUEST, not an UNKNOWN_SERVER_ERROR", r".*\.error_code"
    ),
    "invalid_changes": Deviation(
        "an unknown operation is an INVALID_REQUEST, not an UNKNOWN_SERVER_ERROR", r"answer\[[89]\]\[1\]"
    ),
}
"""By the name of the case."""
