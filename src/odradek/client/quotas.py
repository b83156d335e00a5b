"""Client quotas: who may use how much (DescribeClientQuotas, AlterClientQuotas)."""

from collections.abc import Mapping
from typing import NamedTuple

from odradek.client.client import Client
from odradek.core.errors import ApiError, ErrorCode

_EXACT, _DEFAULT = 0, 1

Entity = Mapping[str, str | None]
"""``user``, ``client-id`` or ``ip`` → name; ``None`` stands for the default."""


class Quota(NamedTuple):
    """The limits of one entity, by key."""

    entity: dict[str, str | None]
    limits: dict[str, float]


async def describe_quotas(client: Client, entity: Entity, *, is_strict: bool = False) -> list[Quota]:
    """Quotas of entities with all parts of ``entity``; ``is_strict``: and no other. Raises ``ApiError``."""
    from odradek.protocol.generated.describe_client_quotas import (
        ComponentData,
        DescribeClientQuotasRequest,
        DescribeClientQuotasResponse,
    )

    request = DescribeClientQuotasRequest(
        components=[
            ComponentData(entity_type=kind, match_type=_DEFAULT if name is None else _EXACT, match=name)
            for kind, name in entity.items()
        ],
        strict=is_strict,
    )
    connection = await client.any_broker()
    response = await connection.call(request, DescribeClientQuotasResponse, timeout_ms=client.timeout_ms)
    if response.error_code:
        raise ApiError(ErrorCode(response.error_code), response.error_message)
    return [
        Quota(
            {part.entity_type: part.entity_name for part in entry.entity},
            {value.key: value.value for value in entry.values},
        )
        for entry in response.entries or ()
    ]


async def alter_quotas(
    client: Client,
    entity: Entity,
    changes: Mapping[str, float | None],
    *,
    validate_only: bool = False,
) -> None:
    """Sets each limit, or removes it where the value is None. Raises ``ApiError``."""
    from odradek.protocol.generated.alter_client_quotas import (
        AlterClientQuotasRequest,
        AlterClientQuotasResponse,
        OpData,
        RequestEntityData,
        RequestEntryData,
    )

    entry = RequestEntryData(
        entity=[RequestEntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()],
        ops=[OpData(key=key, value=value or 0.0, remove=value is None) for key, value in changes.items()],
    )
    request = AlterClientQuotasRequest(entries=[entry], validate_only=validate_only)
    connection = await client.controller()
    response = await connection.call(request, AlterClientQuotasResponse, timeout_ms=client.timeout_ms)
    result = response.entries[0]
    if result.error_code:
        raise ApiError(ErrorCode(result.error_code), result.error_message)
