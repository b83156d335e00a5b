"""How a command fails: one line that says the cause, one that says what to do, and an exit code.

0 is success, 1 a failure, 2 a command line that cannot be meant, 3 something that is not there
or not well.
"""

import os
from typing import IO, Any

import click

from odradek.core.errors import ApiError, ErrorCode, OdradekError

FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNHEALTHY = 3

_NOT_FOUND_CODES = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.RESOURCE_NOT_FOUND,
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
}
_HEALTH = "`odradek cluster health` tells what is wrong, and what is being recovered and so will come."
_FIXES = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "`odradek topic list` shows them, `odradek topic create` adds one.",
    ErrorCode.GROUP_ID_NOT_FOUND: "`odradek group list` shows the groups.",
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND: "`odradek txn list` shows them.",
    ErrorCode.CONCURRENT_TRANSACTIONS: "Its transaction is being ended just now: try again in a moment.",
    ErrorCode.TOPIC_ALREADY_EXISTS: "`odradek topic describe` shows it; `odradek topic alter` changes it.",
    ErrorCode.NON_EMPTY_GROUP: "Stop its members first; `odradek group describe` names them.",
    ErrorCode.INVALID_REPLICATION_FACTOR: "Leave --replication-factor out, or have as many brokers running.",
    ErrorCode.MESSAGE_TOO_LARGE: "Raise it: `odradek config set topic NAME max.message.bytes=N`.",
    ErrorCode.UNSUPPORTED_VERSION: "The broker is too old or too new for this command.",
    ErrorCode.OFFSET_OUT_OF_RANGE: "`odradek topic describe` shows the first and the last offset.",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "The broker may still be starting: try again in a moment.",
    ErrorCode.LEADER_NOT_AVAILABLE: _HEALTH,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: _HEALTH,
    ErrorCode.KAFKA_STORAGE_ERROR: _HEALTH,
    ErrorCode.POLICY_VIOLATION: "The broker's configuration forbids it.",
}


def color_choice() -> bool | None:
    """False where NO_COLOR asks for none (https://no-color.org), else None: the terminal decides."""
    return False if os.environ.get("NO_COLOR") else None


class CommandError(click.ClickException):
    """A command that cannot do what it was asked; ``fix`` says what would help."""

    def __init__(self, cause: str, fix: str | None = None, exit_code: int = FAILED) -> None:
        super().__init__(cause)
        self.fix = fix
        self.exit_code = exit_code  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True, file=file, color=color_choice())
        click.echo(self.message, err=True, file=file)
        if self.fix:
            click.echo(f"       {self.fix}", err=True, file=file)


def command_error(error: OdradekError) -> CommandError:
    """What the user is told about ``error``."""
    if isinstance(error, ApiError):
        name = error.code.name
        cause = f"{error.message} ({name})" if error.message and error.message != name else name
        exit_code = NOT_FOUND if error.code in _NOT_FOUND_CODES else FAILED
        return CommandError(cause, _FIXES.get(error.code), exit_code)
    return CommandError(str(error), getattr(error, "fix", None))
