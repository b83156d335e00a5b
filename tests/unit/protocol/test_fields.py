import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.protocol import fields
from odradek.protocol.primitives import MalformedError

EDGES = [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455, 268_435_456, 2**32 - 1]


@pytest.mark.parametrize("value", EDGES)
def test_varints_at_their_edges(value: int) -> None:
    raw = fields.uvarint_bytes(value)
    assert len(raw) == max(1, -(-value.bit_length() // 7))
    assert fields.uvarint(memoryview(b"#" + raw + b"#"), 1) == (value, 1 + len(raw))


def test_known_varints() -> None:
    assert fields.uvarint_bytes(300) == b"\xac\x02"
    assert fields.uvarint(memoryview(b"\xff\xff\xff\xff\x0f"), 0) == (2**32 - 1, 5)
    assert fields.uvarint(memoryview(b"\x80\x00"), 0) == (0, 2)


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff\x10", b"\x80\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\xff"]
)
def test_a_varint_of_more_than_32_bits_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        fields.uvarint(memoryview(raw), 0)


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x80\x80\x80\x80"])
def test_a_cut_varint_runs_off_the_end(raw: bytes) -> None:
    with pytest.raises(IndexError):
        fields.uvarint(memoryview(raw), 0)


KINDS = ["string", "bytes"]
NULLABLE = ["", "nullable_"]
COMPACT = ["", "compact_"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nullable", NULLABLE)
@pytest.mark.parametrize("compact", COMPACT)
@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 32_767])
def test_texts_and_bytes_are_read_as_put(kind: str, nullable: str, compact: str, size: int) -> None:
    value = "x" * size if kind == "string" else bytes(size)
    out = bytearray(b"#")
    getattr(fields, f"put_{compact}{nullable}{kind}")(out, value)
    read = getattr(fields, f"read_{compact}{nullable}{kind}")
    view = memoryview(bytes(out) + b"#")
    assert read(view, 1, len(view)) == (value, len(out))
    if size:
        with pytest.raises(MalformedError):
            read(view, 1, len(out) - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compact", COMPACT)
def test_null(kind: str, compact: str) -> None:
    out = bytearray()
    getattr(fields, f"put_{compact}nullable_{kind}")(out, None)
    view = memoryview(out)
    assert getattr(fields, f"read_{compact}nullable_{kind}")(view, 0, len(out)) == (None, len(out))
    with pytest.raises(MalformedError, match="null"):
        getattr(fields, f"read_{compact}{kind}")(view, 0, len(out))


def test_a_text_longer_than_kafka_reads_is_refused_both_ways() -> None:
    with pytest.raises(ValueError, match="32768"):
        fields.put_compact_string(bytearray(), "x" * 32_768)
    view = memoryview(fields.uvarint_bytes(32_769) + bytes(32_768))
    with pytest.raises(MalformedError, match="32768"):
        fields.read_compact_string(view, 0, len(view))


def test_text_that_is_not_utf_8() -> None:
    with pytest.raises(UnicodeDecodeError):
        fields.read_string(memoryview(b"\0\x02\xff\xfe"), 0, 4)


def test_arrays_of_fixed_width() -> None:
    out = bytearray()
    fields.put_fixed(out, "i", [1, -1])
    assert fields.read_fixed("i", 4, memoryview(out), 0, 8, 2) == ([1, -1], 8)
    fields.put_fixed(out, "i", [])
    assert len(out) == 8
    for count in (3, 2**31 - 1, 2**32):
        with pytest.raises(MalformedError):
            fields.read_fixed("i", 4, memoryview(out), 0, 8, count)


def test_arrays_of_ids() -> None:
    raw = memoryview(bytes(range(32)))
    assert fields.read_uuids(raw, 0, 32, 2) == ([bytes(range(16)), bytes(range(16, 32))], 32)
    with pytest.raises(MalformedError):
        fields.read_uuids(raw, 1, 32, 2)


def test_tags_are_put_and_skipped() -> None:
    out = bytearray()
    fields.put_tags(out, [(0, bytearray(b"abc")), (130, bytearray(200))])
    assert out[:5] == b"\x02\x00\x03ab"
    assert fields.skip_tags(memoryview(out), 1, out[0]) == len(out)


def test_tags_that_lie() -> None:
    with pytest.raises(MalformedError):
        fields.skip_tags(memoryview(b"\x01\x00\x05abc"), 1, 1)
    with pytest.raises(MalformedError):
        fields.skip_tags(memoryview(b"\x01\x00\xff\xff\xff\xff\x0f"), 1, 1)
    with pytest.raises(IndexError):
        fields.skip_tags(memoryview(b"\xff\xff\xff\xff\x0f\x00\x00"), 1, 255)


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(st.integers(0, 2**32 - 1), st.binary(max_size=3))
def test_any_varint(value: int, behind: bytes) -> None:
    raw = fields.uvarint_bytes(value)
    assert fields.uvarint(memoryview(raw + behind), 0) == (value, len(raw))
