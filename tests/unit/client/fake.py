"""A broker of answers: it decodes each request and sends back whatever the test's function makes of it."""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Self

from odradek.core.errors import ErrorCode
from odradek.protocol import apis
from odradek.protocol.generated.api_versions import ApiVersion, ApiVersionsResponse
from odradek.protocol.generated.find_coordinator import Coordinator, FindCoordinatorResponse
from odradek.protocol.generated.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from odradek.protocol.headers import read_request_header, response_header_version

API_VERSIONS, METADATA, FIND_COORDINATOR = 18, 3, 10
Answer = Callable[[Any], Any]


class FakeBroker:
    """Serves one node; ``topics`` maps names to partition counts, ``answers`` API keys to functions.

    A function gets the request and returns the response, or None for none at all; it may be a
    coroutine function. ``asked`` holds the requests in their order, without ApiVersions and
    Metadata.
    """

    def __init__(
        self, topics: dict[str, int] | None = None, answers: dict[int, Answer] | None = None
    ) -> None:
        self.topics = topics or {}
        self.asked: list[Any] = []
        self.connections = 0
        self._answers: dict[int, Answer] = {
            API_VERSIONS: self._api_versions,
            METADATA: self.metadata,
            FIND_COORDINATOR: self._find_coordinator,
            **(answers or {}),
        }
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = memoryview(await reader.readexactly(size))
                header = read_request_header(frame, 0)
                messages = apis.load(header.api_key)
                request, _ = messages.request.decode(frame, header.body_position, header.api_version)
                if header.api_key not in (API_VERSIONS, METADATA):
                    self.asked.append(request)
                response = self._answers[header.api_key](request)
                if asyncio.iscoroutine(response):
                    response = await response
                if response is None:
                    continue
                parts = [struct.pack(">i", header.correlation_id)]
                if response_header_version(header.api_key, header.api_version):
                    parts.append(b"\0")
                response.encode(parts, header.api_version)
                body = b"".join(map(bytes, parts))
                writer.write(struct.pack(">i", len(body)) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _api_versions(self, request: Any) -> ApiVersionsResponse:
        keys = [
            ApiVersion(api_key=key, min_version=api.lowest_version, max_version=api.highest_version)
            for key, api in apis.APIS.items()
            if key in self._answers
        ]
        return ApiVersionsResponse(api_keys=keys)

    def metadata(self, request: Any) -> MetadataResponse:
        """This node, which leads every partition."""
        names = self.topics if request.topics is None else [topic.name for topic in request.topics]
        return MetadataResponse(
            cluster_id="fake",
            controller_id=1,
            brokers=[MetadataResponseBroker(node_id=1, host="127.0.0.1", port=self.port)],
            topics=[self._topic(name) for name in names],
        )

    def _topic(self, name: str) -> MetadataResponseTopic:
        if name not in self.topics:
            return MetadataResponseTopic(error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name=name)
        partitions = [
            MetadataResponsePartition(
                partition_index=number, leader_id=1, leader_epoch=0, replica_nodes=[1], isr_nodes=[1]
            )
            for number in range(self.topics[name])
        ]
        return MetadataResponseTopic(name=name, topic_id=bytes(15) + b"\2", partitions=partitions)

    def _find_coordinator(self, request: Any) -> FindCoordinatorResponse:
        found = [
            Coordinator(key=key, node_id=1, host="127.0.0.1", port=self.port)
            for key in request.coordinator_keys
        ]
        return FindCoordinatorResponse(coordinators=found)
