"""ApiVersions: what is served, exactly as the table of APIs has it.

v3 client software name and version (KIP-511) and features (KIP-584), v4 lets features start at version 0.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from odradek.broker import table
from odradek.broker.requests import RequestContext
from odradek.cluster.features import SUPPORTED
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
_SOFTWARE_FROM_VERSION = 3
_LEVEL_0_FROM_VERSION = 4


def handle(broker: "Broker", request: ApiVersionsRequest, context: RequestContext) -> ApiVersionsResponse:
    if context.api_version >= _SOFTWARE_FROM_VERSION:
        software = (request.client_software_name, request.client_software_version)
        if not all(_SOFTWARE.fullmatch(text) for text in software):
            return refuse(request, ErrorCode.INVALID_REQUEST, None)
    return ApiVersionsResponse(
        api_keys=_served(broker.apis.values()),
        supported_features=_supported(context.api_version),
        finalized_features_epoch=broker.image.index,
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in broker.image.features.items()
        ],
    )


def _supported(version: int) -> list[SupportedFeatureKey]:
    """Up to v3 clients take a lowest level of 0 for an error, so such features are left out (KAFKA-17492)."""
    return [
        SupportedFeatureKey(name=name, min_version=levels.lowest, max_version=levels.highest)
        for name, levels in SUPPORTED.items()
        if levels.lowest or version >= _LEVEL_0_FROM_VERSION
    ]


def _served(apis: Iterable[table.Api]) -> list[ApiVersion]:
    """Produce is announced from v0 on and still refused below v3, as Kafka 4 has it (KAFKA-18659): librdkafka
    takes a broker without Produce v0 for one that knows no compression."""
    return [
        ApiVersion(
            api_key=api.key,
            min_version=0 if api.key == table.PRODUCE else api.lowest_version,
            max_version=api.highest_version,
        )
        for api in apis
    ]


def refuse(request: ApiVersionsRequest | None, code: ErrorCode, message: str | None) -> ApiVersionsResponse:
    """On UNSUPPORTED_VERSION names the versions of ApiVersions itself, as the client steps down by them."""
    response = ApiVersionsResponse(error_code=code)
    if code == ErrorCode.UNSUPPORTED_VERSION:
        api = table.Api(table.API_VERSIONS, "api_versions")
        response.api_keys = _served([api])
    return response
