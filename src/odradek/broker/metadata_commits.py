"""Changes of the cluster's metadata on their way to disk: proposed → durable → visible.

Commands are checked against ``proposed`` (everything appended), so that two requests in flight cannot
both create one topic; clients see ``image`` (everything durable), so that nothing seen is taken back by a
crash.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence, Set
from typing import Any

from odradek.cluster.change import Change
from odradek.cluster.fold import fold_all, touched_topics
from odradek.cluster.image import ClusterImage
from odradek.cluster.records import Record
from odradek.cluster.store import MetadataStore
from odradek.core.errors import ApiError, ErrorCode

log = logging.getLogger("odradek.metadata")

Done = Callable[[ClusterImage | ApiError], None]
"""Gets the image with the change in it, or why the change may be lost."""


class MetadataCommits:
    """Group commit of change records. ``apply`` puts an image into effect, told the topics that changed;
    ``when_applied`` calls back once that has come to its end, if need be later.

    Invariant: folding the pending entries over ``image`` gives ``proposed``.
    """

    def __init__(
        self,
        store: MetadataStore,
        apply: Callable[[ClusterImage, Set[str]], None],
        on_dirty: Callable[[], None] = lambda: None,
        when_applied: Callable[[Callable[[], None]], None] = lambda callback: callback(),
    ) -> None:
        self._store = store
        self._apply = apply
        self._when_applied = when_applied
        self.image = store.image
        self.proposed = store.image
        self.on_dirty = on_dirty
        """Called when something waits to be flushed; the server starts a flush."""
        self._pending: deque[tuple[ClusterImage, Set[str], Done]] = deque()
        self._in_flight = 0
        self._failure: OSError | None = None

    def commit(self, change: Change[Any], done: Done) -> None:
        """Appends ``change`` and calls ``done(image)`` once it is durable and visible.

        A change without records was decided by what is proposed, so it is done once that is durable.
        Raises :class:`ApiError` when the metadata log cannot be written.
        """
        if not change.records and not self._pending:
            done(self.image)
            return
        touched: Set[str] = frozenset()
        if change.records:
            touched = self._append(change.records)
        self._pending.append((self.proposed, touched, done))
        self.on_dirty()

    def _append(self, records: Sequence[Record]) -> set[str]:
        if self._failure is not None:
            raise self._refusal(self._failure)
        # Folded before it is written: what cannot be folded would keep the next start from reading the log.
        proposed = fold_all(self.proposed, records, self.proposed.index + 1)
        try:
            self._store.append(records)
        except OSError as error:
            raise self._refusal(error) from error
        touched = touched_topics(self.proposed, records)
        self.proposed = proposed
        return touched

    @staticmethod
    def _refusal(error: OSError) -> ApiError:
        return ApiError(ErrorCode.KAFKA_STORAGE_ERROR, f"the metadata log cannot be written: {error}")

    @property
    def failure(self) -> OSError | None:
        """Why nothing can be changed any more, if so."""
        return self._failure

    def close(self) -> None:
        self._store.close()

    def begin_flush(self) -> bool:
        """Takes what is pending into the next flush; ``False`` when there is nothing."""
        self._in_flight = len(self._pending)
        return self._in_flight > 0

    def run_flush(self) -> None:
        """Blocks until everything appended before :meth:`begin_flush` is on disk."""
        try:
            self._store.flush()
        except OSError as error:
            self._failure = error
        except Exception as error:
            log.exception("the metadata log's flush failed")
            self._failure = OSError(f"{type(error).__name__}: {error}")

    def finish_flush(self) -> None:
        """Makes what was flushed visible and releases who waited for it.

        After a failed flush nothing is known about what the disk holds (it may have dropped the dirty
        pages), so the pending changes stay invisible and every later one is refused.
        """
        if self._failure is not None:
            log.error("the metadata log failed, nothing can be changed any more: %s", self._failure)
            refused, self._pending, self._in_flight = self._pending, deque(), 0
            self.proposed = self.image  # what is not durable must not be what the next command is told
            for _, _, done in refused:
                _tell(done, self._refusal(self._failure))
            return
        done_now = [self._pending.popleft() for _ in range(self._in_flight)]
        self._in_flight = 0
        if not done_now:
            return
        self.image = done_now[-1][0]
        try:
            self._apply(self.image, frozenset().union(*(touched for _, touched, _ in done_now)))
        except Exception:
            log.exception("what is new in the metadata could not all be put into effect")
        self._store.applied(self.image)
        image = self.image

        def tell() -> None:
            for _, _, done in done_now:
                _tell(done, image)

        self._when_applied(tell)


def _tell(done: Done, outcome: ClusterImage | ApiError) -> None:
    """One who fails must not keep the others from being told."""
    try:
        done(outcome)
    except Exception:
        log.exception("someone who waited for a change could not be told")
