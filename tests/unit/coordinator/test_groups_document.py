"""The drawings in docs/groups.md are the tables in the code. ``REWRITE_SCRIPTS=1`` draws them anew."""

import os
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

import pytest

from odradek.coordinator.classic_group import TRANSITIONS, State
from odradek.coordinator.consumer_group import GROUP_TRANSITIONS, GroupState
from odradek.coordinator.consumer_member import MEMBER_TRANSITIONS, MemberState

DOCUMENT = Path(__file__).parents[3] / "docs" / "groups.md"
BLOCK = re.compile(r"```mermaid[^\n]*\n.*?```", re.DOTALL)


def draw(transitions: Mapping[Enum, Mapping[Enum, Enum]], first: Enum, last: Enum) -> str:
    """Moves that lead from every state to the same one are drawn once, from all of them."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_name(first)}"]
    for state, moves in transitions.items():
        for event, target in moves.items():
            if state is not target:
                lines.append(f"    {_name(state)} --> {_name(target)}: {event.value}")
    return "\n".join([*lines, f"    {_name(last)} --> [*]", "```"])


def _name(state: Enum) -> str:
    return state.value if isinstance(state.value, str) else state.name.capitalize()


DRAWINGS = [
    draw(TRANSITIONS, State.EMPTY, State.DEAD),  # type: ignore[arg-type]
    draw(MEMBER_TRANSITIONS, MemberState.STABLE, MemberState.STABLE),  # type: ignore[arg-type]
    draw(GROUP_TRANSITIONS, GroupState.EMPTY, GroupState.DEAD),  # type: ignore[arg-type]
]


def test_the_drawings_are_the_tables() -> None:
    text = DOCUMENT.read_text()
    assert len(BLOCK.findall(text)) == len(DRAWINGS)
    drawn: Iterable[str] = iter(DRAWINGS)
    redrawn = BLOCK.sub(lambda _: next(drawn), text)  # type: ignore[call-overload]
    if os.environ.get("REWRITE_SCRIPTS"):
        DOCUMENT.write_text(redrawn)
    else:
        assert redrawn == text


@pytest.mark.parametrize(
    ("transitions", "states", "first", "end"),
    [
        (TRANSITIONS, State, State.EMPTY, State.DEAD),
        (MEMBER_TRANSITIONS, MemberState, MemberState.STABLE, None),
        (GROUP_TRANSITIONS, GroupState, GroupState.EMPTY, GroupState.DEAD),
    ],
)
def test_every_state_can_be_left_and_reached(
    transitions: dict[Enum, dict[Enum, Enum]], states: type[Enum], first: Enum, end: Enum | None
) -> None:
    reached = {target for moves in transitions.values() for target in moves.values()}
    assert reached | {first} == set(states)
    assert all(transitions[state] for state in states if state is not end)
    assert end is None or not transitions[end]
