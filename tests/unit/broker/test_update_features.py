from pathlib import Path
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.api_versions import ApiVersionsRequest
from odradek.protocol.generated.update_features import FeatureUpdateKey, UpdateFeaturesRequest

from .harness import Harness

UPGRADE, SAFE, UNSAFE = 1, 2, 3


def update(
    harness: Harness, *wanted: tuple[str, int, int], version: int = 2, validate_only: bool = False
) -> Any:
    updates = [
        FeatureUpdateKey(
            feature=name,
            max_version_level=level,
            **({"upgrade_type": upgrade_type} if version else {"allow_downgrade": upgrade_type != UPGRADE}),
        )
        for name, level, upgrade_type in wanted
    ]
    return harness.call(UpdateFeaturesRequest(feature_updates=updates, validate_only=validate_only), version)


def finalized(harness: Harness) -> dict[str, int]:
    request = ApiVersionsRequest(client_software_name="x", client_software_version="1")
    return {one.name: one.max_version_level for one in harness.call(request, 4).finalized_features}


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


@pytest.mark.parametrize("version", range(3))
def test_a_level_is_changed_and_survives(harness: Harness, version: int) -> None:
    assert finalized(harness)["transaction.version"] == 2
    response = update(harness, ("transaction.version", 1, SAFE), version=version)
    assert response.error_code == 0
    assert [one.feature for one in response.results] == ([] if version == 2 else ["transaction.version"])
    harness.restart()
    assert finalized(harness)["transaction.version"] == 1
    assert harness.broker.transactions.level() == 1
    assert update(harness, ("transaction.version", 2, UPGRADE), version=version).error_code == 0
    assert finalized(harness)["transaction.version"] == 2


def test_level_0_is_no_level(harness: Harness) -> None:
    assert update(harness, ("transaction.version", 0, UNSAFE)).error_code == 0
    assert "transaction.version" not in finalized(harness)
    assert harness.broker.transactions.level() == 0


def test_only_validated(harness: Harness) -> None:
    wanted = ("transaction.version", 0, SAFE)
    assert update(harness, wanted, version=1, validate_only=True).error_code == 0
    assert finalized(harness)["transaction.version"] == 2
    refused = update(harness, ("transaction.version", 7, UPGRADE), version=1, validate_only=True)
    assert refused.error_code == ErrorCode.INVALID_UPDATE_VERSION


@pytest.mark.parametrize(
    "wanted",
    [
        ("transaction.version", 1, UPGRADE),
        ("transaction.version", 3, UPGRADE),
        ("transaction.version", -1, SAFE),
        ("transaction.version", 1, 9),
        ("odd.version", 1, UPGRADE),
        ("", 1, UPGRADE),
    ],
)
def test_refused_as_a_whole(harness: Harness, wanted: tuple[str, int, int]) -> None:
    before = finalized(harness)
    response = update(harness, ("group.version", 0, SAFE), wanted)
    assert response.error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert wanted[0] in response.error_message
    assert finalized(harness) == before


def test_older_clients_are_not_shown_levels_from_0_on(harness: Harness) -> None:
    request = ApiVersionsRequest(client_software_name="x", client_software_version="1")
    assert harness.call(request, 3).supported_features == []
    supported = {one.name: one.max_version for one in harness.call(request, 4).supported_features}
    assert supported["transaction.version"] == 2
    assert harness.call(request, 4).finalized_features_epoch == harness.broker.image.index
