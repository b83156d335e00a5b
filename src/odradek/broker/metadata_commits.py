"""Changes of the cluster's metadata on their way to disk: proposed → durable → visible.

Commands are checked against ``proposed`` (everything appended), so that two requests in flight cannot
both create one topic; clients see ``image`` (everything durable), so that nothing seen is taken back by a
crash.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from odradek.cluster.change import Change
from odradek.cluster.fold import fold_all
from odradek.cluster.image import ClusterImage
from odradek.cluster.store import MetadataStore
from odradek.core.errors import ApiError, ErrorCode

log = logging.getLogger("odradek.metadata")

Done = Callable[[ClusterImage | ApiError], None]
"""Gets the image with the change in it, or why the change may be lost."""


class MetadataCommits:
    """Group commit of change records.

    Invariant: folding the pending entries over ``image`` gives ``proposed``.
    """

    def __init__(
        self,
        store: MetadataStore,
        apply: Callable[[ClusterImage], None],
        on_dirty: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._apply = apply
        self.image = store.image
        self.proposed = store.image
        self.on_dirty = on_dirty
        """Called when something waits to be flushed; the server starts a flush."""
        self._pending: deque[tuple[ClusterImage, Done]] = deque()
        self._in_flight = 0
        self._failure: OSError | None = None

    def commit(self, change: Change[Any], done: Done) -> None:
        """Appends ``change`` and calls ``done(image)`` once it is durable and visible.

        A change without records is done at once. Raises :class:`ApiError` when the metadata log cannot be
        written.
        """
        if not change.records:
            done(self.image)
            return
        if self._failure is not None:
            raise self._refusal(self._failure)
        try:
            index = self._store.append(change.records)
        except OSError as error:
            raise self._refusal(error) from error
        self.proposed = fold_all(self.proposed, change.records, index)
        self._pending.append((self.proposed, done))
        self.on_dirty()

    @staticmethod
    def _refusal(error: OSError) -> ApiError:
        return ApiError(ErrorCode.KAFKA_STORAGE_ERROR, f"the metadata log cannot be written: {error}")

    def close(self) -> None:
        self._store.close()

    @property
    def is_dirty(self) -> bool:
        return len(self._pending) > self._in_flight

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

    def finish_flush(self) -> None:
        """Makes what was flushed visible and releases who waited for it.

        After a failed flush nothing is known about what the disk holds (it may have dropped the dirty
        pages), so the pending changes stay invisible and every later one is refused.
        """
        if self._failure is not None:
            log.error("the metadata log failed, nothing can be changed any more: %s", self._failure)
            refused, self._pending, self._in_flight = self._pending, deque(), 0
            for _, done in refused:
                done(self._refusal(self._failure))
            return
        done_now = [self._pending.popleft() for _ in range(self._in_flight)]
        self._in_flight = 0
        if not done_now:
            return
        self.image = done_now[-1][0]
        self._apply(self.image)
        self._store.applied(self.image)
        for _, done in done_now:
            done(self.image)
