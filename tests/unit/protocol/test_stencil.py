import struct

import pytest

from odradek.protocol.generated.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from odradek.protocol.stencil import around_records, encoded, stencil


@pytest.mark.parametrize("version", range(7, 19))
def test_the_layout_reads_the_numbers_out_of_the_bytes_and_puts_them_in(version: int) -> None:
    asked = FetchPartition(partition=3, fetch_offset=-1, partition_max_bytes=7)
    request = FetchRequest(session_epoch=0, topics=[FetchTopic(topic="topic", partitions=[asked])])
    found = stencil(lambda: encoded(request, version), (request, "session_epoch"), (asked, "fetch_offset"))
    assert found is not None
    layout = struct.Struct(">" + found.layout)
    first, epoch, middle, offset, last = layout.unpack(encoded(request, version))
    assert (epoch, offset) == (0, -1)
    assert (first, middle, last) == found.fixed
    request.session_epoch, asked.fetch_offset = 5, 1 << 40
    assert layout.pack(first, 5, middle, 1 << 40, last) == encoded(request, version)


def test_numbers_side_by_side_have_nothing_between_them() -> None:
    data = PartitionData()
    response = FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[data])])
    names = ("high_watermark", "last_stable_offset", "log_start_offset")
    found = stencil(lambda: encoded(response, 11), *((data, name) for name in names))
    assert found is not None
    assert found.layout.count("q") == 3
    assert "qqq" in found.layout


def test_a_number_that_the_version_lacks_is_told() -> None:
    request = FetchRequest(session_epoch=0)
    assert stencil(lambda: encoded(request, 4), (request, "session_epoch")) is None


@pytest.mark.parametrize("version", [11, 18])
def test_bytes_around_the_records_leave_their_length_out(version: int) -> None:
    data = PartitionData(records=b"abc")
    response = FetchResponse(responses=[FetchableTopicResponse(partitions=[data])])
    before, after = around_records(response, version, data)
    assert data.records == b"abc"
    length = b"\4" if version >= FetchResponse.FIRST_FLEXIBLE_VERSION else b"\0\0\0\3"
    assert before + length + b"abc" + after == encoded(response, version)
