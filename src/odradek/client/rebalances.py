"""Why groups rebalanced lately, which only Odradek's brokers tell: as a config of the group that is told to
those who ask for it by its name (docs/groups.md).
"""

import json
from typing import NamedTuple

from odradek.client.client import Client
from odradek.core.errors import ApiError, ErrorCode, PeerError

REBALANCES_KEY = "odradek.rebalances"
_GROUP_RESOURCE = 32
_NOT_TOLD = (ErrorCode.INVALID_REQUEST, ErrorCode.GROUP_AUTHORIZATION_FAILED)
"""From brokers before Kafka 4.0, whose groups have no configs, and to users who may not see them."""


class RebalanceInfo(NamedTuple):
    """One cause: when (ms since 1970), out of which generation or group epoch, what in words, and who;
    ``member_id`` is empty where it is about no member in particular."""

    time_ms: int
    epoch: int
    cause: str
    member_id: str
    client_id: str
    detail: str


async def describe_rebalances(client: Client, group: str) -> list[RebalanceInfo] | None:
    """The last causes, oldest first; ``None`` where there is no such history or the user may not see it.

    Raises ``ApiError``, and ``PeerError`` for an answer that is none.
    """
    from odradek.protocol.generated.describe_configs import (
        DescribeConfigsRequest,
        DescribeConfigsResource,
        DescribeConfigsResponse,
    )

    resource = DescribeConfigsResource(
        resource_type=_GROUP_RESOURCE, resource_name=group, configuration_keys=[REBALANCES_KEY]
    )

    async def ask() -> list[RebalanceInfo] | None:
        connection = await client.coordinator(group)
        request = DescribeConfigsRequest(resources=[resource])
        response = await connection.call(request, DescribeConfigsResponse, timeout_ms=client.timeout_ms)
        found = response.results[0]
        if found.error_code in _NOT_TOLD:
            return None
        if found.error_code:
            raise ApiError(ErrorCode(found.error_code), found.error_message or f"group {group}")
        texts = [config.value for config in found.configs if config.name == REBALANCES_KEY]
        return _parse(texts[0] or "") if texts else None

    return await client.retrying(ask)


def _parse(text: str) -> list[RebalanceInfo]:
    try:
        return [RebalanceInfo(*(entry[name] for name in RebalanceInfo._fields)) for entry in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        raise PeerError(f"{REBALANCES_KEY} is not as documented: {error!r}") from error
