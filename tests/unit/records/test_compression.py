"""Codecs: round trips, the frames that Kafka's clients write, and bombs."""

import contextlib
import zlib

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.records.compression import GZIP, LZ4, NONE, SNAPPY, ZSTD, compress, decompress
from odradek.records.errors import CorruptBatchError, InvalidRecordsError

CODECS = [GZIP, SNAPPY, LZ4, ZSTD]
BODIES = st.binary(max_size=300) | st.builds(
    lambda part, times: part * times, st.binary(max_size=9), st.integers(0, 20_000)
)


@given(codec=st.sampled_from([NONE, *CODECS]), body=BODIES)
@settings(max_examples=60, deadline=None)
def test_what_goes_in_comes_out(codec: int, body: bytes) -> None:
    assert bytes(decompress(codec, compress(codec, body))) == body


@pytest.mark.parametrize(
    ("codec", "level"), [(GZIP, 1), (GZIP, 9), (LZ4, 1), (LZ4, 17), (ZSTD, -5), (ZSTD, 19)]
)
def test_every_level_is_readable(codec: int, level: int) -> None:
    body = b"some text that repeats, some text that repeats" * 3000
    assert bytes(decompress(codec, compress(codec, body, level))) == body


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_is_refused_before_it_fills_the_memory(codec: int) -> None:
    bomb = compress(codec, bytes(4_000_000))
    assert len(decompress(codec, bomb, 4_000_000)) == 4_000_000
    with pytest.raises(InvalidRecordsError, match="more than 3999999 bytes"):
        decompress(codec, bomb, 3_999_999)


@pytest.mark.parametrize("codec", CODECS)
@given(garbage=st.binary(min_size=1, max_size=80))
@settings(max_examples=30, deadline=None)
def test_garbage_has_one_error_kind(codec: int, garbage: bytes) -> None:
    with contextlib.suppress(CorruptBatchError, InvalidRecordsError):
        decompress(codec, garbage, 1 << 20)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, ZSTD, LZ4])
def test_a_stream_that_was_cut_is_not_taken_for_a_shorter_one(codec: int) -> None:
    body = bytes(range(256)) * 2000
    whole = compress(codec, body)
    with contextlib.suppress(CorruptBatchError):
        assert bytes(decompress(codec, whole[: len(whole) * 2 // 3])) != body


def test_snappy_without_the_xerial_frame_is_read() -> None:
    body = b"plain snappy block " * 50
    assert decompress(SNAPPY, bytes(cramjam.snappy.compress_raw(body))) == body


def test_snappy_block_lengths_are_checked() -> None:
    whole = bytearray(compress(SNAPPY, b"x" * 100))
    whole[16:20] = (1 << 30).to_bytes(4, "big")
    with pytest.raises(CorruptBatchError, match="reaches beyond"):
        decompress(SNAPPY, whole)
    with pytest.raises(CorruptBatchError, match="cut off"):
        decompress(SNAPPY, whole[:18])


def test_lz4_blocks_are_independent_as_kafkas_reader_demands() -> None:
    frame = compress(LZ4, bytes(200_000))
    assert frame[:4] == b"\x04\x22\x4d\x18"
    assert frame[4] & 0x20
    assert bytes(cramjam.lz4.decompress(frame)) == bytes(200_000)


def test_gzip_members_follow_each_other() -> None:
    assert decompress(GZIP, compress(GZIP, b"one ") + compress(GZIP, b"two")) == b"one two"
    with pytest.raises(CorruptBatchError):
        decompress(GZIP, compress(GZIP, b"one") + b"rest")


def test_unknown_codecs() -> None:
    with pytest.raises(InvalidRecordsError):
        decompress(5, b"")
    with pytest.raises(ValueError, match="unknown"):
        compress(5, b"")


def test_gzip_is_zlibs() -> None:
    assert zlib.decompress(compress(GZIP, b"abc"), 31) == b"abc"
