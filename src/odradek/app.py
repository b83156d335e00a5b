"""The composition root: disk + clock + metadata log → broker → server, and back down in the same order."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from odradek.broker.broker import Broker
from odradek.cluster.file_store import FOLDER as METADATA_FOLDER
from odradek.cluster.file_store import FileMetadataStore, read_image
from odradek.core.clock import Clock, SystemClock
from odradek.core.config.broker import BrokerConfig
from odradek.core.errors import StartupError
from odradek.core.ids import Randomness
from odradek.server.server import Server
from odradek.storage import names
from odradek.storage.data_folder import FolderInUseError
from odradek.storage.disk import Disk, SystemDisk
from odradek.storage.recovering import AT_ONCE_BYTES
from odradek.storage.store import LogStore

if TYPE_CHECKING:
    from odradek.server.monitor import Monitor

log = logging.getLogger("odradek")

LAST_CHILD_MS = 10_000
LAST_CHILD_PAUSE_S = 0.02
FEWEST_DESCRIPTORS = 64
"""With fewer a broker hardly gets to serve anybody; with very few it does not even get an event loop."""
GC_THRESHOLD = 50_000
"""Collections are rare, and short as what start-up made is frozen: they would show in p99 otherwise."""


class Node:
    """One running broker: its folder is locked and its port open from :meth:`start` to :meth:`stop`.

    ``addresses`` are the (host, port) pairs that the listeners are bound to, in the configuration's order.
    """

    def __init__(
        self, server: Server, addresses: list[tuple[str, int]], monitor: "Monitor | None" = None
    ) -> None:
        self.server = server
        self.addresses = addresses
        self.monitor = monitor

    @classmethod
    async def start(
        cls, config: BrokerConfig, *, uses_processes: bool = True, at_once_bytes: int = AT_ONCE_BYTES
    ) -> "Node":
        """Opens the data folder and listens; what a crash left is recovered first when it is at most
        ``at_once_bytes``, and else while everything else is served.

        Without ``uses_processes`` heavy work is done in threads, for brokers that live inside a test.

        Raises :class:`StartupError` when the folder is in use or the port is, or it holds partitions of which
        it does not say whose they are, and :class:`DamageError` when the metadata log cannot be trusted.
        """
        clock = SystemClock()
        disk = SystemDisk()
        randomness = random.SystemRandom()
        _check_owner(disk, config.log_dir)
        store = await _open_store(config, disk, clock, randomness, at_once_bytes)
        metadata = FileMetadataStore.open(
            config.log_dir,
            disk,
            store.cluster_id,
            node_id=config.node_id,
            rack=config.broker_rack,
            was_clean=store.was_clean,
        )
        broker = Broker(config, store, metadata, clock, randomness)
        server = Server(broker, clock, asyncio.get_running_loop(), uses_processes=uses_processes)
        try:
            addresses = await server.start(config.listeners)
            monitor = await _start_monitor(config, server)
        except BaseException:
            await server.stop()
            broker.close()
            raise
        return cls(server, addresses, monitor)

    @property
    def bootstrap_servers(self) -> str:
        """What a client on this machine types to get here."""
        host, port = self.addresses[0]
        shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
        return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"

    async def stop(self) -> None:
        """Stops serving, makes everything durable and marks the folder as cleanly closed."""
        await self._stop_monitor()
        await self.server.stop()
        self.server.broker.close()

    async def kill(self) -> None:
        """Ends as a crash would: connections reset, no checkpoint, no clean marker; for tests."""
        await self._stop_monitor()
        await self.server.stop(is_abrupt=True)
        self.server.broker.close(is_clean=False)

    async def _stop_monitor(self) -> None:
        if self.monitor is not None:
            await self.monitor.stop()


def _check_owner(disk: Disk, folder: str) -> None:
    """Partitions without a metadata log would be served to nobody, and lost to the first topic of such a
    name. Raises :class:`StartupError`."""
    with contextlib.suppress(OSError):  # nothing else is listed where all is well: there may be many folders
        if disk.entries(f"{folder}/{METADATA_FOLDER}"):
            return
    try:
        folders = [entry.name for entry in disk.entries(folder) if entry.is_folder]
        partitions = sorted(name for name in folders if _is_partition(disk, f"{folder}/{name}"))
    except OSError:
        return  # it is to be made, or tells why it cannot be used
    if partitions:
        shown = ", ".join(partitions[:3]) + (", ..." if len(partitions) > 3 else "")
        raise StartupError(
            f"{folder} holds {len(partitions)} partitions ({shown}), but no {METADATA_FOLDER}, which says"
            " whose they are: restore it; if it is the folder of an Apache Kafka, `odradek log import"
            f" {folder}` takes its topics into another"
        )


def _is_partition(disk: Disk, folder: str) -> bool:
    if names.parse_folder_name(os.path.basename(folder)) is None:
        return False
    files = (names.parse_file_name(entry.name) for entry in disk.entries(folder))
    return any(found is not None and found[1] == names.LOG for found in files)


async def _open_store(
    config: BrokerConfig, disk: Disk, clock: Clock, randomness: Randomness, at_once_bytes: int
) -> LogStore:
    """The store. A process that recovered logs for a broker which was killed still holds the folder, until it
    has noticed: that takes a moment, for which we wait."""
    stop_ms = clock.monotonic_ms() + LAST_CHILD_MS
    cluster_id = None
    if not disk.exists(f"{config.log_dir}/{names.META_PROPERTIES}"):
        cluster_id = read_image(config.log_dir, disk).cluster_id or None  # written anew, not as another's
    while True:
        try:
            return LogStore.open(
                config.log_dir,
                disk,
                clock,
                randomness,
                node_id=config.node_id,
                cluster_id=cluster_id,
                at_once_bytes=at_once_bytes,
            )
        except FolderInUseError as error:
            if not error.is_holder_gone or clock.monotonic_ms() >= stop_ms:
                raise
        await asyncio.sleep(LAST_CHILD_PAUSE_S)


async def _start_monitor(config: BrokerConfig, server: Server) -> "Monitor | None":
    if config.metrics_listener is None:
        return None
    from odradek.server.monitor import Monitor

    return await Monitor.start(server, *config.metrics_listener)


def run(
    config: BrokerConfig,
    *,
    ready_file: Path | None = None,
    on_ready: Callable[[Node], None] = lambda node: None,
) -> None:
    """Serves until SIGTERM or SIGINT; returns after a clean stop.

    ``ready_file`` gets one JSON line once the port is open: ``bootstrap_servers``, ``data`` and ``pid``.
    """
    limit = _raise_descriptor_limit()
    if limit < FEWEST_DESCRIPTORS:
        raise StartupError(
            f"only {limit} files may be open here, and no more may be asked for; raise it first, as with"
            " `ulimit -n 65536`"
        )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(config, ready_file, on_ready))


def _raise_descriptor_limit() -> int:
    """As far as the system lets us without asking: a partition in use needs one, and so does a connection.
    Returns how many there may be."""
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        if limit != highest:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
            limit = highest
    return limit if limit != resource.RLIM_INFINITY else sys.maxsize


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it can be had (it halves the cost of small requests), else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(config: BrokerConfig, ready_file: Path | None, on_ready: Callable[[Node], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.disable()  # what a start makes stays: looking through it again and again takes a fifth of the start
    node = await Node.start(config)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    gc.enable()
    if ready_file is not None:
        _write_ready_file(ready_file, node, config)
    on_ready(node)
    await stop.wait()
    log.info("stopping")
    await node.stop()
    if node.server.broker.store.has_ended_cleanly:
        log.info("stopped cleanly")
    else:
        log.warning("stopped; not all logs could be closed, the next start checks them")


def _write_ready_file(path: Path, node: Node, config: BrokerConfig) -> None:
    """Renamed into place, so that whoever polls for it never reads half a line."""
    line = {"bootstrap_servers": node.bootstrap_servers, "data": config.log_dir, "pid": os.getpid()}
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(json.dumps(line) + "\n")
    draft.replace(path)
