"""What happened in a simulation, to be read by people and compared by machines."""

import hashlib
from collections import deque

from odradek.testing.simulation.loop import Loop

KEPT_LINES = 20_000


class Trace:
    """Lines in the order of events; ``digest`` tells two runs apart that differ in any of them."""

    def __init__(self, loop: Loop) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, who: str, what: str) -> None:
        line = f"{self._loop.elapsed_ms:12.3f} {who:<12} {what}"
        self.lines.append(line)
        self._hash.update(line.encode())

    def digest(self) -> str:
        return self._hash.hexdigest()
