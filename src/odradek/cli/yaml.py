"""A small YAML writer for what JSON can say: no dependency, no import time, and every YAML reader
reads it back.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*")
_MEANS_SOMETHING_ELSE = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_NOT_PRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def to_yaml(value: Any) -> str:
    """``value`` (dicts, lists, strings, finite numbers, booleans, None) as one document with a
    final newline.
    """
    if isinstance(value, (dict, list)) and value:
        return "".join(f"{line}\n" for line in _lines(value))
    return f"{_scalar(value)}\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{_scalar(str(key))}:"
                yield from (f"  {line}" for line in _lines(item))
            else:
                yield f"{_scalar(str(key))}: {_scalar(item)}"
        return
    for item in value:
        if isinstance(item, (dict, list)) and item:
            yield from (f"{'  ' if number else '- '}{line}" for number, line in enumerate(_lines(item)))
        else:
            yield f"- {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _MEANS_SOMETHING_ELSE:
        return value
    # A JSON scalar, {} and [] are YAML as they stand, but YAML allows fewer characters to appear unescaped.
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_PRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
