"""UpdateFeatures: the level of a feature that all brokers agree on (KIP-584); all that is asked, or nothing.

v1 safe and unsafe downgrades, or only to validate (KIP-778); v2 has no results by feature (KIP-1022).
"""

from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.features import FeatureUpdate, UpgradeType, update_features
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.update_features import (
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_RESULTS_UNTIL = 1


def handle(
    broker: "Broker", request: UpdateFeaturesRequest, context: RequestContext
) -> UpdateFeaturesResponse | Wait:
    updates = []
    for update in request.feature_updates:
        upgrade_type = update.upgrade_type
        if context.api_version == 0 and update.allow_downgrade:
            upgrade_type = UpgradeType.SAFE_DOWNGRADE
        updates.append(FeatureUpdate(update.feature, update.max_version_level, upgrade_type))
    change = update_features(broker.metadata.proposed, updates)
    response = UpdateFeaturesResponse(
        error_code=0,
        error_message=None,
        results=[
            UpdatableFeatureResult(feature=update.feature, error_code=0, error_message=None)
            for update in request.feature_updates
        ]
        if context.api_version <= _RESULTS_UNTIL
        else [],
    )
    if request.validate_only:
        return response
    return broker.commit_metadata(change, lambda _: response)


def refuse(request: UpdateFeaturesRequest, code: ErrorCode, message: str | None) -> UpdateFeaturesResponse:
    """``code`` at the top: all updates fail together."""
    return UpdateFeaturesResponse(error_code=code, error_message=message, results=[])
