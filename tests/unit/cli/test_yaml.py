import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from odradek.cli.yaml import to_yaml

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(VALUES)
def test_pyyaml_reads_back_what_was_written(value: object) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


def test_it_looks_as_people_write_it() -> None:
    value = [{"name": "orders", "partitions": [{"id": 0, "isr": [1, 2]}], "configs": {}, "note": "a: b"}]
    assert to_yaml(value) == (
        "- name: orders\n  partitions:\n    - id: 0\n      isr:\n        - 1\n        - 2\n"
        '  configs: {}\n  note: "a: b"\n'
    )


@pytest.mark.parametrize(
    "text", ["", "no", "Null", "1.5", "2026-01-31", "0x1f", "~", "a #b", "-x", "=", "\x85", "🧵"]
)
def test_strings_stay_strings(text: str) -> None:
    assert yaml.safe_load(to_yaml({"value": text})) == {"value": text}
    assert json.loads(json.dumps(text)) == text
