"""Configuration keys as values: name, type, default, valid values. Tables are parsed when first used."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple


class Key(NamedTuple):
    """One configuration key. ``default`` is text as it would stand in a file, ``None`` where none is."""

    name: str
    type: str
    """BOOLEAN, STRING, INT, SHORT, LONG, DOUBLE, LIST, CLASS or PASSWORD, as Kafka's ``ConfigDef.Type``."""
    default: str | None
    valid: str
    """Kafka's own notation (``[0,...]``, ``[a, b]``), empty when every value of the type will do."""
    broker_keys: tuple[str, ...] = ()
    """For topic and group keys: the broker keys that give the default, the first that is set wins."""

    @property
    def is_sensitive(self) -> bool:
        """Sensitive values are never shown, not even to those who may describe configs."""
        return self.type == "PASSWORD"


def parse_table(table: str) -> dict[str, Key]:
    """Rows of ``name|type|default|valid[|broker keys]`` → keys by name, in the table's order."""
    found = {}
    for row in table.splitlines():
        name, key_type, default, valid, *broker = row.split("|")
        broker_names = tuple(broker[0].split(",")) if broker and broker[0] else ()
        found[name] = Key(name, key_type, None if default == "null" else default, valid, broker_names)
    return found


@cache
def broker_keys() -> dict[str, Key]:
    """All broker keys, Kafka's with Kafka's defaults and our own."""
    from odradek.core.config import broker_keys as module

    return parse_table(module.TABLE) | own_keys()


@cache
def own_keys() -> dict[str, Key]:
    """The broker keys that only Odradek has."""
    from odradek.core.config import own_keys as module

    return parse_table(module.TABLE)


@cache
def topic_keys() -> dict[str, Key]:
    """All topic keys, with Kafka's defaults."""
    from odradek.core.config import topic_keys as module

    return parse_table(module.TOPIC_TABLE)


@cache
def group_keys() -> dict[str, Key]:
    """All group keys, with Kafka's defaults."""
    from odradek.core.config import topic_keys as module

    return parse_table(module.GROUP_TABLE)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known key that ``name`` was probably meant to be, or ``None`` when nothing is near."""
    from difflib import get_close_matches

    candidates = list(known)
    found = get_close_matches(name, candidates, n=1, cutoff=0.7)
    if found:
        return found[0]
    lowered = name.lower().replace("_", ".")
    return lowered if lowered in candidates else None


def unknown_key_text(name: str, known: Iterable[str], kind: str = "configuration") -> str:
    """What to say of a key that nobody knows."""
    close = nearest(name, known)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"Unknown {kind} name: {name}{hint}"
