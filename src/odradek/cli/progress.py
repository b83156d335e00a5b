"""A bar on standard error for what takes long, drawn only on a terminal and only after a second."""

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET_S = 1.0
_STEP_S = 0.1


class ProgressBar:
    """Counts something up to ``total`` (None: unknown). Rich is imported only once the bar is drawn.

    It stays away while standard input is the terminal: someone is typing there.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label = label
        self._total = total
        self._bar: Progress | None = None
        is_shown = sys.stderr.isatty() and not sys.stdin.isatty()
        self._next_s = time.monotonic() + _QUIET_S if is_shown else float("inf")

    def update(self, done: int, note: str = "") -> None:
        """Say how far it is, in the unit of ``total``; ``note`` stands behind the bar."""
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + _STEP_S
        if self._bar is None:
            self._bar = _make_bar(self._total)
            self._task = self._bar.add_task(self._label, total=self._total, note=note)
            self._bar.start()
        self._bar.update(self._task, completed=done, note=note)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _make_bar(total: int | None) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn()]
    if total is not None:
        columns.append(TaskProgressColumn())
    columns += [TextColumn("{task.fields[note]}"), TimeElapsedColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=True)
