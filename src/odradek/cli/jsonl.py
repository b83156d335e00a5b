"""Records as lines of JSON, such that ``consume -o jsonl`` can be given back to ``produce -i
jsonl`` unchanged.

``key`` and ``value`` are text or null; bytes that are not UTF-8 stand under ``key_base64`` and
``value_base64`` instead, and so do header values.
"""

import base64
import binascii
import json
from typing import Any

from odradek.records.record import Headers, Record


def to_json(topic: str, partition: int, record: Record) -> dict[str, Any]:
    """One record as the documented object."""
    return {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        **_field("key", record.key),
        **_field("value", record.value),
        "headers": [{"key": name, **_field("value", value)} for name, value in record.headers],
    }


def from_json(line: bytes | str) -> tuple[int | None, Record]:
    """The partition that a line names (None: it names none) and its record, whose timestamp may be
    -1 for now.

    A value that is not text (an object, a list, a number) is sent as compact JSON. Raises ``ValueError``.
    """
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError('not a JSON object, like {"key": "k", "value": "v"}')
    partition, timestamp = found.get("partition"), found.get("timestamp", -1)
    if not isinstance(timestamp, int) or not isinstance(partition, int | None):
        raise ValueError("partition and timestamp must be whole numbers")
    key, value = _content(found, "key"), _content(found, "value")
    return partition, Record(0, timestamp, key, value, _headers(found.get("headers") or []))


def _field(name: str, content: bytes | None) -> dict[str, str | None]:
    if content is None:
        return {name: None}
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


def _content(found: dict[str, Any], name: str) -> bytes | None:
    encoded = found.get(f"{name}_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{name}_base64 is not base64") from None
    content = found.get(name)
    if content is None:
        return None
    if not isinstance(content, str):
        content = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return content.encode("utf-8", "surrogatepass")


def _headers(found: Any) -> Headers:
    if isinstance(found, dict):
        found = [{"key": name, "value": value} for name, value in found.items()]
    if not isinstance(found, list) or not all(
        isinstance(header, dict) and isinstance(header.get("key"), str) for header in found
    ):
        raise ValueError('headers must be like [{"key": "k", "value": "v"}] or {"k": "v"}')
    return tuple((header["key"], _content(header, "value")) for header in found)
