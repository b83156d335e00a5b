"""What goes wrong in a simulation: crashes, power cuts, sick and full disks, broken connections, pauses."""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.testing.simulation.rot import Rot

if TYPE_CHECKING:
    from odradek.testing.simulation.simulation import Simulation

DOWN_MS = 400
"""How long a broker is down before it is started again, at most."""


class Chaos:
    """Does harm until the simulation ends; the seed decides which kinds, so that each has runs of its own."""

    def __init__(self, world: "Simulation", *, only_power_cuts: bool = False) -> None:
        self._world = world
        self._node = world.node
        self._rng = world.rng
        every: list[Callable[[], None]] = [
            self._kill,
            self._cut_power,
            self._stop,
            self._pause,
            self._cut_connections,
            self._slow_network,
            self._write_back,
            self._fail_calls,
            self._fill_disk,
            self._short_calls,
        ]
        if only_power_cuts:
            self._kinds = [self._cut_power, self._cut_power, self._cut_power, self._write_back]
        else:
            self._kinds = [kind for kind in every if self._rng.random() < 0.5] or [self._cut_power]
        self.rot = Rot(world)
        if self.rot.is_there and not only_power_cuts:
            self._kinds.append(self.rot.strike)
            self._node.on_flushed = self.rot.look
        self._longest_peace_ms = 600 if only_power_cuts else 2_000
        self._until_ms = dict[str, float]()
        self._failing: tuple[str, ...] = ()

    async def run(self) -> None:
        world = self._world
        world.trace.note("chaos", " ".join(kind.__name__.strip("_") for kind in self._kinds))
        while not world.is_ending:
            await world.loop.sleep(self._rng.randint(50, self._longest_peace_ms))
            if not world.is_ending:
                self._rng.choice(self._kinds)()

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self._until_ms.clear()
        node = self._node
        node.calls_until_crash = None
        node.is_paused = False
        node.volume.capacity = None
        node.disk.short = 0.0
        node.fault = lambda call, path: 0
        node.network.slowness = 3.0
        self.rot.heal()

    def _for_a_while(self, what: str, most_ms: int, undo: Callable[[], None]) -> None:
        loop = self._world.loop
        ms = self._rng.randint(20, most_ms)
        self._world.trace.note("chaos", f"{what} for {ms} ms")
        self._until_ms[what] = until_ms = loop.elapsed_ms + ms

        def over() -> None:
            if self._until_ms.get(what) == until_ms:
                undo()

        loop.after(ms, over)

    # Crashes

    def _kill(self) -> None:
        self._crash_soon(cuts_power=False)

    def _cut_power(self) -> None:
        self._crash_soon(cuts_power=True)

    def _crash_soon(self, *, cuts_power: bool) -> None:
        """After some more calls of the disk, be it in the middle of a flush, of a start or of a stop."""
        node = self._node
        if self._rng.random() < 0.3 and node.is_up:
            node.crash(cuts_power=cuts_power)
        else:
            node.crash_cuts_power = cuts_power
            node.calls_until_crash = self._rng.randrange(self._rng.choice((3, 30, 300)))
        if self._rng.random() < 0.5:
            self._world.loop.after(self._rng.randint(100, 1_000), self._strike_again)

    def _strike_again(self) -> None:
        """While the broker recovers from the crash before, if it has come so far."""
        node = self._node
        if not self._world.is_ending and node.is_recovering:
            node.crash_cuts_power = self._rng.random() < 0.5
            node.calls_until_crash = self._rng.randrange(30)

    def _stop(self) -> None:
        self._node.stop()

    def _pause(self) -> None:
        node = self._node
        node.is_paused = True

        def resume() -> None:
            node.is_paused = False

        self._for_a_while("pause", 8_000, resume)

    # The network

    def _cut_connections(self) -> None:
        self._world.trace.note("chaos", "cuts connections")
        self._node.network.cut(self._rng.random())

    def _slow_network(self) -> None:
        network = self._node.network
        network.slowness = self._rng.choice((0.2, 50.0, 500.0))

        def undo() -> None:
            network.slowness = 3.0

        self._for_a_while("slow network", 3_000, undo)

    # The disk

    def _write_back(self) -> None:
        self._node.volume.write_back(self._rng.random())

    def _fail_calls(self) -> None:
        node, rng = self._node, self._rng
        calls = rng.choice(
            (("sync_data", "sync_file_system"), ("pwrite",), ("pread", "read_file"), ("sync_folder", "sync"))
        )
        number = rng.choice((errno.EIO, errno.EIO, errno.ENOSPC, errno.EMFILE))
        often = rng.choice((0.02, 0.3, 1.0))

        def fault(call: str, path: str) -> int:
            return number if call in calls and rng.random() < often else 0

        def undo() -> None:
            node.fault = lambda call, path: 0

        node.fault = fault
        self._for_a_while(f"{calls[0]} fails", 500, undo)

    def _fill_disk(self) -> None:
        volume = self._node.volume
        volume.capacity = volume.used() + self._rng.randint(0, 5_000)

        def undo() -> None:
            volume.capacity = None

        self._for_a_while("disk is full", 3_000, undo)

    def _short_calls(self) -> None:
        node = self._node
        node.disk.short = 0.3

        def undo() -> None:
            node.disk.short = 0.0

        self._for_a_while("short reads and writes", 2_000, undo)
