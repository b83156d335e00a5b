"""One run of confluent-kafka as its own process.

`python -m benchmarks.confluent produce|consume BOOTSTRAP TOPIC N`
prints {"seconds": …} for N records of RECORD_BYTES.
"""

import json
import sys
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer

from benchmarks.clients import RECORD_BYTES

IDLE_LIMIT_S = 30.0


def produce(bootstrap: str, topic: str, records: int) -> float:
    """Seconds from the first record handed over until all are acknowledged."""
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer({"bootstrap.servers": bootstrap})
    value = bytes(RECORD_BYTES)
    started = time.perf_counter()
    for _ in range(records):
        while True:
            try:
                producer.produce(topic, value, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    left = producer.flush(IDLE_LIMIT_S)
    seconds = time.perf_counter() - started
    if left or failures:
        raise SystemExit(f"{left} records left, {len(failures)} failed: {failures[:1]}")
    return seconds


def consume(bootstrap: str, topic: str, records: int) -> float:
    """Seconds from the first batch of records in hand to the last; the group's rebalance is left out."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"bench-{topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    seen, first, last = 0, 0.0, time.perf_counter()
    while seen < records:
        messages = consumer.consume(1000, 0.5)
        now = time.perf_counter()
        if not messages and now - last > IDLE_LIMIT_S:
            raise SystemExit(f"only {seen} of {records} records came")
        for message in messages:
            error = message.error()
            if error is not None:
                raise SystemExit(str(error))
        if messages:
            first = first or now
            last = now
            seen += len(messages)
    consumer.close()
    return last - first


if __name__ == "__main__":
    what, bootstrap, topic, count = sys.argv[1:]
    run = {"produce": produce, "consume": consume}[what]
    print(json.dumps({"seconds": run(bootstrap, topic, int(count))}))
