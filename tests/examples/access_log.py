"""A real access log: Python's http.server serves a folder, and somebody asks for its pages."""

import os
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType

START_TIMEOUT_S = 60.0
PAGES = 40


class LoggedServer:
    """`python -m http.server` on loopback; its access log is appended to ``log_path``.

    Its clock's zone lies ``minutes_east`` of UTC, so that servers that run one after the other write the
    log of as many minutes.
    """

    def __init__(self, folder: Path, log_path: Path, minutes_east: int = 0) -> None:
        for page in range(PAGES):
            (folder / f"page-{page}.html").write_text(f"<p>{page}</p>")
        command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1"]
        command += ["--directory", str(folder), "0"]
        environment = {**os.environ, "TZ": f"TST-{minutes_east // 60}:{minutes_east % 60:02}"}
        self._said_path = folder.parent / f"http-server-{minutes_east}.out"
        with log_path.open("ab") as log, self._said_path.open("wb") as said:
            # What it says goes to standard output, the access log to standard error.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=log, env=environment
            )
        self._port = 0

    def __enter__(self) -> "LoggedServer":
        deadline = time.monotonic() + START_TIMEOUT_S
        while "port" not in (said := self._said_path.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RuntimeError(f"http.server did not start: {said}")
            time.sleep(0.01)
        self._port = int(said.split("port ")[1].split()[0])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def get_pages(self, requests: int) -> None:
        """Ask for so many pages, one after the other; every seventh is not there."""
        for number in range(requests):
            connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
            name = f"nothing-{number}" if number % 7 == 6 else f"page-{number % PAGES}.html"
            connection.request("GET", f"/{name}")
            connection.getresponse().read()
            connection.close()
