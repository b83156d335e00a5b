"""AlterClientQuotas: sets and removes limits of users, client ids and addresses (KIP-546, KIP-612).

v1 flexible. Each entity succeeds or fails as a whole.
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.quotas import QuotaOperation, alter_client_quotas
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    RequestEntryData,
    ResponseEntityData,
    ResponseEntryData,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: AlterClientQuotasRequest, context: RequestContext
) -> AlterClientQuotasResponse | Wait:
    change = alter_client_quotas(
        broker.metadata.proposed,
        [
            (
                [(part.entity_type, part.entity_name) for part in entry.entity],
                [QuotaOperation(op.key, None if op.remove else op.value) for op in entry.ops],
            )
            for entry in request.entries
        ],
    )
    entries = [
        _entry(asked, ErrorCode.NONE, None) if error is None else _entry(asked, error.code, error.message)
        for asked, error in zip(request.entries, change.result, strict=True)
    ]
    response = AlterClientQuotasResponse(entries=entries)
    if request.validate_only:
        return response
    return broker.commit_metadata(change, lambda image: response)


def _entry(asked: RequestEntryData, code: ErrorCode, message: str | None) -> ResponseEntryData:
    return ResponseEntryData(
        error_code=code,
        error_message=message,
        entity=[
            ResponseEntityData(entity_type=part.entity_type, entity_name=part.entity_name)
            for part in asked.entity
        ],
    )


def refuse(
    request: AlterClientQuotasRequest, code: ErrorCode, message: str | None
) -> AlterClientQuotasResponse:
    """``code`` for every entity."""
    return AlterClientQuotasResponse(entries=[_entry(asked, code, message) for asked in request.entries])
