"""What of an answer must be the same from every broker: all of it, but names, times, places and sorting."""

import json
from typing import Any

from odradek.core.ids import ZERO_ID
from odradek.protocol.primitives import Value
from odradek.records.batch import iterate_batches

VOLATILE = frozenset(
    {
        "batch_index_error_message",
        "broker_id",
        "client_host",
        "cluster_id",
        "controller_id",
        "documentation",
        "error_message",
        "host",
        "isr_nodes",
        "leader_id",
        "log_dir",
        "node_endpoints",
        "node_id",
        "port",
        "replica_nodes",
        "throttle_time_ms",
        "total_bytes",
        "usable_bytes",
    }
)
"""Fields that say where or who, or are there to be read by people."""
MEMBER_FIELDS = frozenset({"member_id", "leader"})


def outline(value: Any, names: dict[Any, str], field: str = "") -> Any:
    """``value`` as plain JSON, without what differs from broker to broker.

    ``names`` gives names and ids that are made anew for each run a fixed word.
    """
    if isinstance(value, Value):
        fields = {name: getattr(value, name) for name in value.__slots__ if name not in VOLATILE}
        return {name: outline(one, names, name) for name, one in fields.items()}
    if field == "aborted_transactions":  # Kafka says null here and empty there
        value = value or []
    if field == "records":
        return [] if value is None else records_outline(value)
    if field in MEMBER_FIELDS and isinstance(value, str):
        return names.get(value, "a member id" if value else "")
    if field == "producer_id":
        return "a producer id" if value >= 0 else value
    if field in {"timestamp", "log_append_time_ms"}:
        return "a time" if value > 0 else value
    if isinstance(value, list):
        items = [outline(one, names, field) for one in value]
        return sorted(items, key=json.dumps) if value and isinstance(value[0], Value) else items
    if isinstance(value, bytes | memoryview | bytearray):
        raw = bytes(value)
        if len(raw) == 16 and field.endswith("_id"):
            return "no id" if raw == ZERO_ID else names.get(raw, "an id")
        return raw.hex()
    if isinstance(value, str):
        return names.get(value, value)
    return value


def records_outline(raw: Any) -> list[Any]:
    """Batch by batch: offsets, count, and what else a reader relies on."""
    return [
        [header.base_offset, header.last_offset, header.record_count, header.attributes, header.base_sequence]
        for _, header in iterate_batches(memoryview(bytes(raw)))
    ]
