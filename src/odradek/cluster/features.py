"""Features whose level the cluster agrees on: what this version knows, and the rules of changing a level.

Source: KIP-584, KIP-1022, ``FeatureControlManager``, ``FeatureUpdate.UpgradeType``.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from odradek.cluster.change import Change
from odradek.cluster.image import ClusterImage
from odradek.cluster.records import FeatureChanged, Record
from odradek.core.errors import ApiError, ErrorCode

GROUP_VERSION = "group.version"
TRANSACTION_VERSION = "transaction.version"


class Levels(NamedTuple):
    """The levels that a feature may have here, and the one that a new cluster gets."""

    lowest: int
    highest: int
    default: int


SUPPORTED: Mapping[str, Levels] = {
    GROUP_VERSION: Levels(0, 1, 1),
    TRANSACTION_VERSION: Levels(0, 2, 2),
}


class UpgradeType(IntEnum):
    """What a request for another level allows."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


class FeatureUpdate(NamedTuple):
    """One feature and the level that is wanted for it; 0 finalizes it no longer."""

    name: str
    level: int
    upgrade_type: int


def initial_features() -> list[Record]:
    """The levels of a new cluster."""
    return [FeatureChanged(name, levels.default) for name, levels in SUPPORTED.items()]


def update_features(image: ClusterImage, updates: Iterable[FeatureUpdate]) -> Change[None]:
    """All of ``updates``, or none of them.

    Raises :class:`ApiError`: INVALID_UPDATE_VERSION, which says for which feature and why.
    """
    records: list[Record] = []
    for update in updates:
        _check(image, update)
        if update.level != image.features.get(update.name, 0):
            records.append(FeatureChanged(update.name, update.level))
    return Change(records, None)


def _check(image: ClusterImage, update: FeatureUpdate) -> None:
    name, level, upgrade_type = update
    levels = SUPPORTED.get(name)
    if upgrade_type not in list(UpgradeType):
        raise _refused(name, level, f"the upgrade type {upgrade_type} is not known")
    if levels is None:
        known = " and ".join(
            f"{name} ({levels.lowest}-{levels.highest})" for name, levels in SUPPORTED.items()
        )
        raise _refused(
            name, level, f"Odradek has {known} only, no KRaft and no share groups; name those alone"
        )
    if not levels.lowest <= level <= levels.highest:
        raise _refused(name, level, f"this broker supports {levels.lowest} to {levels.highest}")
    current = image.features.get(name, 0)
    if level < current and upgrade_type == UpgradeType.UPGRADE:
        raise _refused(name, level, f"it is {current}; a downgrade must be asked for as one")
    if level > current and upgrade_type != UpgradeType.UPGRADE:
        raise _refused(name, level, f"it is {current}, so that is no downgrade")


def _refused(name: str, level: int, reason: str) -> ApiError:
    message = f"no feature was changed, as {name} cannot be {level}: {reason}"
    return ApiError(ErrorCode.INVALID_UPDATE_VERSION, message)
