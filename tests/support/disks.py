"""Disks for tests."""

from odradek.storage.disk import SystemDisk


class QuickDisk(SystemDisk):
    """Syncs nothing: no test pulls the plug of the machine."""

    __slots__ = ()

    def sync(self, fd: int, /) -> None:  # type: ignore[override]
        pass

    def sync_data(self, fd: int, /) -> None:
        pass

    def sync_folder(self, path: str) -> None:
        pass

    def sync_file_system(self, fd: int) -> bool:
        return True
