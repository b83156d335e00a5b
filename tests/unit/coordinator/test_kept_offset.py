"""A committed offset is kept as bytes, and nothing of it is lost."""

from hypothesis import given
from hypothesis import strategies as st

from odradek.coordinator import kept_offset
from odradek.coordinator.records import CommittedOffset
from odradek.core.ids import ZERO_ID

LONG = st.integers(-(1 << 63), (1 << 63) - 1)
COMMITTED = st.builds(
    CommittedOffset,
    LONG,
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.text(st.characters(), max_size=20),
    LONG,
    st.just(-1) | LONG,
    st.just(ZERO_ID) | st.binary(min_size=16, max_size=16),
    LONG,
)


@given(COMMITTED)
def test_what_is_kept_is_what_is_found(committed: CommittedOffset) -> None:
    kept = kept_offset.keep(*committed)
    assert kept_offset.look(kept) == committed
    assert kept_offset.position(kept) == (committed.offset, committed.leader_epoch, committed.metadata)
    assert kept_offset.commit_timestamp_ms(kept) == committed.commit_timestamp_ms
    assert kept_offset.expire_timestamp_ms(kept) == committed.expire_timestamp_ms
    assert kept_offset.topic_id(kept) == committed.topic_id


def test_a_plain_one_is_short() -> None:
    assert len(kept_offset.keep(1 << 40, 5, "", 1 << 41, -1, bytes(range(16)), 1 << 42)) == 44
    assert len(kept_offset.keep(0, -1, "ä", 0, -1, ZERO_ID, 0)) == 44 + 8 + 2
