import asyncio
import socket
import struct
from collections.abc import Callable

import pytest

from odradek.client.connection import Connection
from odradek.client.errors import ConnectError, TimedOutError, UnsupportedError
from odradek.core.errors import PeerError
from odradek.protocol.generated.api_versions import ApiVersion, ApiVersionsResponse
from odradek.protocol.generated.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from odradek.protocol.generated.metadata import MetadataRequest, MetadataResponse
from tests.unit.client.fake import API_VERSIONS, FakeBroker

LIST_GROUPS = 16


async def connect(broker: FakeBroker) -> Connection:
    return await Connection.open("127.0.0.1", broker.port, timeout_ms=2_000)


def test_answers_come_back_to_their_requests() -> None:
    async def scenario() -> None:
        names = iter("abc")

        def answer(request: ListGroupsRequest) -> ListGroupsResponse:
            return ListGroupsResponse(groups=[ListedGroup(group_id=next(names))])

        async with FakeBroker(answers={LIST_GROUPS: answer}) as broker:
            connection = await connect(broker)
            calls = [connection.call(ListGroupsRequest(), ListGroupsResponse) for _ in range(3)]
            answers = await asyncio.gather(*calls)
            assert [answer.groups[0].group_id for answer in answers] == ["a", "b", "c"]
            connection.close()
            assert not connection.is_open

    asyncio.run(scenario())


def test_the_highest_version_of_both_is_spoken() -> None:
    def answer(request: object) -> ApiVersionsResponse:
        return ApiVersionsResponse(api_keys=[ApiVersion(api_key=3, min_version=4, max_version=9)])

    async def scenario() -> None:
        async with FakeBroker(answers={API_VERSIONS: answer}) as broker:
            connection = await connect(broker)
            assert connection.highest_version(MetadataRequest) == 9
            assert connection.highest_version(MetadataRequest, cap=6) == 6
            with pytest.raises(UnsupportedError, match="versions 4 to 9"):
                connection.highest_version(MetadataRequest, cap=3)
            with pytest.raises(UnsupportedError, match="none of it"):
                connection.highest_version(ListGroupsRequest)

    asyncio.run(scenario())


def test_what_an_old_version_cannot_say_is_unsupported() -> None:
    def answer(request: object) -> ApiVersionsResponse:
        return ApiVersionsResponse(api_keys=[ApiVersion(api_key=LIST_GROUPS, min_version=0, max_version=4)])

    async def scenario() -> None:
        async with FakeBroker(answers={API_VERSIONS: answer}) as broker:
            connection = await connect(broker)
            with pytest.raises(UnsupportedError, match="v4: types_filter is set"):
                await connection.call(ListGroupsRequest(types_filter=["consumer"]), ListGroupsResponse)

    asyncio.run(scenario())


def test_a_silent_broker_times_out_and_the_connection_is_given_up() -> None:
    async def scenario() -> None:
        async with FakeBroker(answers={LIST_GROUPS: lambda request: None}) as broker:
            connection = await connect(broker)
            with pytest.raises(TimedOutError, match="ListGroups"):
                await connection.call(ListGroupsRequest(), ListGroupsResponse, timeout_ms=20)
            assert not connection.is_open
            with pytest.raises(ConnectError):
                await connection.call(MetadataRequest(), MetadataResponse)

    asyncio.run(scenario())


def test_a_lost_connection_fails_what_waits() -> None:
    async def scenario() -> None:
        async with FakeBroker() as broker:
            broker._answers[LIST_GROUPS] = lambda request: broker.drop()
            connection = await connect(broker)
            with pytest.raises(ConnectError, match="closed the connection"):
                await connection.call(ListGroupsRequest(), ListGroupsResponse)

    asyncio.run(scenario())


def test_nobody_there_says_what_to_do() -> None:
    async def scenario() -> None:
        async with FakeBroker() as broker:
            port = broker.port
        with pytest.raises(ConnectError, match=f"127.0.0.1:{port}: Connection refused") as caught:
            await Connection.open("127.0.0.1", port)
        assert caught.value.fix is not None
        assert "odradek serve" in caught.value.fix

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "damage",
    [
        lambda correlation_id: struct.pack(">i", -1),
        lambda correlation_id: struct.pack(">i", 3),
        lambda correlation_id: struct.pack(">i", 2**31 - 1),
        lambda correlation_id: struct.pack(">iii", 8, correlation_id + 1, 0),
        lambda correlation_id: struct.pack(">iihi", 10, correlation_id, 0, 2**31 - 1),
        lambda correlation_id: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_bytes_that_are_no_answer_end_the_connection(damage: Callable[[int], bytes]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        header = await reader.readexactly(8)
        writer.write(damage(struct.unpack(">hhi", header)[2]))
        await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            with pytest.raises(PeerError):
                await Connection.open("127.0.0.1", server.sockets[0].getsockname()[1], timeout_ms=2_000)

    asyncio.run(scenario())


def test_a_round_trip_waits_for_the_broker() -> None:
    async def scenario() -> None:
        async with FakeBroker(answers={LIST_GROUPS: lambda request: None}) as broker:
            connection = await connect(broker)
            await connection.post(ListGroupsRequest())
            await connection.round_trip()
            assert len(broker.asked) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "failure", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError("too long")]
)
def test_a_host_that_cannot_be_resolved_is_named(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    async def refuse(*_: object, **options: object) -> None:
        raise failure

    async def scenario() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse)
        with pytest.raises(ConnectError, match="the host name nowhere cannot be resolved") as caught:
            await Connection.open("nowhere", 9092)
        assert caught.value.fix is not None
        assert "DNS" in caught.value.fix

    asyncio.run(scenario())
