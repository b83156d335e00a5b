"""Starting one broker on a folder: whose it must be."""

import asyncio
import shutil
from pathlib import Path

import pytest

from odradek.app import Node
from odradek.client.admin import create_topic
from odradek.client.client import Client
from odradek.core.config.broker import broker_config
from odradek.core.errors import StartupError
from odradek.storage import names
from odradek.storage.checkpoints import decode_properties


def run(folder: Path, topic: str | None = None) -> None:
    """A start and a clean stop; ``topic`` is made in between."""

    async def start() -> None:
        node = await Node.start(
            broker_config({"log.dirs": str(folder), "listeners": "PLAINTEXT://127.0.0.1:0"}),
            uses_processes=False,
        )
        if topic is not None:
            async with Client(node.bootstrap_servers) as client:
                await create_topic(client, topic)
        await node.stop()

    asyncio.run(start())


@pytest.mark.parametrize("is_emptied", [True, False])
def test_partitions_without_a_metadata_log_are_left_alone(tmp_path: Path, is_emptied: bool) -> None:
    """They would be served to nobody, and the first topic of such a name would set them aside for good."""
    run(tmp_path, "orders")
    shutil.move(tmp_path / "__odradek_metadata", tmp_path.parent / "elsewhere")
    if is_emptied:
        (tmp_path / "__odradek_metadata").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StartupError, match=r"holds 1 partitions \(orders-0\), but no __odradek_metadata"):
        run(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    shutil.rmtree(tmp_path / "__odradek_metadata", ignore_errors=True)
    shutil.move(tmp_path.parent / "elsewhere", tmp_path / "__odradek_metadata")
    run(tmp_path)


def test_the_folder_of_a_kafka_is_left_alone(tmp_path: Path) -> None:
    for name in ("orders-0", "__cluster_metadata-0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "00000000000000000000.log").touch()
    with pytest.raises(StartupError, match="odradek log import"):
        run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["__cluster_metadata-0", "orders-0"]


def test_a_folder_that_is_new_or_empty_is_begun(tmp_path: Path) -> None:
    for name in ("lost+found", "some-7", "orders-0.0123456789abcdef0123456789abcdef-delete"):
        (tmp_path / name).mkdir()
    run(tmp_path)
    run(tmp_path / "new")


def test_lost_properties_are_made_anew_with_the_cluster_id_of_the_metadata_log(tmp_path: Path) -> None:
    run(tmp_path, "orders")
    path = tmp_path / names.META_PROPERTIES
    before = decode_properties(path.read_bytes())
    path.unlink()
    run(tmp_path)
    after = decode_properties(path.read_bytes())
    assert (after["cluster.id"], after["node.id"]) == (before["cluster.id"], before["node.id"])
