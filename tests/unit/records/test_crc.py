"""The checksum is Castagnoli's."""

from odradek.records.crc import crc32c


def test_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(memoryview(bytearray(b"6789")), crc32c(b"12345")) == 0xE3069283
