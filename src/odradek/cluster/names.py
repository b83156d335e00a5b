"""Which names a topic may have. Source: ``org.apache.kafka.common.internals.Topic``."""

import re
from collections.abc import Iterable

LONGEST_NAME = 249
_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")


def invalid_name_reason(name: str) -> str | None:
    """Why ``name`` cannot be a topic's, or ``None``."""
    if not name:
        return "Topic name is invalid: the empty string is not allowed"
    if name in (".", ".."):
        return f"Topic name is invalid: '{name}' is not allowed"
    if len(name) > LONGEST_NAME:
        return f"Topic name is invalid: '{name}' is longer than {LONGEST_NAME} characters"
    if _LEGAL.fullmatch(name) is None:
        return (
            f"Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics,"
            " '.', '_' and '-'"
        )
    return None


class Collisions:
    """Names that metrics could not tell apart: they differ in '.' and '_' only."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_form = {_form(name): name for name in names if "." in name or "_" in name}

    def colliding(self, name: str) -> str | None:
        """The topic that ``name`` collides with, or ``None``."""
        if "." not in name and "_" not in name:
            return None
        other = self._by_form.get(_form(name))
        return other if other != name else None

    def add(self, name: str) -> None:
        """``name`` is taken from now on."""
        if "." in name or "_" in name:
            self._by_form[_form(name)] = name


def _form(name: str) -> str:
    return name.replace(".", "_")
