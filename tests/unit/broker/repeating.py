"""What tests do with requests that are known by their bytes."""

from typing import Any

from odradek.broker.requests import Session
from odradek.protocol.primitives import Message

from .harness import Harness, Pending


def learn(harness: Harness, request: Message, version: int) -> None:
    """Sends the request until it is known."""
    for _ in range(8):
        harness.call(request, version)
    assert request.API_KEY << 16 | version in harness.session.repeats.known


def is_known(harness: Harness, request: Message, version: int) -> bool:
    """Whether the request is answered by what was learnt; its answer is thrown away."""
    return send_watched(harness, request, version)[1]


def send_watched(harness: Harness, request: Message, version: int) -> tuple[Pending, bool]:
    """What the request leads to, and whether it was known."""
    answered: list[bool] = []
    kind = request.API_KEY << 16 | version
    repeat = harness.session.repeats.known[kind]

    class Watched:
        def answer(self, frame: memoryview) -> Any:
            answer = repeat.answer(frame)
            answered.append(answer is not None)
            return answer

    harness.session.repeats.known[kind] = Watched()
    pending = harness.send(request, version)
    if not pending.is_answered:
        harness.flush()
    harness.session.repeats.known[kind] = repeat
    return pending, answered == [True]


def from_scratch(harness: Harness, request: Message, version: int) -> Any:
    """The answer that a connection gets which has never sent anything before."""
    ours, harness.session = harness.session, Session("127.0.0.1", "127.0.0.1", 9092)
    try:
        return harness.call(request, version)
    finally:
        harness.session = ours
