"""The room on a volume that producers do not get: one rule for the broker and for those who judge it."""

KEY = "odradek.disk.headroom.bytes"
AUTOMATIC = -1
AUTOMATIC_SHARE = 20
"""The headroom is a twentieth of the volume, if nobody says,"""
AUTOMATIC_LIMIT = 1 << 30
"""but never more than this."""


def headroom_of(total: int, configured: int) -> int:
    """In bytes, on a volume of ``total`` bytes, as ``configured`` by ``odradek.disk.headroom.bytes``."""
    return min(total // AUTOMATIC_SHARE, AUTOMATIC_LIMIT) if configured == AUTOMATIC else configured
