"""The composition root: disk + clock + metadata log → broker → server, and back down in the same order."""

import asyncio
import gc
import json
import logging
import os
import random
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from odradek.broker.broker import Broker
from odradek.cluster.file_store import FileMetadataStore
from odradek.core.clock import SystemClock
from odradek.core.config.broker import BrokerConfig
from odradek.server.server import Server
from odradek.storage.disk import Disk
from odradek.storage.store import LogStore

log = logging.getLogger("odradek")

GC_THRESHOLD = 50_000
"""Collections are rare and short once what start-up made is frozen: they would show in p99 otherwise."""


class Node:
    """One running broker: its folder is locked and its port open from :meth:`start` to :meth:`stop`."""

    def __init__(self, server: Server, store: LogStore, addresses: list[tuple[str, int]]) -> None:
        self.server = server
        self.addresses = addresses
        self._store = store

    @classmethod
    async def start(cls, config: BrokerConfig) -> "Node":
        """Opens the data folder, recovers what a crash left, and listens.

        Raises :class:`StartupError` when the folder is in use or the port is, and :class:`DamageError` when
        the metadata log cannot be trusted.
        """
        clock = SystemClock()
        disk = Disk()
        randomness = random.SystemRandom()
        store = LogStore.open(Path(config.log_dir), disk, clock)
        metadata, image = FileMetadataStore.open(Path(config.log_dir), disk, store.cluster_id)
        broker = Broker(config, store, metadata, image, clock, randomness)
        server = Server(broker, clock, asyncio.get_running_loop())
        addresses = await server.start(config.listeners)
        return cls(server, store, addresses)

    async def stop(self) -> None:
        """Stops serving, makes everything durable and marks the folder as cleanly closed."""
        await self.server.stop()
        self.server.broker.close()
        self._store.close(clean=True)
