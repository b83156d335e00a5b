"""Ports for servers that tests start, kill and start again."""

import socket
import sys


class ReservedPort:
    """A port of 127.0.0.1 that nobody else is given while this lives, whether a server listens on it or not.

    A free port that is only looked up may be somebody's own end of a connection by the time it is bound,
    also between a kill and the next start. Here a socket stays bound to it, which servers do not mind: they
    bind with SO_REUSEADDR, as it does, and it never listens. (Elsewhere than on Linux they would mind.)
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def __del__(self) -> None:
        self._socket.close()
