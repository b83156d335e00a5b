"""CPU of the codec alone: decoding requests and building and encoding responses of the hot APIs.

Run: ``python -m benchmarks.micro_codec``.
"""

import time
from collections.abc import Callable
from typing import Any

from odradek.protocol.generated.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from odradek.protocol.generated.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from odradek.protocol.primitives import Message

ROUNDS = 9
ROUND_SECONDS = 0.05
RECORDS = memoryview(bytes(170))
"""A batch of one record of 100 bytes is about as long."""
TOPIC_ID = bytes(range(16))


def best_us(action: Callable[[], object]) -> float:
    """The best of some rounds, microseconds per call; the best, as other work only ever adds."""
    count = 100
    while (took := _seconds(action, count)) < ROUND_SECONDS:
        count = int(count * max(2, ROUND_SECONDS / max(took, 1e-6)))
    return min(_seconds(action, count) for _ in range(ROUNDS)) / count * 1e6


def _seconds(action: Callable[[], object], count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        action()
    return time.process_time() - start


def produce_request(partitions: int) -> ProduceRequest:
    data = [PartitionProduceData(index=index, records=RECORDS) for index in range(partitions)]
    topic = TopicProduceData(name="orders", topic_id=TOPIC_ID, partition_data=data)
    return ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])


def produce_response(partitions: int) -> ProduceResponse:
    responses = [
        PartitionProduceResponse(index=index, base_offset=4_711, log_append_time_ms=-1, log_start_offset=0)
        for index in range(partitions)
    ]
    topic = TopicProduceResponse(name="orders", topic_id=TOPIC_ID, partition_responses=responses)
    return ProduceResponse(responses=[topic])


def fetch_request(partitions: int) -> FetchRequest:
    wanted = [
        FetchPartition(partition=index, fetch_offset=4_711, partition_max_bytes=1 << 20)
        for index in range(partitions)
    ]
    topic = FetchTopic(topic="orders", topic_id=TOPIC_ID, partitions=wanted)
    return FetchRequest(max_wait_ms=500, min_bytes=1, max_bytes=50 << 20, topics=[topic])


def fetch_response(partitions: int) -> FetchResponse:
    found = [
        PartitionData(
            partition_index=index,
            high_watermark=4_712,
            last_stable_offset=4_712,
            log_start_offset=0,
            aborted_transactions=None,
            records=RECORDS,
        )
        for index in range(partitions)
    ]
    topic = FetchableTopicResponse(topic="orders", topic_id=TOPIC_ID, partitions=found)
    return FetchResponse(session_id=7, responses=[topic])


def decoding(message: Message, version: int) -> Callable[[], object]:
    parts: list[Any] = []
    message.encode(parts, version)
    view = memoryview(b"".join(parts))
    decode = type(message).decode
    return lambda: decode(view, 0, version)


def encoding(message: Message, version: int) -> Callable[[], object]:
    encode = message.encode
    return lambda: encode([], version)


CASES: list[tuple[str, Callable[[int], Message], Callable[[int], Message], tuple[int, ...]]] = [
    ("Produce", produce_request, produce_response, (9, 12, 13)),
    ("Fetch", fetch_request, fetch_response, (12, 16, 18)),
]


def main() -> None:
    columns = "{:<12}{:>11}{:>16}{:>16}{:>16}"
    print(columns.format("µs", "partitions", "request in", "response made", "response out"))
    for name, request, response, versions in CASES:
        for partitions in (1, 10):
            for version in versions:
                row = (
                    best_us(decoding(request(partitions), version)),
                    best_us(lambda made=response, n=partitions: made(n)),  # type: ignore[misc]
                    best_us(encoding(response(partitions), version)),
                )
                print(columns.format(f"{name} v{version}", partitions, *(f"{one:.2f}" for one in row)))


if __name__ == "__main__":
    main()
