import subprocess
import sys

import pytest

from odradek.protocol.apis import APIS, load


def test_known_rows() -> None:
    assert APIS[0][:5] == ("Produce", "produce", 3, 13, 9)
    assert APIS[18][:5] == ("ApiVersions", "api_versions", 0, 4, 3)
    assert APIS[17].first_flexible_version > APIS[17].highest_version


def test_apis_that_kafka_4_removed_are_not_there() -> None:
    assert not {4, 5, 6, 7} & APIS.keys()


@pytest.mark.parametrize("api_key", APIS)
def test_an_api_loads_its_two_messages(api_key: int) -> None:
    api, messages = APIS[api_key], load(api_key)
    for message in messages:
        assert api_key == message.API_KEY
        assert (api.lowest_version, api.highest_version) == (message.LOWEST_VERSION, message.HIGHEST_VERSION)
        assert min(api.first_flexible_version, 32_767) == message.FIRST_FLEXIBLE_VERSION
    assert messages.request.__name__ == api.name + "Request"
    assert messages.response.__name__ == api.name + "Response"


def test_an_unknown_key() -> None:
    with pytest.raises(KeyError):
        load(999)


def test_the_table_imports_no_messages() -> None:
    code = "import sys, odradek.protocol.apis, odradek.protocol.headers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "odradek.protocol.apis" in loaded
    assert "odradek.protocol.generated" not in loaded
