"""Why groups rebalanced lately, which only Odradek's brokers tell (docs/decisions/0006-own-apis.md)."""

from typing import NamedTuple

from odradek.client.client import Client
from odradek.client.errors import UnsupportedError
from odradek.client.groups import check_group


class RebalanceInfo(NamedTuple):
    """One cause: when (ms since 1970), out of which generation or group epoch, what (like ``joined`` or
    ``session_timeout``) and who; ``member_id`` is empty where it is about no member in particular."""

    timestamp_ms: int
    epoch: int
    cause: str
    member_id: str
    client_id: str
    detail: str


async def describe_rebalances(client: Client, group: str) -> list[RebalanceInfo] | None:
    """The last causes, oldest first; ``None`` when the broker keeps no such history. Raises ``ApiError``."""
    from odradek.protocol.generated.describe_rebalances import (
        DescribeRebalancesRequest,
        DescribeRebalancesResponse,
    )

    async def ask() -> list[RebalanceInfo] | None:
        connection = await client.coordinator(group)
        request = DescribeRebalancesRequest(group_ids=[group])
        try:
            response = await connection.call(
                request, DescribeRebalancesResponse, timeout_ms=client.timeout_ms
            )
        except UnsupportedError:
            return None
        found = response.groups[0]
        check_group(client, group, found.error_code)
        return [
            RebalanceInfo(one.timestamp_ms, one.epoch, one.cause, one.member_id, one.client_id, one.detail)
            for one in found.rebalances
        ]

    return await client.retrying(ask)
