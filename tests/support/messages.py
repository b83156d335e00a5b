"""Every generated message beside its definition: its class, and Hypothesis strategies made from it.

A strategy draws a value with all fields of all versions set; :func:`at_version` takes away from it what one
version cannot carry, so that one drawn value serves for a round trip through every version.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from codegen.generate import grouped
from codegen.schema import Field, Struct
from codegen.schema import Message as Definition
from codegen.types import At
from odradek.protocol.primitives import Message

_INTEGERS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
_LONG = st.sampled_from([125, 126, 127, 128, 129, 16_382, 16_383])
"""Around where a compact length takes one more byte."""


@dataclass(frozen=True)
class Known:
    """One message: its definition, the module that holds its classes."""

    definition: Definition
    module: Any

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def versions(self) -> range:
        return range(self.definition.valid.low, self.definition.valid.high + 1)

    @property
    def cls(self) -> type[Message]:
        found: type[Message] = getattr(self.module, self.definition.root.python_name)
        return found

    def at(self, version: int) -> At:
        return At(version, self.definition.flexible)


@cache
def known_messages() -> list[Known]:
    """All messages that have a version left, by name."""
    found = [
        Known(definition, import_module(f"odradek.protocol.generated.{module}"))
        for module, definitions in grouped().items()
        for definition in definitions
        if definition.valid.low <= definition.valid.high
    ]
    return sorted(found, key=lambda known: known.name)


def values(known: Known, *, small: bool = False) -> st.SearchStrategy[Any]:
    """Draws messages with every field set, whichever version it belongs to.

    With ``small`` numbers are such as an error code, a time or a duration may have, for codecs that give
    them a meaning.
    """
    return _struct(known, known.definition.root, small)


def _struct(known: Known, struct: Struct, small: bool) -> st.SearchStrategy[Any]:
    fields = {field.name: _field(known, field, small) for field in struct.fields}
    return st.builds(getattr(known.module, struct.python_name), **fields)


def _field(known: Known, field: Field, small: bool) -> st.SearchStrategy[Any]:
    if field.struct:
        inner = _struct(known, field.struct, small)
    elif small and field.element in _INTEGERS:
        inner = st.integers(0, 60)
    else:
        inner = _plain(field.element)
    if field.is_array:
        inner = st.lists(inner, max_size=2)
    return st.none() | inner if field.nullable.low <= field.nullable.high else inner


def _plain(element: str) -> st.SearchStrategy[Any]:
    if element in _INTEGERS:
        low, high = _INTEGERS[element]
        return st.integers(low, high)
    if element == "string":
        return st.text("ab\0é日𝄞", max_size=6) | _LONG.map(lambda size: "é" * (size // 2) + "x" * (size % 2))
    if element in ("bytes", "records"):
        return st.binary(max_size=8) | _LONG.map(bytes)
    if element == "uuid":
        return st.binary(min_size=16, max_size=16)
    if element == "float64":
        return st.floats(allow_nan=False)
    assert element == "bool"
    return st.booleans()


def at_version(known: Known, value: Any, version: int) -> Any:
    """A copy of ``value`` with what ``version`` carries; everything else has its default."""
    return _struct_at(known, known.definition.root, value, known.at(version))


def _struct_at(known: Known, struct: Struct, value: Any, at: At) -> Any:
    kept = {
        field.name: _field_at(known, field, getattr(value, field.name), at)
        for field in struct.fields
        if at.version in field.versions
    }
    return getattr(known.module, struct.python_name)(**kept)


def _field_at(known: Known, field: Field, value: Any, at: At) -> Any:
    if value is None:
        return None if at.version in field.nullable else _empty(known, field)
    if field.struct is None:
        return value
    if field.is_array:
        return [_struct_at(known, field.struct, one, at) for one in value]
    return _struct_at(known, field.struct, value, at)


def _empty(known: Known, field: Field) -> Any:
    if field.is_array:
        return []
    if field.struct:
        return getattr(known.module, field.struct.python_name)()
    return "" if field.type == "string" else b""


def plainest(known: Known, version: int) -> Any:
    """The message of ``version`` with nothing set that may be left out."""
    return at_version(known, known.cls(), version)


def fullest(known: Known, version: int) -> Any:
    """A message of ``version`` in which every field, tagged ones too, differs from its default."""
    return at_version(known, _full(known, known.definition.root), version)


def _full(known: Known, struct: Struct) -> Any:
    full = {field.name: _full_field(known, field) for field in struct.fields}
    return getattr(known.module, struct.python_name)(**full)


def _full_field(known: Known, field: Field) -> Any:
    if field.struct:
        one = _full(known, field.struct)
    elif field.element == "bool":
        one = field.default not in (True, "true")
    elif field.element == "string":
        one = "seven"
    elif field.element in ("bytes", "records"):
        one = b"seven"
    elif field.element == "uuid":
        one = bytes(range(16))
    else:
        one = 7
    return [one, one] if field.is_array else one


def encoded(message: Message, version: int) -> bytes:
    """The bytes of ``message`` in one piece."""
    parts: list[Any] = []
    message.encode(parts, version)
    return b"".join(parts)


def decoded(known: Known, raw: bytes, version: int) -> Any:
    """The message at the front of ``raw``."""
    message, end = known.cls.decode(memoryview(raw), 0, version)
    assert 0 <= end <= len(raw)
    return message


def few(examples: int) -> settings:
    """Settings for properties of hundreds of messages: the same few examples each time."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
