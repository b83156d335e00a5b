"""File and folder names."""

from odradek.core.ids import TopicPartition
from odradek.storage import names


def test_segment_files() -> None:
    assert names.file_name(42, names.LOG) == "00000000000000000042.log"
    assert names.parse_file_name("00000000000000000042.timeindex") == (42, names.TIME_INDEX)
    for name in ("42.log", "00000000000000000042.swap", "00000000000000000042", "leader-epoch-checkpoint"):
        assert names.parse_file_name(name) is None


def test_partition_folders() -> None:
    partition = TopicPartition("a-1.b_c", 7)
    assert names.folder_name(partition) == "a-1.b_c-7"
    assert names.parse_folder_name("a-1.b_c-7") == partition
    for name in ("a", "a-", "a b-1", "a-7.0123-delete", "a-1x"):
        assert names.parse_folder_name(name) is None


def test_deleted_folders() -> None:
    name = names.deleted_folder_name(TopicPartition("a", 7), "0f" * 16)
    assert name == f"a-7.{'0f' * 16}-delete"
    assert names.is_deleted_folder(name)
    assert not names.is_deleted_folder("to-delete")
