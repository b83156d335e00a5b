"""The data folder as a whole: it is made, locked for one broker, and says to which node it belongs.

Source: ``LogManager.lockLogDirs``, ``MetaPropertiesEnsemble``; FORMAT.md has the files.
"""

import os
from typing import NamedTuple

from odradek.core.errors import StartupError
from odradek.core.ids import Randomness, id_text, new_id
from odradek.storage import names
from odradek.storage.checkpoints import decode_properties, encode_properties
from odradek.storage.disk import Disk, LockHeldError, replace_file


class FolderInUseError(StartupError):
    """Somebody holds the folder; ``is_holder_gone`` when who locked it runs no more: then it is a child."""

    def __init__(self, folder: str, held: LockHeldError) -> None:
        super().__init__(
            f"the data folder {folder} is in use by {held.holder or 'another broker'}; stop it, or choose"
            " another folder"
        )
        self.is_holder_gone = held.is_holder_gone


class Identity(NamedTuple):
    """Whose a data folder is."""

    node_id: int
    cluster_id: str
    directory_id: str


def take_folder(disk: Disk, folder: str) -> int:
    """The descriptor that holds the folder, made if need be, for as long as it is open.

    Raises StartupError: :class:`FolderInUseError` when another broker holds it, or when it cannot be used.
    """
    try:
        _make_durable_folder(disk, folder)
        return disk.lock(f"{folder}/{names.LOCK}")
    except LockHeldError as error:
        raise FolderInUseError(folder, error) from error
    except OSError as error:
        raise StartupError(f"the data folder {folder} cannot be used: {error}") from error


def _make_durable_folder(disk: Disk, folder: str) -> None:
    """A folder and its parents, whose names in their own parents are durable when they are new."""
    parents = []
    path = folder
    while path and not disk.exists(path):
        path = os.path.dirname(path)
        parents.append(path or ".")
    disk.make_folder(folder)
    for parent in parents:
        disk.sync_folder(parent)


def load_identity(
    disk: Disk, folder: str, randomness: Randomness, node_id: int, cluster_id: str | None
) -> Identity:
    """What ``meta.properties`` says; what is missing there is written, a new cluster id when it is None.

    Raises StartupError when the folder belongs to another node or cluster, or does not tell; ``OSError``.
    """
    path = f"{folder}/{names.META_PROPERTIES}"
    properties: dict[str, str] = {}
    if disk.exists(path):
        try:
            properties = decode_properties(disk.read_file(path))
            known_node_id = int(properties.get("node.id", properties.get("broker.id", node_id)))
        except ValueError as error:
            raise StartupError(f"{path} cannot be understood: {error}") from error
        known_cluster_id = properties.get("cluster.id", cluster_id)
        if known_node_id != node_id:
            raise StartupError(f"{path} belongs to node {known_node_id}, this is node {node_id}")
        if cluster_id is not None and known_cluster_id != cluster_id:
            raise StartupError(f"{path} belongs to cluster {known_cluster_id}, not to {cluster_id}")
        cluster_id = known_cluster_id
    cluster_id = cluster_id or id_text(new_id(randomness))
    directory_id = properties.get("directory.id") or id_text(new_id(randomness))
    wanted = {
        "cluster.id": cluster_id,
        "directory.id": directory_id,
        "node.id": str(node_id),
        "version": "1",
    }
    if {**wanted, **properties} != properties:
        replace_file(disk, path, encode_properties({**properties, **wanted}))
    return Identity(node_id, cluster_id, directory_id)
