"""The function that prepares each :class:`ScenarioCase`, by its name."""

import contextlib
from collections.abc import Callable

from benchmarks import beside_compaction, cold, many, recovery
from benchmarks.brokers import Broker
from benchmarks.measure import Bench, Run

SCENARIOS: dict[str, Callable[[Bench, Broker], contextlib.AbstractContextManager[Run]]] = {
    "cold": cold.prepared,
    "many-connections": many.many_connections,
    "many-partitions": many.many_partitions,
    "beside-compaction": beside_compaction.prepared,
    "recovery": recovery.prepared,
}
