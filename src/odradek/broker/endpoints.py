"""Where clients are told to find this broker."""

from odradek.broker.requests import Session
from odradek.core.config.broker import BrokerConfig


def advertised_endpoint(config: BrokerConfig, session: Session) -> tuple[str, int]:
    """``advertised.listeners`` for the session's listener where set, else the address that it dialled.

    Answering with the dialled address is what spares users the advertised.listeners puzzle: whatever
    name, tunnel or network reached this broker reaches it again.
    """
    for listener in config.advertised_listeners:
        if listener.name == session.listener:
            return listener.host, listener.port
    return session.host, session.port
