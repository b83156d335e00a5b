"""Apache Kafka's own message classes as a child process, and our values in the JSON that they write."""

import base64
import json
from typing import Any

from codegen.schema import Field, Struct
from codegen.types import At
from tests.conformance.java_oracle import JavaOracle
from tests.support.messages import Known


class KafkaMessages:
    """Asks the Java classes; raises ``Unavailable`` where there are none."""

    def __init__(self) -> None:
        self._oracle = JavaOracle("MessageOracle")

    def reread(self, name: str, version: int, raw: bytes) -> tuple[bytes, Any]:
        """``raw`` read and written again by Kafka, and its fields; ``ValueError`` when Kafka refuses it."""
        return self._ask(f"{name} {version} {raw.hex()}")

    def fresh(self, name: str, version: int) -> tuple[bytes, Any]:
        """A message that nobody filled in."""
        return self._ask(f"{name} {version} new")

    def _ask(self, line: str) -> tuple[bytes, Any]:
        first, _, second = self._oracle.ask(line).partition(" ")
        return bytes.fromhex(first), json.loads(second)

    def close(self) -> None:
        self._oracle.close()


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
