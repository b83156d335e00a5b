"""Writes the encode functions: the mirror of ``decoder.py``.

All goes into one growing ``out``, so that a message is mostly one piece; only records stand as pieces of
their own between two of them.
"""

from itertools import count

from codegen.schema import Field, Struct
from codegen.types import FIXED, At, differs, identifier


class Encoder:
    """Builds the body of one function over ``o`` (the value) and ``out``; with records also ``parts``."""

    ARGUMENTS = "o, out"
    ROOT_ARGUMENTS = "o, out, parts"
    PREFIX = "_w"

    def __init__(self, at: At, calls: dict[str, str], formats: set[str], *, is_inlined: bool) -> None:
        self._at = at
        self._calls = calls
        self._formats = formats
        self._is_inlined = is_inlined
        self._lines: list[str] = []
        self._run: list[tuple[str, str]] = []
        self._out = "out"
        self._names = count(1)

    def body(self, struct: Struct) -> list[str]:
        """The function of a whole struct."""
        self._struct(struct, "o", 1)
        self._flush(1)
        return self._lines or ["    pass"]

    def tags_body(self, struct: Struct) -> list[str]:
        """The function that writes a struct's tagged fields; its caller saw that one of them is set."""
        self._say("tags = []", 1)
        for field in self._at.tagged(struct.fields):
            value = f"o.{field.name}"
            self._say(f"if {differs(field, value)}:", 1)
            self._out = "tag"
            self._say("tag = bytearray()", 2)
            self._field(field, value, 2)
            self._flush(2)
            self._say(f"tags.append(({field.tag}, tag))", 2)
        self._say("_put_tags(out, tags)", 1)
        return self._lines

    def _say(self, line: str, depth: int) -> None:
        self._lines.append("    " * depth + line)

    def _put(self, what: str, depth: int) -> None:
        self._say(f"{self._out} += {what}", depth)

    def _struct(self, struct: Struct, value: str, depth: int) -> None:
        # Kafka refuses this in responses too, which costs an old client its answer for a field that it could
        # not have read. In requests and stored records something that was meant would be lost.
        for field in self._at.absent(struct.fields):
            if self._at.is_strict and not field.ignorable:
                self._say(f"if {differs(field, f'{value}.{field.name}')}:", depth)
                self._say(f'raise _not_in_version("{field.name}")', depth + 1)
        for field in self._at.plain(struct.fields):
            self._field(field, f"{value}.{field.name}", depth)
        if not self._at.flexible:
            return
        tagged = self._at.tagged(struct.fields)
        if not tagged:
            self._run.append(("x", ""))
            return
        pending = list(self._run)
        self._say(f"if {' or '.join(differs(one, f'{value}.{one.name}') for one in tagged)}:", depth)
        self._flush(depth + 1)
        self._say(f"{self._calls['tags ' + struct.name]}({value}, {self._out})", depth + 1)
        self._say("else:", depth)
        self._run = [*pending, ("x", "")]
        self._flush(depth + 1)

    def _packed(self, run: list[tuple[str, str]]) -> str:
        """The expression for the bytes of a run."""
        code = "".join(one for one, _ in run)
        if set(code) == {"x"}:
            return f'b"{chr(92)}0"' if code == "x" else f"bytes({len(code)})"
        self._formats.add(code)
        return f"_p_{identifier(code)}({', '.join(value for one, value in run if one != 'x')})"

    def _flush(self, depth: int) -> None:
        if not self._run:
            return
        if self._run == [("x", "")]:
            self._say(f"{self._out}.append(0)", depth)
        else:
            self._put(self._packed(self._run), depth)
        self._run = []

    def _compact_length(self, depth: int, *, short: bool) -> None:
        """Writes the pending run and ``n`` as a varint, which mostly is a single byte."""
        rest = "_text_length_bytes(n)" if short else "_uvarint_bytes(n)"
        if not self._run:
            self._say("if n < 128:", depth)
            self._say(f"{self._out}.append(n)", depth + 1)
            self._say("else:", depth)
            self._put(rest, depth + 1)
            return
        together = self._packed([*self._run, ("B", "n")])
        self._put(f"{together} if n < 128 else {self._packed(self._run)} + {rest}", depth)
        self._run = []

    def _field(self, field: Field, value: str, depth: int) -> None:
        if not field.is_array and field.type in FIXED:
            self._run.append((FIXED[field.type][0], value))
        elif not field.is_array and not field.struct and not self._is_inlined:
            self._flush(depth)
            self._say(f"{self._helper(field)}({self._out}, {value})", depth)
        elif self._at.is_nullable(field):
            self._nullable(field, value, depth)
        else:
            self._present(field, value, depth)

    def _helper(self, field: Field, *, as_element: bool = False) -> str:
        compact = "compact_" if self._at.is_compact(field) else ""
        nullable = "nullable_" if self._at.is_nullable(field) and not as_element else ""
        return f"_put_{compact}{nullable}{field.element}"

    def _nullable(self, field: Field, value: str, depth: int) -> None:
        pending = list(self._run)
        self._say(f"if {value} is None:", depth)
        if field.struct and not field.is_array:
            self._run.append(("x", "") if self._at.is_tagged(field) else ("b", "-1"))
        elif self._at.is_compact(field):
            self._run.append(("x", ""))
        else:
            self._run.append(("h" if field.type == "string" else "i", "-1"))
        self._flush(depth + 1)
        self._say("else:", depth)
        self._run = pending
        if field.struct and not field.is_array:
            self._run.append(("b", "1"))
        self._present(field, value, depth + 1)
        self._flush(depth + 1)

    def _present(self, field: Field, value: str, depth: int) -> None:
        if field.is_array:
            self._array(field, value, depth)
        elif field.struct:
            self._nested(field.struct, value, depth)
        elif field.type == "records":
            self._records(field, value, depth)
        else:
            if field.type == "string":
                self._say(f"raw = {value}.encode()", depth)
                value = "raw"
            self._length(field, f"len({value})", depth, short=field.type == "string")
            self._flush(depth)
            self._put(value, depth)

    def _nested(self, struct: Struct, value: str, depth: int) -> None:
        if self._is_inlined:
            inner = f"o{next(self._names)}"
            self._say(f"{inner} = {value}", depth)
            self._struct(struct, inner, depth)
        else:
            self._flush(depth)
            self._say(f"{self._calls[struct.name]}({value}, {self._out})", depth)

    def _length(self, field: Field, size: str, depth: int, *, short: bool = False) -> None:
        if self._at.is_compact(field):
            self._say(f"n = {size} + 1", depth)
            self._compact_length(depth, short=short)
        else:
            self._run.append(("h" if short else "i", size))

    def _records(self, field: Field, value: str, depth: int) -> None:
        """Large records become a piece of their own, and a new ``out`` begins behind them."""
        self._say(f"r = {value}", depth)
        self._say("size = sum(map(len, r)) if type(r) is list else len(r)", depth)
        self._length(field, "size", depth)
        self._flush(depth)
        self._say("if size < _COPY_BELOW:", depth)
        self._say('out += b"".join(r) if type(r) is list else r', depth + 1)
        self._say("else:", depth)
        self._say("if type(r) is list:", depth + 1)
        self._say("parts += r", depth + 2)
        self._say("else:", depth + 1)
        self._say("parts.append(r)", depth + 2)
        self._say("out = bytearray()", depth + 1)
        self._say("parts.append(out)", depth + 1)

    def _array(self, field: Field, value: str, depth: int) -> None:
        self._length(field, f"len({value})", depth)
        self._flush(depth)
        if field.element == "uuid":
            self._put(f'b"".join({value})', depth)
            return
        if field.element in FIXED:
            code = FIXED[field.element][0]
            self._say(f'_put_fixed({self._out}, "{code}", {value})', depth)
            return
        item = f"o{next(self._names)}"
        self._say(f"for {item} in {value}:", depth)
        if field.struct and self._is_inlined:
            self._struct(field.struct, item, depth + 1)
            self._flush(depth + 1)
        elif field.struct:
            self._say(f"{self._calls[field.struct.name]}({item}, {self._out})", depth + 1)
        else:
            self._say(f"{self._helper(field, as_element=True)}({self._out}, {item})", depth + 1)
