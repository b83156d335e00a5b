"""The transaction index file."""

from pathlib import Path

import pytest

from odradek.core.errors import DamageError
from odradek.storage.disk import SystemDisk
from odradek.storage.producers import AbortedTransaction
from odradek.storage.transactions import TransactionIndex

ONE, TWO = AbortedTransaction(1, 10, 20, 15), AbortedTransaction(2, 15, 30, 31)


def make(path: Path) -> TransactionIndex:
    return TransactionIndex(SystemDisk(), str(path))


def test_entries(tmp_path: Path) -> None:
    path = tmp_path / "0.txnindex"
    index = make(path)
    assert not path.exists()
    for entry in (ONE, TWO):
        index.append(entry)
    index.close()
    assert (
        path.read_bytes()[:34].hex() == "00000000000000000001000000000000000a0000000000000014000000000000000f"
    )
    index = make(path)
    assert index.entries == [ONE, TWO]
    assert index.overlapping(0, 11) == ([ONE], True)
    assert index.overlapping(0, 31) == ([ONE, TWO], True)
    assert index.overlapping(25, 99) == ([TWO], False)
    index.cut(30)
    assert make(path).entries == [ONE]
    index.clear()
    assert not path.exists()


def test_damage(tmp_path: Path) -> None:
    path = tmp_path / "0.txnindex"
    path.write_bytes(bytes(33))
    with pytest.raises(DamageError, match="whole number"):
        make(path)
    path.write_bytes(b"\0\1" + bytes(32))
    with pytest.raises(DamageError, match="version 1"):
        make(path)
