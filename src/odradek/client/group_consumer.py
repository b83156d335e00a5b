"""Reads topics as a member of a classic consumer group, from the committed offsets on."""

from collections.abc import Iterable
from typing import Self

from odradek.client.client import Client
from odradek.client.fetcher import Fetched, Fetcher
from odradek.client.group_offsets import fetch_offsets
from odradek.client.member import GroupMember
from odradek.client.offsets import EARLIEST, Isolation, list_offsets
from odradek.core.ids import TopicPartition


class GroupConsumer:
    """Use as ``async with``: :meth:`poll`, :meth:`mark` what is done, :meth:`commit`; leaving
    commits and leaves.

    ``reset`` (``offsets.EARLIEST`` or ``LATEST``) says where a partition begins that has no
    committed offset.
    """

    def __init__(
        self,
        client: Client,
        group: str,
        topics: Iterable[str],
        *,
        reset: int = EARLIEST,
        isolation: Isolation = Isolation.READ_UNCOMMITTED,
        instance_id: str | None = None,
        session_timeout_ms: int = 45_000,
    ) -> None:
        self._client = client
        self._group = group
        self._reset = reset
        self._isolation = isolation
        self._member = GroupMember(
            client, group, topics, instance_id=instance_id, session_timeout_ms=session_timeout_ms
        )
        self._fetcher = Fetcher(client, {}, reset=reset, isolation=isolation)
        self._done: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._fetcher.close()
        try:
            await self.commit()
        finally:
            await self._member.leave()

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The assigned partitions and the next offset to fetch of each."""
        return dict(self._fetcher.positions)

    async def poll(self, max_wait_ms: int) -> list[Fetched]:
        """What came next for this member's partitions, after :meth:`join`."""
        await self.join()
        return await self._fetcher.poll(max_wait_ms)

    async def join(self) -> None:
        """Join the group, or join it again when it has changed; nothing is done while membership holds."""
        self._member.check()
        if self._member.must_rejoin:
            await self.commit()
            self._fetcher.assign({})
            assigned = await self._member.join()
            self._fetcher.assign(await self._starting_offsets(assigned))
            self._done.clear()

    def mark(self, partition: TopicPartition, next_offset: int) -> None:
        """Note that everything before ``next_offset`` is done with; the next commit says so."""
        self._done[partition] = next_offset

    async def commit(self) -> None:
        """Commit what is marked; what the group no longer takes from this member is read again by
        another one.
        """
        done, self._done = self._done, {}
        await self._member.commit(done)

    async def _starting_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        committed = await fetch_offsets(self._client, self._group, partitions) if partitions else {}
        offsets = {key: found.offset for key, found in committed.items()}
        missing = [key for key in partitions if key not in offsets]
        if missing:
            found = await list_offsets(self._client, dict.fromkeys(missing, self._reset), self._isolation)
            offsets |= {key: found[key].offset for key in missing}
        return offsets
