"""How talking to a broker fails, besides the codes that it answers with."""

from odradek.core.errors import OdradekError


class ConnectError(OdradekError):
    """No broker could be reached, or the connection broke; ``fix`` says what the user can do."""

    def __init__(self, cause: str, fix: str | None = None) -> None:
        super().__init__(cause)
        self.fix = fix


class TimedOutError(ConnectError):
    """The broker did not answer in time."""


class UnsupportedError(OdradekError):
    """The broker does not serve an API, or none of the versions that this client speaks."""
