"""Leader epochs: assigning, asking, cutting."""

from odradek.storage.epochs import UNKNOWN, LeaderEpochs


def test_assigning_drops_what_contradicts() -> None:
    epochs = LeaderEpochs([])
    assert epochs.latest == -1
    assert epochs.assign(0, 0)
    assert not epochs.assign(0, 5)
    assert epochs.assign(2, 10)
    assert epochs.assign(4, 20)
    assert epochs.assign(3, 15)
    assert epochs.entries == [(0, 0), (2, 10), (3, 15)]
    assert epochs.assign(3, 12)
    assert epochs.entries == [(0, 0), (2, 10), (3, 12)]


def test_end_offsets() -> None:
    epochs = LeaderEpochs([(1, 5), (3, 10)])
    assert epochs.end_offset(3, 17) == (3, 17)
    assert epochs.end_offset(2, 17) == (1, 10)
    assert epochs.end_offset(1, 17) == (1, 10)
    assert epochs.end_offset(0, 17) == (0, 5)
    assert epochs.end_offset(4, 17) == UNKNOWN
    assert epochs.end_offset(-1, 17) == UNKNOWN
    assert LeaderEpochs([]).end_offset(0, 0) == UNKNOWN


def test_epoch_at() -> None:
    epochs = LeaderEpochs([(1, 5), (3, 10)])
    assert [epochs.epoch_at(offset) for offset in (4, 5, 9, 10, 99)] == [-1, 1, 1, 3, 3]


def test_cutting() -> None:
    epochs = LeaderEpochs([(1, 5), (3, 10), (4, 20)])
    assert epochs.cut_end(20)
    assert not epochs.cut_end(20)
    assert epochs.cut_start(12)
    assert not epochs.cut_start(12)
    assert epochs.entries == [(3, 12)]
    assert not epochs.cut_start(3)
