"""The checksum is Castagnoli's, however it is loaded."""

import subprocess
import sys

import pytest

from odradek.records.crc import crc32c


def test_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(memoryview(bytearray(b"6789")), crc32c(b"12345")) == 0xE3069283


@pytest.mark.parametrize("before", ["", "import crc32c;"])
def test_the_package_is_imported_only_by_others(before: str) -> None:
    script = (
        f"{before}import sys\n"
        "from odradek.records.crc import crc32c as ours\n"
        "print('importlib.metadata' in sys.modules)\n"
        "import crc32c\n"
        "assert ours(b'abc') == crc32c.crc32c(b'abc')\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.split() == [str(bool(before))]
