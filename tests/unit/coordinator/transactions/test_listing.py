"""Who is listed; the rest is held against Kafka in the conformance tests."""

from odradek.coordinator.regex import matcher
from odradek.coordinator.transactions.listing import Filter, describe_transaction, list_transactions
from odradek.coordinator.transactions.transaction import State, new_transaction
from odradek.core.errors import ErrorCode

IDLE = new_transaction("idle", 1, 1_000, 0)
OPEN = new_transaction("open", 2, 1_000, 0)._replace(
    state=State.ONGOING, started_ms=100, partitions=frozenset({("t", 1), ("t", 0)})
)


def listed(**wanted: object) -> list[str]:
    fields = {"states": [], "producer_ids": frozenset(), "duration_ms": -1, "matches": None, **wanted}
    response = list_transactions([IDLE, OPEN], Filter(**fields), 1_100)  # type: ignore[arg-type]
    return [one.transactional_id for one in response.transaction_states]


def test_filters() -> None:
    assert listed() == ["idle", "open"]
    assert listed(states=["Ongoing"]) == ["open"]
    assert listed(states=["Dead", "nonsense"]) == []
    assert listed(producer_ids=frozenset({1, 7})) == ["idle"]
    assert listed(matches=matcher("o.*")) == ["open"]
    assert listed(duration_ms=999) == ["idle", "open"]
    assert listed(duration_ms=1_000) == ["idle"]


def test_states_that_do_not_exist_are_named() -> None:
    wanted = Filter(["odd", "Ongoing", "PrepareEpochFence"], frozenset(), -1, None)
    assert list_transactions([], wanted, 0).unknown_state_filters == ["odd"]


def test_describe() -> None:
    described = describe_transaction("open", OPEN)
    assert (described.transaction_state, described.transaction_start_time_ms) == ("Ongoing", 100)
    assert [(topic.topic, topic.partitions) for topic in described.topics] == [("t", [0, 1])]
    assert describe_transaction("x", None).error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
