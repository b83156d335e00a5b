"""Writes the decode functions: straight-line code for one struct at one version."""

from codegen.schema import Field, Struct
from codegen.types import FIXED, At, default, identifier


class Decoder:
    """Builds the body of one function; runs of fixed-width fields become one ``unpack_from``."""

    def __init__(self, struct: Struct, at: At, names: dict[str, str], formats: set[str]) -> None:
        self._struct = struct
        self._at = at
        self._names = names
        self._formats = formats
        self._lines: list[str] = []
        self._run: list[tuple[str, str]] = []

    def body(self) -> list[str]:
        """The statements, indented once; the function gets ``buf`` and ``pos``."""
        for field in self._at.plain(self._struct.fields):
            self._field(field, f"v_{field.name}")
        self._flush()
        tagged = self._at.tagged(self._struct.fields)
        for field in tagged:
            self._say(f"v_{field.name} = {default(field)}")
        if self._at.flexible:
            self._tags(tagged)
        arguments = [
            f"v_{field.name}" if self._at.version in field.versions else default(field)
            for field in self._struct.fields
        ]
        self._say(f"return {self._struct.python_name}({', '.join(arguments)}), pos")
        return self._lines

    def _say(self, line: str, depth: int = 1) -> None:
        self._lines.append("    " * depth + line)

    def _fixed(self, code: str, variable: str) -> None:
        self._run.append((code, variable))

    def _flush(self, depth: int = 1) -> None:
        if not self._run:
            return
        code = "".join(one for one, _ in self._run)
        self._formats.add(code)
        targets = ", ".join(variable for _, variable in self._run)
        comma = "," if len(self._run) == 1 else ""
        self._say(f"{targets}{comma} = _u_{identifier(code)}(buf, pos)", depth)
        sizes = {"b": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "d": 8, "16s": 16}
        self._say(f"pos += {sum(sizes[one] for one, _ in self._run)}", depth)
        self._run = []

    def _length(self, field: Field, *, short: bool, depth: int) -> None:
        """Leaves the length in ``n``, -1 for null."""
        if self._at.is_compact(field):
            self._flush(depth)
            self._say("n = buf[pos] - 1", depth)
            self._say("pos += 1", depth)
            self._say("if n > 126:", depth)
            self._say("n, pos = _uvarint_rest(buf, pos, n + 1)", depth + 1)
            self._say("n -= 1", depth + 1)
        else:
            self._fixed("h" if short else "i", "n")
            self._flush(depth)

    def _field(self, field: Field, variable: str, depth: int = 1) -> None:
        if field.is_array:
            self._array(field, variable, depth)
        elif field.struct:
            self._flush(depth)
            reader = self._names[field.struct.name]
            if self._at.version in field.nullable:
                self._say("n = _i8(buf, pos)[0]", depth)
                self._say("pos += 1", depth)
                self._say("if n < 0:", depth)
                self._say(f"{variable} = None", depth + 1)
                self._say("else:", depth)
                self._say(f"{variable}, pos = {reader}(buf, pos)", depth + 1)
            else:
                self._say(f"{variable}, pos = {reader}(buf, pos)", depth)
        elif field.type in FIXED:
            self._fixed(FIXED[field.type][0], variable)
        else:
            self._length(field, short=field.type == "string", depth=depth)
            self._blob(field, variable, depth, nullable=self._at.version in field.nullable)

    def _blob(self, field: Field, variable: str, depth: int, *, nullable: bool) -> None:
        self._say("if n < 0:", depth)
        if nullable or field.type == "records":
            self._say(f"{variable} = None", depth + 1)
        else:
            self._say(f'raise _Malformed("{field.name} must not be null")', depth + 1)
        self._say("else:", depth)
        self._say("end = pos + n", depth + 1)
        self._say("if end > len(buf):", depth + 1)
        self._say(f'raise _Malformed("{field.name} is longer than its frame")', depth + 2)
        if field.element == "string":
            self._say(f'{variable} = str(buf[pos:end], "utf-8")', depth + 1)
        elif field.element == "bytes":
            self._say(f"{variable} = bytes(buf[pos:end])", depth + 1)
        else:
            self._say(f"{variable} = buf[pos:end]", depth + 1)
        self._say("pos = end", depth + 1)

    def _array(self, field: Field, variable: str, depth: int) -> None:
        self._length(field, short=False, depth=depth)
        smallest = self._at.smallest(field, as_element=True)
        self._say("if n < 0:", depth)
        if self._at.version in field.nullable:
            self._say(f"{variable} = None", depth + 1)
        else:
            self._say(f'raise _Malformed("{field.name} must not be null")', depth + 1)
        self._say(
            f"elif n * {smallest} > len(buf) - pos:" if smallest > 1 else "elif n > len(buf) - pos:", depth
        )
        self._say(f'raise _Malformed("{field.name} has more entries than its frame has room for")', depth + 1)
        self._say("else:", depth)
        if field.element in FIXED and field.element not in ("uuid",):
            code, size = FIXED[field.element]
            self._say(f'{variable} = list(_unpack_from(f">{{n}}{code}", buf, pos))', depth + 1)
            self._say(f"pos += n * {size}" if size > 1 else "pos += n", depth + 1)
            return
        self._say(f"{variable} = []", depth + 1)
        if field.struct:
            self._say("for _ in range(n):", depth + 1)
            self._say(f"item, pos = {self._names[field.struct.name]}(buf, pos)", depth + 2)
        elif field.element == "uuid":
            self._say("for _ in range(n):", depth + 1)
            self._say("item = bytes(buf[pos:pos + 16])", depth + 2)
            self._say("pos += 16", depth + 2)
        else:
            self._say("for _ in range(n):", depth + 1)
            self._length(field, short=field.element == "string", depth=depth + 2)
            self._blob(field, "item", depth + 2, nullable=False)
        self._say(f"{variable}.append(item)", depth + 2)

    def _tags(self, tagged: list[Field]) -> None:
        if not tagged:
            self._say("if buf[pos]:")
            self._say("pos = _skip_tags(buf, pos)", 2)
            self._say("else:")
            self._say("pos += 1", 2)
            return
        self._say("tags = buf[pos]")
        self._say("pos += 1")
        self._say("if tags:")
        self._say("if tags > 127:", 2)
        self._say("tags, pos = _uvarint_rest(buf, pos, tags)", 3)
        self._say("for _ in range(tags):", 2)
        self._say("tag, pos = _uvarint(buf, pos)", 3)
        self._say("size, pos = _uvarint(buf, pos)", 3)
        self._say("tag_end = pos + size", 3)
        self._say("if tag_end > len(buf):", 3)
        self._say('raise _Malformed("a tagged field is longer than its frame")', 4)
        word = "if"
        for field in tagged:
            self._say(f"{word} tag == {field.tag}:", 3)
            self._field(field, f"v_{field.name}", 4)
            self._flush(4)
            word = "elif"
        self._say("else:", 3)
        self._say("pos = tag_end", 4)
        self._say("if pos != tag_end:", 3)
        self._say('raise _Malformed("a tagged field has another length than announced")', 4)
