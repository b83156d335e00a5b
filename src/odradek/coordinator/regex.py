"""Regular expressions of clients: RE2 syntax, bounded in size, matched against whole names.

RE2 takes time linear in the text whatever the expression is. What an expression may cost all the same is
bounded here: :data:`MAX_MEMORY_BYTES` for its program and its automaton, and a few compiled ones are kept.

Source: KIP-848 (``SubscribedTopicRegex``), KIP-1152 (``TransactionalIdPattern``); Kafka uses RE2/J, the same
syntax.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from odradek.core.errors import ApiError, ErrorCode

MAX_MEMORY_BYTES = 2 * 1_024 * 1_024
"""RE2 refuses what needs more. Less would be slower: an automaton that does not fit is simulated."""


def check_regex(regex: str) -> None:
    """Raises INVALID_REGULAR_EXPRESSION, with the reason, for what is no expression or too large."""
    _compiled(regex)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name is matched by ``pattern`` from end to end. Raises as :func:`check_regex` does."""
    fullmatch = _compiled(pattern, "TransactionalIdPattern").fullmatch
    return lambda name: fullmatch(name) is not None


def matching(regex: str, names: Iterable[str]) -> frozenset[str]:
    """Those of ``names`` that ``regex`` matches from end to end."""
    fullmatch = _compiled(regex).fullmatch
    return frozenset(name for name in names if fullmatch(name) is not None)


@lru_cache(maxsize=16)
def _compiled(regex: str, field: str = "SubscribedTopicRegex") -> Any:
    import re2  # Only where somebody asks so: start-up does not pay for it.

    options = re2.Options()
    options.max_mem = MAX_MEMORY_BYTES
    options.log_errors = False
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        raise ApiError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"{field} `{regex[:200]}` is not a valid regular expression: {reason}.",
        ) from error
