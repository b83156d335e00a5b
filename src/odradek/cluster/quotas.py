"""Commands on client quotas, and which of them a filter asks for.

Checks and codes: ``ClientQuotaControlManager`` and ``ClientQuotasImage`` of Kafka 4.3; KIP-546, KIP-612.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from odradek.cluster.change import Change
from odradek.cluster.image import ClusterImage, QuotaEntity
from odradek.cluster.records import ClientQuotaChanged, Record
from odradek.core.errors import ApiError, ErrorCode

USER = "user"
CLIENT_ID = "client-id"
IP = "ip"
ENTITY_TYPES = (USER, CLIENT_ID, IP)

PRODUCER_BYTE_RATE = "producer_byte_rate"
CONSUMER_BYTE_RATE = "consumer_byte_rate"
REQUEST_PERCENTAGE = "request_percentage"
CONTROLLER_MUTATION_RATE = "controller_mutation_rate"
CONNECTION_CREATION_RATE = "connection_creation_rate"

_CLIENT_LIMITS: Mapping[str, int | None] = {
    PRODUCER_BYTE_RATE: 2**63 - 1,
    CONSUMER_BYTE_RATE: 2**63 - 1,
    REQUEST_PERCENTAGE: None,
    CONTROLLER_MUTATION_RATE: None,
}
"""Limits of users and clients → the largest whole number; ``None`` for those that may be fractions."""
_IP_LIMITS: Mapping[str, int | None] = {CONNECTION_CREATION_RATE: 2**31 - 1}


class QuotaOperation(NamedTuple):
    """One limit to set, or to remove where ``value`` is ``None``."""

    key: str
    value: float | None


class MatchType(IntEnum):
    """How a filter looks at one kind of entity."""

    EXACT = 0
    DEFAULT = 1
    SPECIFIED = 2


class FilterPart(NamedTuple):
    """``match_type`` is the wire's number, which may be none that exists."""

    entity_type: str
    match_type: int
    match: str | None


def alter_client_quotas(
    image: ClusterImage, entries: Sequence[tuple[Sequence[tuple[str, str | None]], Sequence[QuotaOperation]]]
) -> Change[list[ApiError | None]]:
    """Each entity succeeds or fails as a whole; the results are in the order of ``entries``."""
    records: list[Record] = []
    results: list[ApiError | None] = []
    asked = Counter(tuple(sorted(entity, key=lambda part: part[0])) for entity, _ in entries)
    for parts, operations in entries:
        try:
            entity = tuple(sorted(parts, key=lambda part: part[0]))
            if asked[entity] > 1:
                raise _invalid(f"Ignoring duplicate entity {_text(entity)}")
            records += _altered(image, entity, operations)
            results.append(None)
        except ApiError as error:
            results.append(error)
    return Change(records, results)


def _altered(
    image: ClusterImage, entity: QuotaEntity, operations: Sequence[QuotaOperation]
) -> list[ClientQuotaChanged]:
    for key, count in Counter(operation.key for operation in operations).items():
        if count > 1:
            raise _invalid(f"Duplicate quota key {key} not updating quota for this entity {_text(entity)}")
    limits = _limits_of(entity)
    current = image.quotas.get(entity, {})
    changes = []
    for key, value in operations:
        if value is not None:
            _check_value(limits, key, value)
        if current.get(key) != value:
            changes.append(ClientQuotaChanged(entity, key, value))
    return changes


def _limits_of(entity: QuotaEntity) -> Mapping[str, int | None]:
    """The limits that an entity may have. Raises :class:`ApiError` when it is none."""
    if not entity:
        raise _invalid("Invalid empty client quota entity")
    kinds = [kind for kind, _ in entity]
    for kind, name in entity:
        if kinds.count(kind) > 1:
            raise _invalid(f"Invalid client quota entity, duplicate entity entry {kind}")
        if kind not in ENTITY_TYPES:
            raise _invalid(f"Unhandled client quota entity type: {kind}")
        if name == "":
            raise _invalid(f"Empty {kind} not supported")
    if IP not in kinds:
        return _CLIENT_LIMITS
    if len(kinds) > 1:
        raise _invalid(
            "Invalid quota entity combination, IP entity should not be combined with User or ClientId"
        )
    address = entity[0][1]
    if address is not None and not _is_address(address):
        raise _invalid(f"{address} is not a valid IP address")
    return _IP_LIMITS


def _is_address(text: str) -> bool:
    import ipaddress  # its regular expressions cost every start otherwise

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_value(limits: Mapping[str, int | None], key: str, value: float) -> None:
    if key not in limits:
        raise _invalid(f"Invalid configuration key {key}")
    if not value > 0:
        raise _invalid(f"Quota {key} must be greater than 0")
    largest = limits[key]
    if largest is None:
        return
    if value > largest:
        raise _invalid(
            f"Proposed value for {key} is too large for {'an INT' if largest < 2**32 else 'a LONG'}."
        )
    if value % 1.0 > 1e-6:
        raise _invalid(f"{key} cannot be a fractional value.")


def matching(
    quotas: Mapping[QuotaEntity, Mapping[str, float]], parts: Sequence[FilterPart], *, is_strict: bool
) -> Iterator[tuple[QuotaEntity, Mapping[str, float]]]:
    """Entities that have all ``parts``, and nothing else when ``is_strict``. Raises :class:`ApiError`."""
    wanted = _checked(parts)
    for entity, limits in quotas.items():
        names = dict(entity)
        if is_strict and len(names) != len(wanted):
            continue
        if all(
            kind in names and (match_type == MatchType.SPECIFIED or names[kind] == match)
            for kind, (match_type, match) in wanted.items()
        ):
            yield entity, limits


def _checked(parts: Sequence[FilterPart]) -> dict[str, tuple[int, str | None]]:
    wanted: dict[str, tuple[int, str | None]] = {}
    for kind, match_type, match in parts:
        if not kind:
            raise _invalid("Invalid empty entity type.")
        if kind in wanted:
            raise _invalid(f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in ENTITY_TYPES:
            raise ApiError(ErrorCode.UNSUPPORTED_VERSION, f"Unsupported entity type {kind}")
        if match_type not in MatchType.__members__.values():
            raise _invalid(f"Unknown match type {match_type}")
        name = MatchType(match_type).name
        if match_type == MatchType.EXACT and match is None:
            raise _invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.")
        if match_type != MatchType.EXACT and match is not None:
            raise _invalid(f"Request specified MATCH_TYPE_{name}, but also specified a match string.")
        wanted[kind] = (match_type, match)
    if IP in wanted and len(wanted) > 1:
        raise _invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or"
            " clientId filter component."
        )
    return wanted


def _text(entity: QuotaEntity) -> str:
    return ", ".join(f"{kind}={'<default>' if name is None else name}" for kind, name in entity)


def _invalid(message: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_REQUEST, message)
