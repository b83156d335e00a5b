"""``python -m tests.faults.transactions.planted BUG serve …``: Odradek with a bug for the checker."""

import itertools
import sys
from collections.abc import Callable
from typing import Any

from odradek.broker import markers
from odradek.cli.main import main
from odradek.coordinator.offsets import Offsets
from odradek.storage.log import Log


def ignores_aborts() -> None:
    """Fetch does not tell readers which transactions were aborted."""
    Log.aborted_transactions = lambda self, start_offset, upper_offset: []  # type: ignore[method-assign]


def shows_open_transactions() -> None:
    """Readers are not held back: what is in the log counts as decided."""
    Log.last_stable_offset = property(lambda self: self.high_watermark)  # type: ignore[assignment,method-assign]


def splits_transactions() -> None:
    """Now and then the last partition of a committed transaction gets the marker of an abort."""
    write, turns = markers.write_marker, itertools.count()

    def write_wrong(broker: Any, topic: str, index: int, marker: markers.Marker, written: Any) -> None:
        is_wrong = marker.is_commit and not topic.startswith("__") and next(turns) % 20 == 0
        write(broker, topic, index, marker._replace(is_commit=False) if is_wrong else marker, written)

    markers.write_marker = write_wrong


def forgets_offsets() -> None:
    """Now and then the offsets of a committed transaction are dropped."""
    end, turns = Offsets.end_transaction, itertools.count()

    def forget(self: Offsets, producer_id: int, is_commit: bool) -> None:
        end(self, producer_id, is_commit and next(turns) % 2 == 0)

    Offsets.end_transaction = forget  # type: ignore[method-assign]


def commits_aborted_offsets() -> None:
    """The offsets of a transaction count however it ends."""
    end = Offsets.end_transaction
    Offsets.end_transaction = lambda self, producer_id, is_commit: end(self, producer_id, True)  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        ignores_aborts,
        shows_open_transactions,
        splits_transactions,
        forgets_offsets,
        commits_aborted_offsets,
    )
}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    main()
