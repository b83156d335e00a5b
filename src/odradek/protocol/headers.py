"""Request and response headers: which version of them goes with which message, and their bytes.

Source: KIP-482, Kafka's ``ApiMessageType.requestHeaderVersion`` / ``responseHeaderVersion``.
"""

import struct
from typing import NamedTuple

from odradek.protocol.apis import APIS
from odradek.protocol.fields import skip_tags
from odradek.protocol.primitives import MalformedError

API_VERSIONS_KEY = 18
_HEADER = struct.Struct(">hhih")
_RESPONSE = struct.Struct(">i")


class RequestHeader(NamedTuple):
    """Of a request: what it is, and where its body begins."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_position: int


def request_header_version(api_key: int, api_version: int) -> int:
    """2 for flexible requests, else 1; raises ``KeyError`` for a key that Kafka 4.3 does not have."""
    return 2 if api_version >= APIS[api_key].first_flexible_version else 1


def response_header_version(api_key: int, api_version: int) -> int:
    """1 for flexible responses, else 0; 0 for ApiVersions, whose reader does not know us yet (KIP-511)."""
    if api_key == API_VERSIONS_KEY:
        return 0
    return 1 if api_version >= APIS[api_key].first_flexible_version else 0


def read_request_header(view: memoryview, position: int) -> RequestHeader:
    """The header at ``position``; raises :class:`MalformedError`, also for an unknown API key.

    The client id is a plain nullable string in flexible headers too.
    """
    try:
        api_key, api_version, correlation_id, length = _HEADER.unpack_from(view, position)
        position += _HEADER.size
        client_id = None
        if length >= 0:
            end = position + length
            if end > len(view):
                raise MalformedError("the client id is longer than its frame")
            client_id = str(view[position:end], "utf-8")
            position = end
        api = APIS.get(api_key)
        if api is None:
            raise MalformedError(f"API key {api_key} is unknown")
        if api_version >= api.first_flexible_version:
            position = skip_tags(view, position + 1, view[position])
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MalformedError(f"request header: {error}") from error
    return RequestHeader(api_key, api_version, correlation_id, client_id, position)


def request_header(api_key: int, api_version: int, correlation_id: int, client_id: str | None) -> bytes:
    """The bytes of a request header."""
    raw = client_id.encode() if client_id is not None else b""
    length = len(raw) if client_id is not None else -1
    head = _HEADER.pack(api_key, api_version, correlation_id, length) + raw
    return head + b"\0" if request_header_version(api_key, api_version) == 2 else head


def response_header(correlation_id: int, header_version: int) -> bytes:
    """The bytes of a response header."""
    head = _RESPONSE.pack(correlation_id)
    return head + b"\0" if header_version == 1 else head


def read_response_header(view: memoryview, position: int, header_version: int) -> tuple[int, int]:
    """The correlation id at ``position`` and where the body begins."""
    try:
        (correlation_id,) = _RESPONSE.unpack_from(view, position)
        position += _RESPONSE.size
        if header_version == 1:
            position = skip_tags(view, position + 1, view[position])
    except (struct.error, IndexError) as error:
        raise MalformedError(f"response header: {error}") from error
    return correlation_id, position
