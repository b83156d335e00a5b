"""Writes the encode functions: the mirror of ``decoder.py``."""

from codegen.schema import Field, Struct
from codegen.types import FIXED, At, default, identifier


class Encoder:
    """Builds the body of one function over ``o`` (the value) and ``parts`` (the pieces so far)."""

    def __init__(self, struct: Struct, at: At, names: dict[str, str], formats: set[str]) -> None:
        self._struct = struct
        self._at = at
        self._names = names
        self._formats = formats
        self._lines: list[str] = []
        self._run: list[tuple[str, str]] = []

    def body(self) -> list[str]:
        """The statements, indented once."""
        for field in self._at.plain(self._struct.fields):
            self._field(field, f"o.{field.name}", "parts")
        if self._at.flexible:
            tagged = self._at.tagged(self._struct.fields)
            if tagged:
                self._flush("parts")
                self._tags(tagged)
            else:
                self._run.append(("b", "0"))
        self._flush("parts")
        return self._lines or ["    pass"]

    def _say(self, line: str, depth: int = 1) -> None:
        self._lines.append("    " * depth + line)

    def _flush(self, parts: str, depth: int = 1) -> None:
        if self._run:
            code = "".join(one for one, _ in self._run)
            if code == "b" and self._run[0][1] == "0":
                self._say(f'{parts}.append(b"\\0")', depth)
            else:
                self._formats.add(code)
                self._say(
                    f"{parts}.append(_p_{identifier(code)}({', '.join(value for _, value in self._run)}))",
                    depth,
                )
            self._run = []

    def _field(self, field: Field, value: str, parts: str, depth: int = 1) -> None:
        nullable = self._at.version in field.nullable or field.type == "records"
        if not field.is_array and not field.struct and field.type in FIXED:
            self._run.append((FIXED[field.type][0], value))
            return
        if field.struct and not field.is_array:
            self._flush(parts, depth)
            writer = self._names[field.struct.name]
            if nullable:
                self._say(f"if {value} is None:", depth)
                self._say(f'{parts}.append(b"\\xff")', depth + 1)
                self._say("else:", depth)
                self._say(f'{parts}.append(b"\\x01")', depth + 1)
                self._say(f"{writer}({value}, {parts})", depth + 1)
            else:
                self._say(f"{writer}({value}, {parts})", depth)
            return
        inner = self._array if field.is_array else self._blob
        if not nullable and value.startswith("o.") and self._can_be_none(field):
            self._say(f"if {value} is None:", depth)
            self._say(f'raise ValueError("{field.name} must not be null in this version")', depth + 1)
        if nullable:
            self._flush(parts, depth)
            self._say(f"if {value} is None:", depth)
            null = '"\\0"' if self._at.is_compact(field) else self._plain_null(field)
            self._say(f"{parts}.append(b{null})", depth + 1)
            self._say("else:", depth)
            inner(field, value, parts, depth + 1)
            self._flush(parts, depth + 1)
        else:
            inner(field, value, parts, depth)

    @staticmethod
    def _can_be_none(field: Field) -> bool:
        return field.nullable.low <= field.nullable.high

    @staticmethod
    def _plain_null(field: Field) -> str:
        return '"\\xff\\xff"' if field.type == "string" else '"\\xff\\xff\\xff\\xff"'

    def _length(self, field: Field, size: str, parts: str, depth: int, *, short: bool) -> None:
        """Writes the length; compact ones are length + 1 as a varint, mostly a single byte."""
        if self._at.is_compact(field):
            self._flush(parts, depth)
            self._say(f"n = {size} + 1", depth)
            self._say(f"{parts}.append(_BYTE[n] if n < 128 else _uvarint_bytes(n))", depth)
        else:
            self._run.append(("h" if short else "i", size))

    def _blob(self, field: Field, value: str, parts: str, depth: int) -> None:
        if field.element == "string":
            self._flush(parts, depth)
            self._say(f"raw = {value}.encode()", depth)
            if self._at.is_compact(field):
                self._say("n = len(raw) + 1", depth)
                self._say(f"{parts}.append((_BYTE[n] if n < 128 else _uvarint_bytes(n)) + raw)", depth)
            else:
                self._length(field, "len(raw)", parts, depth, short=True)
                self._flush(parts, depth)
                self._say(f"{parts}.append(raw)", depth)
            return
        if field.element == "records":
            self._say(f"if type({value}) is list:", depth)
            self._length(field, f"sum(map(len, {value}))", parts, depth + 1, short=False)
            self._flush(parts, depth + 1)
            self._say(f"{parts}.extend({value})", depth + 1)
            self._say("else:", depth)
            depth += 1
        self._length(field, f"len({value})", parts, depth, short=False)
        self._flush(parts, depth)
        self._say(f"{parts}.append({value})", depth)

    def _array(self, field: Field, value: str, parts: str, depth: int) -> None:
        self._length(field, f"len({value})", parts, depth, short=False)
        self._flush(parts, depth)
        if field.element in FIXED and field.element != "uuid":
            code = FIXED[field.element][0]
            self._say(f'{parts}.append(_pack(f">{{len({value})}}{code}", *{value}))', depth)
        elif field.element == "uuid":
            self._say(f"{parts}.extend({value})", depth)
        else:
            self._say(f"for item in {value}:", depth)
            if field.struct:
                self._say(f"{self._names[field.struct.name]}(item, {parts})", depth + 1)
            else:
                self._blob(field, "item", parts, depth + 1)
                self._flush(parts, depth + 1)

    def _tags(self, tagged: list[Field]) -> None:
        self._say("tags = []")
        for field in tagged:
            given = default(field)
            if field.is_array and given == "[]" and field.nullable.low > field.nullable.high:
                self._say(f"if o.{field.name}:")
            elif given == "None":
                self._say(f"if o.{field.name} is not None:")
            else:
                self._say(f"if o.{field.name} != {given}:")
            self._say("tag_parts = []", 2)
            self._field(field, f"o.{field.name}", "tag_parts", 2)
            self._flush("tag_parts", 2)
            self._say(f"tags.append(({field.tag}, tag_parts))", 2)
        self._say("if tags:")
        self._say("_add_tags(parts, tags)", 2)
        self._say("else:")
        self._say('parts.append(b"\\0")', 2)
