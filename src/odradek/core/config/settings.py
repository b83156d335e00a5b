"""Where configuration comes from: defaults < server.properties < environment < ``--set``.

The result knows of each value where it was said, so that an error can name the place.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.core.config.broker_status import broker_key_status
from odradek.core.config.keys import broker_keys, nearest, parse_table, unknown_key_text
from odradek.core.config.properties import read_properties
from odradek.core.config.values import ConfigError, parse
from odradek.core.errors import StartupError

REMOVED = {
    "inter.broker.protocol.version": "Kafka 4 has no such key: protocol versions are agreed on by the peers",
    "log.message.downconversion.enable": "Kafka 4 has no such key: old message formats are gone",
    "log.message.format.version": "Kafka 4 has no such key: there is one message format",
    "log.message.timestamp.difference.max.ms": "use log.message.timestamp.before.max.ms and .after.max.ms",
    "zookeeper.connect": "Odradek runs as one node for now and keeps its metadata in its data folder",
}
"""Keys of older Kafka versions that files in the wild still have, and what to do about them."""

_PREFIXES = ("KAFKA_", "ODRADEK_")
_NOT_SETTINGS = (
    r"KAFKA_(.*_)?(OPTS|HOME|VERSION|DEBUG|JMX_.*|LOG4J_.*|CLUSTER_ID)"
    r"|(KAFKA|ODRADEK)_(.*_)?(PORT|SERVICE_HOST|SERVICE_PORT)(_.*)?"
    r"|ODRADEK_(BOOTSTRAP|PROFILE|CONFIG|OUTPUT|COMPLETE|FAILPOINTS|DATA|LISTEN).*"
    r"|KAFKA_(BOOTSTRAP|ZOOKEEPER)_.*"
)
"""Start scripts, Kubernetes and command line programs use the same prefixes."""


class Setting(NamedTuple):
    """One value that was said somewhere, as text."""

    value: str
    origin: str


class Settings(NamedTuple):
    """Everything that was said, checked. ``notices`` tell the operator which keys have no effect, and why."""

    values: dict[str, Setting]
    notices: list[str]


def load_settings(
    properties_text: str | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Iterable[tuple[str, str]] = (),
    file_name: str = "server.properties",
) -> Settings:
    """All layers in one, each value checked. Raises :class:`StartupError` that names every mistake."""
    values: dict[str, Setting] = {}
    notices: list[str] = []
    problems: list[str] = []
    if properties_text is not None:
        try:
            for name, value, line in read_properties(properties_text):
                values[name] = Setting(value, f"{file_name} line {line}")
        except ConfigError as error:
            raise StartupError(f"{file_name}: {error}") from error
    values.update(_from_environment(environment or {}, notices))
    for name, value in overrides:
        values[name] = Setting(value, "--set")
    for name, setting in values.items():
        problem = check_broker_value(name, setting.value)
        if problem is not None:
            problems.append(f"{setting.origin}: {problem}")
    if problems:
        raise StartupError("\n".join(problems))
    statuses = broker_key_status()
    notices.extend(
        f"{name} ({setting.origin}) has no effect. {statuses[name].text}"
        for name, setting in values.items()
        if statuses[name].status == "accepted"
    )
    return Settings(values, notices)


def check_broker_value(name: str, text: str) -> str | None:
    """What is wrong with saying ``name=text``, or ``None``."""
    keys = broker_keys()
    key = keys.get(name)
    if key is None:
        if name in REMOVED:
            return f"{name}: {REMOVED[name]}"
        if name.startswith("listener.name."):
            return f"{name}: settings of one listener are for SASL, TLS and limits, which are not built yet"
        return unknown_key_text(name, keys)
    try:
        value = parse(key, text)
    except ConfigError as error:
        return str(error)
    status = broker_key_status()[name]
    if status.status == "refused" and not _says_the_default(name, value):
        return f"{name} is refused. {status.text}"
    return None


def _says_the_default(name: str, value: object) -> bool:
    key = broker_keys()[name]
    default = parse(key, key.default)
    return value == default or (default is None and value in ("", [])) or (default == "" and value is None)


def environment_names(name: str) -> tuple[str, ...]:
    """How ``name`` is spelled in the environment after the prefix: as apache/kafka and as Confluent do it."""
    upper = name.upper()
    apache = upper.replace("_", "__").replace("-", "___").replace(".", "_")
    confluent = upper.replace("_", "___").replace("-", "__").replace(".", "_")
    return (apache,) if apache == confluent else (apache, confluent)


def _from_environment(environment: Mapping[str, str], notices: list[str]) -> dict[str, Setting]:
    """KAFKA_* and then ODRADEK_*, which wins; our own keys need not say odradek twice."""
    if not any(variable.startswith(_PREFIXES) for variable in environment):
        return {}
    by_spelling = {spelling: name for name in broker_keys() for spelling in environment_names(name)}
    found: dict[str, Setting] = {}
    for prefix in _PREFIXES:
        for variable, value in environment.items():
            if not variable.startswith(prefix):
                continue
            spelled = variable.removeprefix(prefix)
            name = by_spelling.get(spelled) or by_spelling.get(f"ODRADEK_{spelled}")
            if name is not None:
                found[name] = Setting(value, f"environment {variable}")
            elif re.fullmatch(_NOT_SETTINGS, variable) is None:
                close = nearest(variable.removeprefix(prefix), by_spelling)
                hint = f"; did you mean {prefix}{close}?" if close else ""
                notices.append(f"environment {variable} is no setting and was ignored{hint}")
    return found


DYNAMIC_ONLY = parse_table(
    """\
follower.replication.throttled.rate|LONG|9223372036854775807|[0,...]
leader.replication.throttled.rate|LONG|9223372036854775807|[0,...]
replica.alter.log.dirs.io.max.bytes.per.second|LONG|9223372036854775807|[0,...]"""
)
"""Broker keys that Kafka knows only at run time; without effect on one node."""
