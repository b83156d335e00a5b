"""What a command says while it tries something again and again: nobody should wonder why nothing happens."""

import time
from collections.abc import Callable

from odradek.cli.errors import command_error
from odradek.cli.output import note
from odradek.core.errors import ApiError, ErrorCode, OdradekError

PASSING_S = 1.0
"""What goes on for less, as leaders and coordinators come up, is not told."""
_FORGOTTEN_S = 5.0
_LASTING = ErrorCode.KAFKA_STORAGE_ERROR
"""An offline partition or a full disk: that hardly passes by itself, and is told at once."""


class Patience:
    """Told of each failure after which something is tried again; says each cause once, on standard error."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._seen: dict[str, tuple[float, float]] = {}
        """When a cause was seen first, and last."""
        self._told: set[str] = set()

    def __call__(self, error: OdradekError) -> None:
        now_s = self._clock_s()
        shown = command_error(error)
        first_s, last_s = self._seen.get(shown.message, (now_s, now_s))
        if now_s - last_s > _FORGOTTEN_S:
            first_s = now_s
        self._seen[shown.message] = first_s, now_s
        is_lasting = isinstance(error, ApiError) and error.code is _LASTING
        if shown.message in self._told or not (is_lasting or now_s - first_s >= PASSING_S):
            return
        self._told.add(shown.message)
        note(f"waiting: {shown.message}")
        if shown.fix:
            note(f"         {shown.fix}")
