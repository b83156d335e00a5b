"""The drawing in docs/transactions.md is the table in transaction.py. ``REWRITE_SCRIPTS=1`` draws it anew."""

import os
import re
from pathlib import Path

from odradek.coordinator.transactions.transaction import TRANSITIONS, State

DOCUMENT = Path(__file__).parents[4] / "docs" / "transactions.md"
BLOCK = re.compile(r"```mermaid\n.*?```", re.DOTALL)


def drawing() -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.EMPTY.value}"]
    for state, moves in TRANSITIONS.items():
        for event, target in moves.items():
            lines.append(f"    {state.value} --> {target.value}: {event.value}")
    return "\n".join([*lines, f"    {State.DEAD.value} --> [*]", "```"])


def test_the_drawing_is_the_table() -> None:
    text = DOCUMENT.read_text()
    if os.environ.get("REWRITE_SCRIPTS"):
        DOCUMENT.write_text(BLOCK.sub(lambda _: drawing(), text))
    else:
        assert drawing() in text


def test_every_state_can_be_left_and_reached() -> None:
    reached = {target for moves in TRANSITIONS.values() for target in moves.values()}
    assert reached == set(State)
    assert all(TRANSITIONS[state] for state in State if state is not State.DEAD)
    assert not TRANSITIONS[State.DEAD]
