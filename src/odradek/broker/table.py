"""The one table of APIs: what is served, by which module. ApiVersions announces exactly this.

Handlers and their messages are imported when the first request of their kind comes, so that start-up
pays for none of them. Version ranges are Kafka 4.3's (``protocol/apis.py``).
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from odradek.broker.repeats import Repeat
from odradek.core.errors import ErrorCode
from odradek.protocol import apis
from odradek.protocol.headers import request_header_version, response_header_version

PRODUCE = 0
FETCH = 1
OFFSET_COMMIT = 8
API_VERSIONS = 18

HANDLERS: dict[int, str] = {
    0: "produce",
    1: "fetch",
    2: "list_offsets",
    3: "metadata",
    8: "offset_commit",
    9: "offset_fetch",
    10: "find_coordinator",
    11: "join_group",
    12: "heartbeat",
    13: "leave_group",
    14: "sync_group",
    15: "describe_groups",
    16: "list_groups",
    18: "api_versions",
    19: "create_topics",
    20: "delete_topics",
    21: "delete_records",
    22: "init_producer_id",
    23: "offset_for_leader_epoch",
    24: "add_partitions_to_txn",
    25: "add_offsets_to_txn",
    26: "end_txn",
    27: "write_txn_markers",
    28: "txn_offset_commit",
    32: "describe_configs",
    33: "alter_configs",
    35: "describe_log_dirs",
    37: "create_partitions",
    42: "delete_groups",
    44: "incremental_alter_configs",
    47: "offset_delete",
    48: "describe_client_quotas",
    49: "alter_client_quotas",
    57: "update_features",
    60: "describe_cluster",
    61: "describe_producers",
    65: "describe_transactions",
    66: "list_transactions",
    68: "consumer_group_heartbeat",
    69: "consumer_group_describe",
    74: "list_config_resources",
    75: "describe_topic_partitions",
}
"""API key → module of this room. Each module has ``handle(broker, request, context)`` and
``refuse(request, code, message)``, the response that carries one error for everything asked."""

REPEATED: dict[int, str] = {
    0: "repeated_produce",
    1: "repeated_fetch",
    8: "repeated_commit",
    68: "repeated_heartbeat",
}
"""API key → module that knows such requests again (:mod:`odradek.broker.repeats`)."""

GATHERED = frozenset({8})
"""API keys whose requests may be handled while others wait to be written (:mod:`odradek.broker.gathered`)."""


WRITING = frozenset({PRODUCE, 22, 24, 25, 26, 28})
"""API keys that clients write records and transactions with; OffsetCommit is not among them, as consumers
commit every few seconds though nothing is there."""


class Api:
    """One row of the table, its modules not yet imported."""

    __slots__ = (
        "_around",
        "decode",
        "failures",
        "handle",
        "highest_version",
        "is_gathered",
        "is_loaded",
        "key",
        "learn",
        "lowest_version",
        "module",
        "name",
        "refuse",
        "request_flexible_from",
        "requests",
        "response_flexible_from",
    )

    def __init__(self, key: int, module: str) -> None:
        description = apis.APIS[key]
        self.key = key
        self.name = description.name
        self.module = module
        self.lowest_version = description.lowest_version
        # A version that Kafka still changes is announced by nobody.
        self.highest_version = description.highest_version - description.is_latest_unstable
        versions = range(self.lowest_version, self.highest_version + 2)
        self.request_flexible_from = next(
            (version for version in versions if request_header_version(key, version) == 2), 32_767
        )
        self.response_flexible_from = next(
            (version for version in versions if response_header_version(key, version) == 1), 32_767
        )
        self._around: Callable[[Api], None] | None = None
        self.is_gathered = key in GATHERED
        self.is_loaded = False
        self.requests = 0
        self.failures = 0
        """Requests that were refused as a whole, or that a fault of ours kept from being answered."""
        self.decode: Callable[[memoryview, int, int], tuple[Any, int]]
        self.handle: Callable[..., Any]
        self.refuse: Callable[[Any, ErrorCode, str | None], Any]
        self.learn: Callable[..., Repeat | None] | None = None

    def load(self) -> None:
        """Imports the handler and the messages of this API."""
        handler = import_module(f"odradek.broker.{self.module}")
        self.handle = handler.handle
        self.refuse = handler.refuse
        self.decode = apis.load(self.key).request.decode
        if self.key in REPEATED:
            self.learn = import_module(f"odradek.broker.{REPEATED[self.key]}").learn
        self.is_loaded = True
        if self._around is not None:
            self._around(self)

    def surround(self, around: "Callable[[Api], None] | None") -> None:
        """Has ``around`` put itself before ``decode`` and ``handle``; ``None`` takes it away again."""
        self._around = around
        if self.is_loaded:
            self.load()


def writes(table: "dict[int, Api]") -> int:
    """How many requests with which clients write have come so far."""
    return sum(table[key].requests for key in WRITING)


def build() -> dict[int, Api]:
    """The table, keyed by API key."""
    return {key: Api(key, module) for key, module in HANDLERS.items()}
