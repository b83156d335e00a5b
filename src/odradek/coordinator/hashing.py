"""Which partition of an internal topic a group or a transactional id belongs to.

Source: ``GroupCoordinatorService.partitionFor``, ``Utils.abs`` and ``java.lang.String.hashCode``.
"""

from functools import lru_cache

_SIGN = 1 << 31
_MASK = (1 << 32) - 1


def java_string_hash(text: str) -> int:
    """``String.hashCode`` of Java, a signed 32-bit number: taken over UTF-16 units, not code points."""
    units = text.encode("utf-16-be", "surrogatepass")
    result = 0
    for index in range(0, len(units), 2):
        result = (31 * result + (units[index] << 8 | units[index + 1])) & _MASK
    return result - (1 << 32) if result & _SIGN else result


@lru_cache(maxsize=4_096)
def partition_for(key: str, partition_count: int) -> int:
    """The partition of ``key`` among ``partition_count``; the smallest integer, which has no positive
    counterpart in Java, counts as 0."""
    hashed = java_string_hash(key)
    return 0 if hashed == -_SIGN else abs(hashed) % partition_count
