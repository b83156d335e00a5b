"""Kafka's message definitions as values: messages, structs, fields and the versions each is there in."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDLESS = 32_767


@dataclass(frozen=True)
class Versions:
    """A closed range of versions; empty when ``low > high``."""

    low: int
    high: int

    def __contains__(self, version: int) -> bool:
        return self.low <= version <= self.high

    @classmethod
    def parse(cls, text: str | None) -> "Versions":
        if text is None or text == "none":
            return cls(0, -1)
        low, dash, high = text.removesuffix("+").partition("-")
        if text.endswith("+"):
            return cls(int(low), ENDLESS)
        return cls(int(low), int(high) if dash else int(low))


@dataclass(frozen=True)
class Field:
    """One field; ``element`` is the type behind ``[]``, ``struct`` is set for structs and arrays of them."""

    name: str
    type: str
    versions: Versions
    nullable: Versions
    tagged: Versions
    flexible: Versions | None
    tag: int | None
    default: Any
    ignorable: bool
    struct: "Struct | None" = None

    @property
    def is_array(self) -> bool:
        return self.type.startswith("[]")

    @property
    def element(self) -> str:
        return self.type.removeprefix("[]")


@dataclass
class Struct:
    """A named list of fields; ``python_name`` is unique within its module."""

    name: str
    fields: list[Field]
    python_name: str = ""


@dataclass
class Message:
    """One definition file: the outer struct, every struct in it, and its versions."""

    name: str
    kind: str
    api_key: int | None
    listeners: list[str]
    valid: Versions
    flexible: Versions
    root: Struct
    is_latest_unstable: bool = False
    structs: list[Struct] = field(default_factory=list)


def snake(name: str) -> str:
    """``TopicId`` → ``topic_id``; ``ISRNodes`` → ``isr_nodes``."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def load(path: Path) -> Message:
    raw = json.loads(path.read_text())
    commons = {common["name"]: common for common in raw.get("commonStructs", [])}
    message = Message(
        raw["name"],
        raw["type"],
        raw.get("apiKey"),
        raw.get("listeners", []),
        Versions.parse(raw["validVersions"]),
        Versions.parse(raw.get("flexibleVersions")),
        Struct(raw["name"], []),
        raw.get("latestVersionUnstable", False),
    )
    known: dict[str, Struct] = {}

    def struct(name: str, fields: list[dict[str, Any]] | None) -> Struct:
        if name in known:
            return known[name]
        made = Struct(name, [])
        known[name] = made
        made.fields = [parse(one) for one in (fields if fields is not None else commons[name]["fields"])]
        message.structs.append(made)
        return made

    def parse(one: dict[str, Any]) -> Field:
        element = one["type"].removeprefix("[]")
        inner = struct(element, one.get("fields")) if element[0].isupper() else None
        return Field(
            snake(one["name"]),
            one["type"],
            Versions.parse(one.get("versions") or one["taggedVersions"]),
            Versions.parse(one.get("nullableVersions")),
            Versions.parse(one.get("taggedVersions")),
            Versions.parse(one["flexibleVersions"]) if "flexibleVersions" in one else None,
            one.get("tag"),
            one.get("default"),
            one.get("ignorable", False),
            inner,
        )

    message.root.fields = [parse(one) for one in raw.get("fields", [])]
    message.structs.append(message.root)
    return message
