import asyncio
import os

from odradek.cli.lines import read_lines


def read(*chunks: bytes) -> list[bytes]:
    async def collect() -> list[bytes]:
        reader, writer = os.pipe()
        found = []
        lines = read_lines(reader)
        try:
            for chunk in chunks:
                os.write(writer, chunk)
            os.close(writer)
            async for some in lines:
                found += some
        finally:
            os.close(reader)
        return found

    return asyncio.run(collect())


def test_lines_lose_their_ends() -> None:
    assert read(b"a\nb\r\n\nc") == [b"a", b"b", b"", b"c"]


def test_a_last_newline_begins_no_line() -> None:
    assert read(b"a\n") == [b"a"]


def test_no_input_has_no_lines() -> None:
    assert read() == []


def test_a_line_longer_than_a_read_stays_whole(tmp_path: object) -> None:
    async def collect() -> list[bytes]:
        descriptor = os.memfd_create("lines")
        try:
            os.write(descriptor, b"x" * 700_000 + b"\ny")
            os.lseek(descriptor, 0, os.SEEK_SET)
            return [line async for some in read_lines(descriptor) for line in some]
        finally:
            os.close(descriptor)

    assert [len(line) for line in asyncio.run(collect())] == [700_000, 1]
