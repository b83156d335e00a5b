"""Text ↔ typed configuration values, checked exactly as strictly as Kafka checks them.

Source: ``org.apache.kafka.common.config.ConfigDef`` (``parseType``, ``Range``, ``ValidString``).
"""

import re

from odradek.core.config.keys import Key
from odradek.core.errors import OdradekError

Value = bool | int | float | str | list[str] | None

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_BOUNDS = {"SHORT": 1 << 15, "INT": 1 << 31, "LONG": 1 << 63}
_RANGE = r"\[(-?[0-9.]+?),\.\.\.(?:,(-?[0-9.]+))?\](?: or (-?[0-9]+))?"
_DURATION = r"(?i)P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
_NEVER_EMPTY = frozenset(
    {
        "advertised.listeners",
        "controller.listener.names",
        "group.consumer.assignors",
        "group.coordinator.rebalance.protocols",
        "group.share.assignors",
        "listeners",
        "log.dir",
        "log.dirs",
        "process.roles",
    }
)
_THROTTLED_REPLICAS = "[partitionId]:[brokerId],[partitionId]:[brokerId],..."


class ConfigError(OdradekError):
    """A configuration value that cannot be used; the message names key and reason."""


def parse(key: Key, text: str | None) -> Value:
    """``text`` as the type of ``key``, checked against its valid values. Raises :class:`ConfigError`."""
    value = parse_type(key, text)
    if value is not None:
        _check(key, value, text)
    return value


def parse_type(key: Key, text: str | None) -> Value:
    """Only the type is checked. Raises :class:`ConfigError`."""
    if text is None:
        return None
    text = text.strip()
    match key.type:
        case "BOOLEAN":
            lowered = text.lower()
            if lowered not in ("true", "false"):
                raise invalid(key, text, "Expected value to be either true or false")
            return lowered == "true"
        case "INT" | "LONG" | "SHORT":
            bound = _BOUNDS[key.type]
            if _INTEGER.fullmatch(text) is None or not -bound <= int(text) < bound:
                raise invalid(key, text, f"Not a number of type {key.type}")
            return int(text)
        case "DOUBLE":
            return _parse_double(key, text)
        case "LIST":
            return _parse_list(key, text)
        case _:
            return text


def to_text(key: Key, value: Value) -> str | None:
    """The text in which Kafka shows ``value`` (``ConfigDef.convertToString``)."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, float):
        return _double_text(value)
    return str(value)


def split_list(text: str) -> list[str]:
    """The elements of a LIST, split as Kafka splits them, duplicates kept."""
    text = text.strip()
    return [element.strip() for element in text.split(",")] if text else []


def _parse_double(key: Key, text: str) -> float:
    try:
        value = float(text[:-1] if text[-1:] in ("f", "F", "d", "D") else text)
    except ValueError:
        value = float("nan")
    if "_" in text or value != value:
        raise invalid(key, text, "Not a number of type DOUBLE")
    return value


def _parse_list(key: Key, text: str) -> list[str]:
    elements = split_list(text)
    if not elements and key.name in _NEVER_EMPTY:
        raise ConfigError(f"Configuration '{key.name}' must not be empty.")
    if "" in elements:
        raise ConfigError(f"Configuration '{key.name}' values must not be empty.")
    return list(dict.fromkeys(elements))


def _double_text(value: float) -> str:
    """Java writes 1.7976931348623157E308 where Python writes e+308, and 1.0E-4 where it writes 0.0001."""
    magnitude = abs(value)
    if value == 0 or 1e-3 <= magnitude < 1e7:
        return repr(value)
    mantissa, exponent = f"{value:.16e}".split("e")
    digits = repr(value).split("e")[0] if "e" in repr(value) else repr(float(mantissa))
    return f"{digits if '.' in digits else digits + '.0'}E{int(exponent)}"


def _check(key: Key, value: Value, text: str | None) -> None:
    valid = key.valid
    if not valid:
        return
    if valid.startswith("non-"):
        if valid == "non-empty string" and not value:
            raise invalid(key, text, "String must be non-empty")
        return
    if valid == _THROTTLED_REPLICAS:
        _check_throttled_replicas(key, value)
        return
    bounds = re.fullmatch(_RANGE, valid)
    if bounds is not None:
        assert isinstance(value, int | float)
        _check_range(key, value, *bounds.groups())
        return
    ignore_case = valid.startswith("(case insensitive) ")
    allowed = valid[valid.index("[") + 1 : -1].split(", ")
    for element in value if isinstance(value, list) else [str(value)]:
        if (element.upper() if ignore_case else element) in allowed:
            continue
        if "by_duration:PnDTnHnMn.nS" in allowed and _is_duration(element):
            continue
        kind = "String must be one of (case insensitive)" if ignore_case else "String must be one of"
        raise invalid(key, element, f"{kind}: {', '.join(allowed)}")


def _check_range(key: Key, value: int | float, low: str, high: str | None, extra: str | None) -> None:
    if extra is not None:
        assert high is not None
        if value != int(extra) and not float(low) <= value <= float(high):
            raise invalid(key, value, f"Value must be between {low} and {high} or equal to {extra}")
    elif value < float(low):
        raise invalid(key, value, f"Value must be at least {low}")
    elif high is not None and value > float(high):
        raise invalid(key, value, f"Value must be no more than {high}")


def _check_throttled_replicas(key: Key, value: Value) -> None:
    assert isinstance(value, list)
    if value == ["*"] or all(re.fullmatch(r"[0-9]+:[0-9]+", element) for element in value):
        return
    raise invalid(key, ",".join(value), f"must be '*' or a list like {_THROTTLED_REPLICAS}")


def _is_duration(text: str) -> bool:
    prefix, _, duration = text.partition(":")
    return prefix == "by_duration" and re.fullmatch(_DURATION, duration) is not None


def invalid(key: Key, value: object, reason: str) -> ConfigError:
    """The error that says so, in Kafka's words; a secret is not shown."""
    shown = "[hidden]" if key.is_sensitive else value
    return ConfigError(f"Invalid value {shown} for configuration {key.name}: {reason}")
