"""Which states are put back from what is open in partitions."""

import pytest

from odradek.coordinator.step import Producer
from odradek.coordinator.transactions import records
from odradek.coordinator.transactions.decisions import End, restore
from odradek.coordinator.transactions.transaction import State, Transaction, new_transaction

T0, T1 = ("t", 0), ("t", 1)
NOW_MS = 77


def loaded(state: State, version: int = 2, **fields: object) -> Transaction:
    """Epoch 3 of producer 5, as the log tells of it."""
    has_partitions = state in (State.ONGOING, State.PREPARE_COMMIT, State.PREPARE_ABORT)
    written = new_transaction("x", 5, 1_000, 7)._replace(
        state=state, epoch=3, version=version, partitions=frozenset([T0] if has_partitions else [])
    )
    value = records.record(written._replace(**fields), 2)[1]  # type: ignore[arg-type]
    assert value is not None
    return records.read_value("x", value)


@pytest.mark.parametrize(
    ("state", "version", "states", "partitions"),
    [
        (State.EMPTY, 0, [State.ONGOING], {T1}),
        (State.ONGOING, 2, [State.ONGOING], {T0, T1}),
        (State.PREPARE_COMMIT, 2, [State.COMPLETE_COMMIT, State.ONGOING], {T1}),
        (State.PREPARE_ABORT, 2, [State.COMPLETE_ABORT, State.ONGOING], {T1}),
        (State.COMPLETE_COMMIT, 2, [State.ONGOING], {T1}),
        (State.COMPLETE_ABORT, 2, [State.ONGOING], {T1}),
        # of version 1 nothing is written ahead of its state
        (State.ONGOING, 0, [], set()),
        (State.PREPARE_COMMIT, 0, [], set()),
        (State.COMPLETE_COMMIT, 0, [], set()),
    ],
)
def test_a_partition_that_no_state_names(
    state: State, version: int, states: list[State], partitions: set[tuple[str, int]]
) -> None:
    moves = restore(loaded(state, version), {Producer(5, 3): frozenset([T1])}, {}, NOW_MS)
    assert [moved.state for moved in moves] == states
    if moves:
        last = moves[-1]
        assert (last.epoch, last.partitions, last.version) == (3, partitions, 2)


def test_what_is_open_under_another_epoch_or_id_or_is_known_is_left_alone() -> None:
    others = {Producer(5, 2): frozenset([T1]), Producer(6, 3): frozenset([T1])}
    for state in (State.ONGOING, State.PREPARE_COMMIT, State.COMPLETE_COMMIT):
        assert restore(loaded(state), others, {}, NOW_MS) == []
    assert restore(loaded(State.ONGOING), {Producer(5, 3): frozenset([T0])}, {}, NOW_MS) == []


@pytest.mark.parametrize("is_commit", [True, False])
@pytest.mark.parametrize(
    ("state", "version", "before"),
    [
        (State.EMPTY, 0, [State.ONGOING]),
        (State.ONGOING, 2, [State.ONGOING]),
        (State.ONGOING, 0, [State.ONGOING]),
        (State.PREPARE_ABORT, 2, [State.COMPLETE_ABORT, State.ONGOING]),
        (State.COMPLETE_COMMIT, 2, [State.ONGOING]),
        (State.COMPLETE_COMMIT, 0, [State.ONGOING]),
    ],
)
def test_an_end_that_only_its_markers_tell_of(
    state: State, version: int, before: list[State], is_commit: bool
) -> None:
    moves = restore(loaded(state, version), {}, {Producer(5, 4): End(is_commit, frozenset([T1]))}, NOW_MS)
    end = State.PREPARE_COMMIT if is_commit else State.PREPARE_ABORT
    assert [moved.state for moved in moves] == [*before, end]
    named = {T0, T1} if state is State.ONGOING else {T1}
    assert (moves[-1].epoch, moves[-1].partitions, moves[-1].version) == (4, named, 2)


def test_an_end_and_what_is_still_open_elsewhere() -> None:
    ended = {Producer(5, 4): End(True, frozenset([T0]))}
    (moved,) = restore(loaded(State.ONGOING), {}, ended, NOW_MS)
    assert (moved.state, moved.partitions) == (State.PREPARE_COMMIT, {T0})
    moves = restore(loaded(State.COMPLETE_ABORT), {Producer(5, 3): frozenset([T1])}, ended, NOW_MS)
    assert [one.state for one in moves] == [State.ONGOING, State.PREPARE_COMMIT]
    assert moves[-1].partitions == {T0, T1}


def test_ends_of_other_epochs_are_left_alone() -> None:
    for epoch in (2, 3, 5):
        ended = {Producer(5, epoch): End(True, frozenset([T0])), Producer(6, 4): End(True, frozenset([T0]))}
        for state in (State.ONGOING, State.PREPARE_COMMIT, State.COMPLETE_COMMIT):
            assert restore(loaded(state), {}, ended, NOW_MS) == []


def test_behind_an_end_of_version_1_nothing_is_put_back() -> None:
    ended = {Producer(5, 4): End(True, frozenset([T0]))}
    assert restore(loaded(State.PREPARE_COMMIT, 0), {}, ended, NOW_MS) == []


def test_the_next_producer_id_when_the_epochs_are_used_up() -> None:
    prepared = loaded(State.PREPARE_COMMIT, epoch=32_767, next_producer_id=9)
    completed, ongoing = restore(prepared, {Producer(9, 0): frozenset([T1])}, {}, NOW_MS)
    assert (completed.producer_id, completed.epoch) == (9, 0)
    assert (ongoing.producer_id, ongoing.epoch, ongoing.partitions) == (9, 0, {T1})
