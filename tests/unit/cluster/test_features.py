"""The levels of features; the rules of changing them are held against Kafka in the conformance tests."""

import pytest

from odradek.cluster.features import (
    GROUP_VERSION,
    SUPPORTED,
    TRANSACTION_VERSION,
    FeatureUpdate,
    UpgradeType,
    initial_features,
    update_features,
)
from odradek.cluster.fold import fold_all
from odradek.cluster.image import EMPTY, ClusterImage
from odradek.core.errors import ApiError, ErrorCode

UPGRADE, DOWNGRADE = UpgradeType.UPGRADE, UpgradeType.SAFE_DOWNGRADE


def new_cluster() -> ClusterImage:
    return fold_all(EMPTY, initial_features(), 1)


def test_a_new_cluster_has_the_default_levels() -> None:
    assert new_cluster().features == {name: levels.default for name, levels in SUPPORTED.items()}


def test_all_updates_are_one_change() -> None:
    updates = [
        FeatureUpdate(TRANSACTION_VERSION, 1, DOWNGRADE),
        FeatureUpdate(GROUP_VERSION, 0, DOWNGRADE),
    ]
    image = fold_all(new_cluster(), update_features(new_cluster(), updates).records, 2)
    assert image.features == {TRANSACTION_VERSION: 1}
    back = [FeatureUpdate(GROUP_VERSION, 1, UPGRADE)]
    assert fold_all(image, update_features(image, back).records, 3).features[GROUP_VERSION] == 1


def test_the_level_that_is_there_is_no_change() -> None:
    for upgrade_type in UpgradeType:
        update = FeatureUpdate(TRANSACTION_VERSION, 2, upgrade_type)
        assert not update_features(new_cluster(), [update]).records
    assert not update_features(new_cluster(), []).records


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (FeatureUpdate(TRANSACTION_VERSION, 1, UPGRADE), "a downgrade must be asked for as one"),
        (FeatureUpdate(TRANSACTION_VERSION, 3, UPGRADE), "supports 0 to 2"),
        (FeatureUpdate(TRANSACTION_VERSION, -1, DOWNGRADE), "supports 0 to 2"),
        (FeatureUpdate(TRANSACTION_VERSION, 2, 0), "upgrade type 0"),
        (
            FeatureUpdate("kraft.version", 1, UPGRADE),
            r"has group.version \(0-1\) and transaction.version \(0-2\)",
        ),
        (FeatureUpdate("odd.version", 0, DOWNGRADE), "no feature was changed, as odd.version cannot be 0"),
    ],
)
def test_a_refusal_says_why(update: FeatureUpdate, reason: str) -> None:
    with pytest.raises(ApiError, match=reason) as caught:
        update_features(new_cluster(), [FeatureUpdate(GROUP_VERSION, 0, DOWNGRADE), update])
    assert caught.value.code is ErrorCode.INVALID_UPDATE_VERSION


@pytest.mark.parametrize("upgrade_type", [UpgradeType.SAFE_DOWNGRADE, UpgradeType.UNSAFE_DOWNGRADE])
def test_a_downgrade_leads_to_no_higher_level(upgrade_type: UpgradeType) -> None:
    lower = update_features(new_cluster(), [FeatureUpdate(TRANSACTION_VERSION, 1, DOWNGRADE)])
    image = fold_all(new_cluster(), lower.records, 2)
    with pytest.raises(ApiError, match="it is 1, so that is no downgrade"):
        update_features(image, [FeatureUpdate(TRANSACTION_VERSION, 2, upgrade_type)])
