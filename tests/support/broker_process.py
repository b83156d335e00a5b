"""A broker as its users run it: the installed ``odradek serve`` in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.ports import ReservedPort

PROGRAM = Path(sys.executable).parent / "odradek"


class BrokerProcess:
    """``odradek serve`` on ``data``, restartable on the same port; its log goes to ``data``'s sibling.

    ``settings`` are given as ``--set KEY=VALUE``; ``program`` is what takes the place of ``odradek``.
    """

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, str] | None = None,
        program: Sequence[str] = (str(PROGRAM),),
    ) -> None:
        self.data = data
        self.settings = dict(settings or {})
        self._port = ReservedPort()
        self.program = program
        self.log_path = data.parent / f"{data.name}.log"
        self._ready_path = data.parent / f"{data.name}.ready"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port.number}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 60.0) -> "BrokerProcess":
        """Starts it and waits until it says that it is ready; raises with its log when it does not."""
        self._ready_path.unlink(missing_ok=True)
        command = [*self.program, "serve", "--listen", self.bootstrap, "--data", str(self.data)]
        command += ["--ready-file", str(self._ready_path)]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._ready_path.exists():
                return self
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"{' '.join(command)} did not become ready:\n{self.log_tail()}")

    def kill(self) -> None:
        """kill -9: nothing is flushed, closed or said."""
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"SIGTERM did not stop it in {timeout_s} s:\n{self.log_tail()}") from None

    def log_tail(self, lines: int = 40) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
