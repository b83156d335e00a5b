"""Which limit holds for a client, and with whom it shares it.

Source: the order of precedence in ``ClientQuotaManager`` and its ``DefaultQuotaCallback`` (KIP-55).
"""

from collections.abc import Mapping
from typing import NamedTuple

from odradek.cluster.image import QuotaEntity
from odradek.cluster.quotas import CLIENT_ID, IP, USER


class Limit(NamedTuple):
    """``shared_by`` names those who use it up together: (user, client id), "" for all of them."""

    value: float
    shared_by: tuple[str, str]


class QuotaLimits:
    """What the quotas of an image mean; one is made for each change of them."""

    def __init__(self, quotas: Mapping[QuotaEntity, Mapping[str, float]]) -> None:
        self._quotas = quotas
        self._found: dict[tuple[str, str, str], Limit | None] = {}
        self.for_clients = any(IP not in dict(entity) for entity in quotas)
        """Whether any user or client has a limit."""
        self.for_addresses = any(IP in dict(entity) for entity in quotas)

    def client(self, key: str, user: str, client_id: str) -> Limit | None:
        """The limit ``key`` of a client: its most specific one, that of its user before that of its id."""
        asked = (key, user, client_id)
        if asked not in self._found:
            if len(self._found) > 10_000:
                self._found.clear()
            self._found[asked] = self._look_up(key, user, client_id)
        return self._found[asked]

    def _look_up(self, key: str, user: str, client_id: str) -> Limit | None:
        by_both = (user, client_id)
        levels: tuple[tuple[QuotaEntity, tuple[str, str]], ...] = (
            (((CLIENT_ID, client_id), (USER, user)), by_both),
            (((CLIENT_ID, None), (USER, user)), by_both),
            (((USER, user),), (user, "")),
            (((CLIENT_ID, client_id), (USER, None)), by_both),
            (((CLIENT_ID, None), (USER, None)), by_both),
            (((USER, None),), (user, "")),
            (((CLIENT_ID, client_id),), ("", client_id)),
            (((CLIENT_ID, None),), ("", client_id)),
        )
        for entity, shared_by in levels:
            value = self._quotas.get(entity, {}).get(key)
            if value is not None:
                return Limit(value, shared_by)
        return None

    def address(self, key: str, host: str) -> float | None:
        """The limit ``key`` of an address."""
        for name in (host, None):
            value = self._quotas.get(((IP, name),), {}).get(key)
            if value is not None:
                return value
        return None
