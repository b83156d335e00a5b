"""Raw conversations whose answers must be those of Apache Kafka.

A case is a function that talks with a broker; every answer that it gets is noted in outline. What Kafka 4.3
answered is kept in ``kafka_answers.json``: ``test_raw_protocol.py`` holds a broker against that,
``test_differential.py`` holds that against a living Kafka.
"""

import json
import uuid
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from odradek.protocol.primitives import Message
from tests.conformance import raw
from tests.conformance.outline import outline

ANSWERS = Path(__file__).with_name("kafka_answers.json")
MODULES = (
    "records",
    "idempotence",
    "fetching",
    "offsets",
    "topics",
    "configs",
    "group_configs",
    "groups",
    "consumer_groups",
    "commits",
    "transactions",
    "quotas",
)


class Conversation:
    """One run of a case against one broker, with names that nobody had before."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.connection = raw.RawConnection(bootstrap)
        self.notes: list[Any] = []
        self.names: dict[Any, str] = {}
        self.topic = self.new_name("topic")
        self.group = self.new_name("group")

    def new_name(self, word: str) -> str:
        """A name made anew, which is ``word`` in the notes."""
        name = f"{word.replace(' ', '-')}-{uuid.uuid4().hex[:10]}"
        self.names[name] = f"<{word}>"
        return name

    def create(self, partitions: int = 1, configs: dict[str, str] | None = None) -> bytes:
        """Creates ``self.topic``; returns its id."""
        topic_id = raw.create_topic(self.connection, self.topic, partitions, configs)
        self.names[topic_id] = "<topic id>"
        return topic_id

    def ask(self, request: Message, version: int | None = None) -> Any:
        """Asks and notes the answer; ``None`` when the broker closed the connection."""
        try:
            answer = self.connection.ask(request, version)
        except raw.Closed:
            self.notes.append("closed")
            self.connection.socket.close()
            self.connection = raw.RawConnection(self.bootstrap)
            return None
        self.notes.append(outline(answer, self.names))
        return answer

    def quietly(self, request: Message, version: int | None = None) -> Any:
        """Asks without noting."""
        return self.connection.ask(request, version)

    def close(self) -> None:
        self.connection.socket.close()


Case = Callable[[Conversation], None]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Registers a case under its name."""
    assert function.__name__ not in CASES
    CASES[function.__name__] = function
    return function


def load() -> dict[str, Case]:
    """All cases."""
    for module in MODULES:
        import_module(f"tests.conformance.cases.{module}")
    return CASES


def hold(name: str, bootstrap: str) -> list[Any]:
    """Runs a case and returns its notes."""
    conversation = Conversation(bootstrap)
    try:
        CASES[name](conversation)
    finally:
        conversation.close()
    notes: list[Any] = json.loads(json.dumps(conversation.notes))
    return notes


def kafka_answers() -> dict[str, list[Any]]:
    """What Kafka answered."""
    answers: dict[str, list[Any]] = json.loads(ANSWERS.read_text())
    return answers
