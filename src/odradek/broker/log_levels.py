"""Log levels while the broker runs: the resource BROKER_LOGGER of the config APIs (KIP-412).

Loggers are Python's, all below ``odradek``, and ``root``; levels go by Kafka's names. Like Kafka's they are
not kept: a restart begins with what ``serve`` was told.

Source: ``RuntimeLoggerManager``, ``Log4jController``.
"""

import logging
from collections.abc import Collection, Sequence

from odradek.cluster.configs import Alteration, Operation, check_form
from odradek.core.config.describe import Entry
from odradek.core.config.layers import ConfigSource
from odradek.core.errors import ApiError, ErrorCode

ROOT = "root"
TRACE = 5
LEVELS = {
    "DEBUG": logging.DEBUG,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "INFO": logging.INFO,
    "TRACE": TRACE,
    "WARN": logging.WARNING,
}
_OURS = "odradek"

log = logging.getLogger("odradek.config")


def describe(names: Collection[str]) -> list[Entry]:
    """The level in force of every logger, or of those of ``names``."""
    return [
        Entry(
            name,
            _level_name(_logger(name).getEffectiveLevel()),
            ConfigSource.DYNAMIC_BROKER_LOGGER,
            0,
            False,
            False,
            (),
            None,
        )
        for name in _names()
        if not names or name in names
    ]


def alter(
    node_id: int, resource_name: str, alterations: Sequence[Alteration], *, validate_only: bool
) -> None:
    """All of them or, when one cannot be, none. Raises :class:`ApiError`."""
    check_form(alterations)
    try:
        is_ours = int(resource_name) == node_id
    except ValueError:
        reason = f"Node id must be an integer, but it is: {resource_name}"
        raise ApiError(ErrorCode.INVALID_REQUEST, reason) from None
    if not is_ours:
        reason = f"Unexpected node id. Expected {node_id}, but received {resource_name}"
        raise ApiError(ErrorCode.INVALID_REQUEST, reason)
    for alteration in alterations:
        _check(alteration)
    if validate_only:
        return
    for name, operation, value in alterations:
        is_set = operation == Operation.SET and value is not None
        _logger(name).setLevel(LEVELS[value] if is_set and value is not None else logging.NOTSET)
        log.warning("the log level of %s is %s now", name, value if is_set else "that of its parent")


def _check(alteration: Alteration) -> None:
    name, operation, value = alteration
    if operation not in (Operation.SET, Operation.DELETE):
        is_known = operation in Operation.__members__.values()
        what = Operation(operation).name if is_known else f"Unknown operation type {operation}"
        verb = "operation is" if is_known else "is"
        reason = f"{what} {verb} not allowed for the BROKER_LOGGER resource"
        raise ApiError(ErrorCode.INVALID_REQUEST, reason)
    if name not in _names():
        raise ApiError(ErrorCode.INVALID_CONFIG, f"Logger {name} does not exist!")
    if operation == Operation.DELETE:
        if name == ROOT:
            reason = f"Removing the log level of the {ROOT} logger is not allowed"
            raise ApiError(ErrorCode.INVALID_REQUEST, reason)
    elif value not in LEVELS:
        raise ApiError(
            ErrorCode.INVALID_CONFIG,
            f"Cannot set the log level of {name} to {value} as it is not a supported log level. Valid log"
            f" levels are {', '.join(LEVELS)}",
        )


def _names() -> list[str]:
    known = logging.root.manager.loggerDict
    ours = [name for name in known if name == _OURS or name.startswith(f"{_OURS}.")]
    return [ROOT, *sorted({_OURS, *ours})]


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == ROOT else name)


def _level_name(level: int) -> str:
    """Kafka's name of the level at or below ``level``."""
    at_or_below = [(value, name) for name, value in LEVELS.items() if value <= level]
    return max(at_or_below)[1] if at_or_below else "TRACE"
