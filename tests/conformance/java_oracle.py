"""A Java program beside Apache Kafka's own classes as a child process: a line in, a line out."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "java"


class Unavailable(Exception):
    """Why there is no Java or no Kafka here."""


class JavaOracle:
    """``program`` is the name of a class in ``java/``; raises :class:`Unavailable`."""

    def __init__(self, program: str) -> None:
        if shutil.which("javac") is None:
            raise Unavailable("there is no JDK on this machine")
        fetched = subprocess.run(
            ["sh", str(ROOT / "tests" / "peers" / "fetch.sh")], capture_output=True, text=True, check=False
        )
        if fetched.returncode != 0:
            raise Unavailable(f"Apache Kafka's jars are not here: {fetched.stderr.strip()[-300:]}")
        classes = tempfile.mkdtemp(prefix="odradek-oracle-")
        path = os.path.join(fetched.stdout.strip(), "*")
        source = str(PROGRAMS / f"{program}.java")
        try:
            subprocess.run(["javac", "-nowarn", "-cp", path, "-d", classes, source], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(classes)
            raise Unavailable(f"javac failed: {error}") from error
        self._classes = classes
        self._process = subprocess.Popen(
            ["java", "-Xmx256M", "-XX:TieredStopAtLevel=1", "-cp", f"{path}:{classes}", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, line: str) -> str:
        """The answer; ``ValueError`` when it is an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().rstrip("\n")
        if answer.startswith("error "):
            raise ValueError(answer.removeprefix("error "))
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        shutil.rmtree(self._classes)
