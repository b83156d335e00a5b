"""Apache Kafka's own message classes as a child process, and our values in the JSON that they write."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from codegen.schema import Field, Struct
from codegen.types import At
from tests.support.messages import Known

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "java" / "MessageOracle.java"


class Unavailable(Exception):
    """Why there is no Java or no Kafka here."""


class KafkaMessages:
    """Asks the Java classes; one line in, one line out."""

    def __init__(self) -> None:
        if shutil.which("javac") is None:
            raise Unavailable("there is no JDK on this machine")
        fetched = subprocess.run(
            ["sh", str(ROOT / "tests" / "peers" / "fetch.sh")], capture_output=True, text=True, check=False
        )
        if fetched.returncode != 0:
            raise Unavailable(f"Apache Kafka's jars are not here: {fetched.stderr.strip()[-300:]}")
        classes = tempfile.mkdtemp(prefix="odradek-oracle-")
        path = os.path.join(fetched.stdout.strip(), "*")
        try:
            subprocess.run(["javac", "-nowarn", "-cp", path, "-d", classes, str(PROGRAM)], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(classes)
            raise Unavailable(f"javac failed: {error}") from error
        self._classes = classes
        self._process = subprocess.Popen(
            ["java", "-Xmx256M", "-XX:TieredStopAtLevel=1", "-cp", f"{path}:{classes}", PROGRAM.stem],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def reread(self, name: str, version: int, raw: bytes) -> tuple[bytes, Any]:
        """``raw`` read and written again by Kafka, and its fields; ``ValueError`` when Kafka refuses it."""
        return self._ask(f"{name} {version} {raw.hex()}")

    def fresh(self, name: str, version: int) -> tuple[bytes, Any]:
        """A message that nobody filled in."""
        return self._ask(f"{name} {version} new")

    def _ask(self, line: str) -> tuple[bytes, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        first, _, second = self._process.stdout.readline().rstrip("\n").partition(" ")
        if first == "error":
            raise ValueError(second)
        return bytes.fromhex(first), json.loads(second)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        shutil.rmtree(self._classes)


def json_of(known: Known, message: Any, version: int) -> Any:
    """``message`` as Kafka's JSON converters write it; names as :func:`plain_names` leaves them."""
    return _struct(known, known.definition.root, message, known.at(version))


def _struct(known: Known, struct: Struct, value: Any, at: At) -> dict[str, Any]:
    unset = getattr(known.module, struct.python_name)()
    found = {}
    for field in struct.fields:
        one = getattr(value, field.name)
        if at.version not in field.versions or (at.is_tagged(field) and one == getattr(unset, field.name)):
            continue
        name = field.name.replace("_", "")
        if field.type == "records" and one is not None:
            found[name + "sizeinbytes"] = len(one)
        else:
            found[name] = _field(known, field, one, at)
    return found


def _field(known: Known, field: Field, value: Any, at: At) -> Any:
    if value is None:
        return None
    if field.is_array:
        return [_element(known, field, one, at) for one in value]
    return _element(known, field, value, at)


def _element(known: Known, field: Field, value: Any, at: At) -> Any:
    if field.struct:
        return _struct(known, field.struct, value, at)
    if field.element == "uuid":
        return base64.urlsafe_b64encode(value).decode().rstrip("=")
    if field.element == "bytes":
        return base64.b64encode(value).decode()
    return value


def plain_names(answer: Any) -> Any:
    """Kafka's JSON with its field names in lower case, as acronyms make camel case ambiguous."""
    if isinstance(answer, dict):
        return {name.lower(): plain_names(one) for name, one in answer.items()}
    if isinstance(answer, list):
        return [plain_names(one) for one in answer]
    return answer
