"""The data folder: made, locked, and whose it is."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from odradek.core.errors import StartupError
from odradek.storage.store import LogStore

from .conftest import FaultyDisk, Opener, crash, stop


def test_a_second_broker_is_refused(opener: Opener, store: LogStore) -> None:
    with pytest.raises(StartupError) as caught:
        opener()
    assert store.folder in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    stop(store)
    opener()


def test_a_broker_in_another_process_is_refused_and_kafka_too(store: LogStore) -> None:
    script = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'r+')\n"
        "for lock in (fcntl.flock, fcntl.lockf):\n"
        "    try: lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except OSError: print('refused')\n"
    )
    arguments = [sys.executable, "-c", script, f"{store.folder}/.lock"]
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    expected = 2 if sys.platform == "linux" else 1
    assert output.split() == ["refused"] * expected


def test_identity_is_made_once(opener: Opener, store: LogStore) -> None:
    cluster_id, directory_id = store.cluster_id, store.directory_id
    assert len(cluster_id) == len(directory_id) == 22
    stop(store)
    again = opener(node_id=1, cluster_id=cluster_id)
    assert (again.cluster_id, again.directory_id) == (cluster_id, directory_id)
    stop(again)
    with pytest.raises(StartupError, match="node 1, this is node 2"):
        opener(node_id=2)
    with pytest.raises(StartupError, match="belongs to cluster"):
        opener(cluster_id="AAAAAAAAAAAAAAAAAAAAAA")
    assert opener().cluster_id == cluster_id


def test_kafkas_meta_properties_are_kept(opener: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "meta.properties").write_text(
        "#\n#Tue Nov 24 02:43:17 UTC 2026\nnode.id=3\ndirectory.id=4DQHyzxYoDYv-csjl1V2Vg\n"
        "version=1\ncluster.id=x\n"
    )
    before = (folder / "meta.properties").read_bytes()
    store = opener(folder=folder, node_id=3)
    assert (store.cluster_id, store.directory_id) == ("x", "4DQHyzxYoDYv-csjl1V2Vg")
    assert (folder / "meta.properties").read_bytes() == before
    (folder / "meta.properties").write_text("what")
    crash(store)
    with pytest.raises(StartupError, match="malformed"):
        opener(folder=folder, node_id=3)


def test_a_folder_that_cannot_be_made(opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot be used"):
        opener(folder=tmp_path / "file")


def test_randomness_is_injected(opener: Opener, tmp_path: Path) -> None:
    ids = {opener(folder=tmp_path / str(number)).cluster_id for number in range(2)}
    assert len(ids) == 1, random.Random(7)


def test_a_new_folders_name_is_durable(opener: Opener, tmp_path: Path) -> None:
    synced: list[str] = []

    class RecordingDisk(FaultyDisk):
        __slots__ = ()

        def sync_folder(self, path: str) -> None:
            synced.append(path)

    opener(RecordingDisk(), folder=tmp_path / "a" / "b")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(synced)
