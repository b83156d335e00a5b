from pathlib import Path

import yaml

from odradek.records.builder import build_batch
from odradek.records.record import Record
from tests.unit.cli.conftest import Run


def make_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "orders-0"
    folder.mkdir()
    batch = build_batch([Record(0, 1000, b"k", b"\xff"), Record(0, 1001, None, b"v", (("h", b"x"),))])
    (folder / "00000000000000000000.log").write_bytes(batch)
    (folder / "leader-epoch-checkpoint").write_text("0\n1\n0 0\n")
    (folder / "partition.metadata").write_text("ignored in a folder")
    return folder


def test_a_folder_stands_for_its_files(run_offline: Run, tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    found = run_offline("log", "dump", folder, "-o", "json").json
    assert [file["kind"] for file in found] == ["segment", "leader-epoch-checkpoint"]
    assert found[0]["batches"][0]["crc_ok"]
    shown = run_offline("log", "dump", folder, "--records").out
    assert "0-1" in shown
    assert "h=x" in shown
    assert "/w==" in shown


def test_damage_is_shown_and_is_the_exit_code(run_offline: Run, tmp_path: Path) -> None:
    path = make_folder(tmp_path) / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = run_offline("log", "dump", path, code=1)
    assert "WRONG" in done.out
    assert "position 0: CRC" in done.err
    (found,) = yaml.safe_load(run_offline("log", "dump", path, "-o", "yaml", code=1).out)
    assert not found["batches"][0]["crc_ok"]


def test_what_is_not_there_or_no_log(run_offline: Run, tmp_path: Path) -> None:
    run_offline("log", "dump", tmp_path / "gone.log", code=3)
    run_offline("log", "dump", tmp_path, code=3)
    (tmp_path / "notes.txt").write_text("x")
    run_offline("log", "dump", tmp_path / "notes.txt", code=2)
