"""DescribeClientQuotas: the quotas that a filter matches (KIP-546). v1 flexible."""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext
from odradek.cluster.quotas import FilterPart, matching
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_client_quotas import (
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    EntityData,
    EntryData,
    ValueData,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeClientQuotasRequest, context: RequestContext
) -> DescribeClientQuotasResponse:
    parts = [FilterPart(part.entity_type, part.match_type, part.match) for part in request.components]
    found = matching(broker.image.quotas, parts, is_strict=request.strict)
    return DescribeClientQuotasResponse(
        error_message=None,
        entries=[
            EntryData(
                entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
                values=[ValueData(key=key, value=value) for key, value in limits.items()],
            )
            for entity, limits in found
        ],
    )


def refuse(
    request: DescribeClientQuotasRequest, code: ErrorCode, message: str | None
) -> DescribeClientQuotasResponse:
    """``code`` at the top."""
    return DescribeClientQuotasResponse(error_code=code, error_message=message, entries=None)
