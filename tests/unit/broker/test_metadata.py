"""Metadata that asks for what is not there."""

from pathlib import Path

import pytest

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic

from .harness import Harness


@pytest.mark.parametrize(("version", "name"), [(10, "t"), (11, "t"), (12, None), (13, None)])
def test_an_unknown_id_is_said_in_every_version_that_has_ids(
    tmp_path: Path, version: int, name: str | None
) -> None:
    asked = MetadataRequestTopic(topic_id=b"\1" * 16, name=name)
    (topic,) = Harness(tmp_path).call(MetadataRequest(topics=[asked]), version).topics
    assert topic.error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert topic.topic_id == asked.topic_id
