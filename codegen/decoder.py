"""Writes the decode functions: straight-line code for one struct at one version.

Runs of fixed-width fields become one ``unpack_from``. In inlined messages the first byte of a varint that
follows such a run is read by the same call, and nested structs and texts are read in place; elsewhere
they are calls, which keeps the modules small.
"""

from itertools import count

from codegen.schema import Field, Struct
from codegen.types import FIXED, SIZES, At, default, identifier


class Decoder:
    """Builds the body of one function over ``buf``, ``pos`` and ``limit``."""

    ARGUMENTS = "buf, pos, limit"
    ROOT_ARGUMENTS = ARGUMENTS
    PREFIX = "_r"

    def __init__(self, at: At, calls: dict[str, str], formats: set[str], *, is_inlined: bool) -> None:
        self._at = at
        self._calls = calls
        self._formats = formats
        self._is_inlined = is_inlined
        self._lines: list[str] = []
        self._run: list[tuple[str, str]] = []
        self._names = count(1)

    def body(self, struct: Struct) -> list[str]:
        """The function of a whole struct: returns the value and the position behind it."""
        self._say(f"o = _new({struct.python_name})", 1)
        self._struct(struct, "o", 1)
        self._flush(1)
        self._say("return o, pos", 1)
        return self._lines

    def tags_body(self, struct: Struct) -> list[str]:
        """The function that reads a struct's tagged fields into ``o``; their number is ``n``."""
        self._say("if n > 127:", 1)
        self._say("n, pos = _uvarint_rest(buf, pos, n)", 2)
        self._say("for _ in range(n):", 1)
        self._say("tag, pos = _uvarint(buf, pos)", 2)
        self._say("end, pos = _uvarint(buf, pos)", 2)
        self._say("end += pos", 2)
        self._say("if end > limit:", 2)
        self._say('raise _too_long("a tagged field")', 3)
        self._say("tag_end = end", 2)
        word = "if"
        for field in self._at.tagged(struct.fields):
            self._say(f"{word} tag == {field.tag}:", 2)
            self._field(field, f"o.{field.name}", 3)
            self._flush(3)
            word = "elif"
        self._say("else:", 2)
        self._say("pos = tag_end", 3)
        self._say("if pos != tag_end:", 2)
        self._say('raise _Malformed("a tagged field has another length than announced")', 3)
        self._say("return pos", 1)
        return self._lines

    def _say(self, line: str, depth: int) -> None:
        self._lines.append("    " * depth + line)

    def _struct(self, struct: Struct, value: str, depth: int) -> None:
        for field in self._at.plain(struct.fields):
            self._field(field, f"{value}.{field.name}", depth)
        if not self._at.flexible:
            self._defaults(self._at.absent(struct.fields), value, depth)
            return
        tagged = self._at.tagged(struct.fields)
        self._run.append(("B", "n"))
        self._flush(depth)
        self._defaults(self._at.absent(struct.fields) + tagged, value, depth)
        self._say("if n:", depth)
        if tagged:
            self._say(f"pos = {self._calls[f'tags {struct.name}']}(buf, pos, limit, n, {value})", depth + 1)
        else:
            self._say("pos = _skip_tags(buf, pos, n)", depth + 1)

    def _defaults(self, fields: list[Field], value: str, depth: int) -> None:
        """Fields of one default are set by one statement; each list must be its own."""
        same: dict[str, list[str]] = {}
        for field in fields:
            given = default(field)
            key = f"{given} {field.name}" if given == "[]" else given
            same.setdefault(key, []).append(f"{value}.{field.name} = ")
        for given, targets in same.items():
            self._say("".join(targets) + ("[]" if given.startswith("[] ") else given), depth)

    def _flush(self, depth: int) -> None:
        """Reads the pending run of fixed-width fields."""
        if not self._run:
            return
        code = "".join(one for one, _ in self._run)
        targets = ", ".join(target for _, target in self._run)
        if code == "B":
            self._say(f"{targets} = buf[pos]", depth)
        else:
            self._formats.add(code)
            self._say(
                f"{targets}{',' if len(self._run) == 1 else ''} = _u_{identifier(code)}(buf, pos)", depth
            )
        self._say(f"pos += {sum(SIZES[one] for one, _ in self._run)}", depth)
        self._run = []

    def _field(self, field: Field, target: str, depth: int) -> None:
        if field.is_array:
            self._array(field, target, depth)
        elif field.struct:
            self._nested(field, field.struct, target, depth)
        elif field.type in FIXED:
            self._run.append((FIXED[field.type][0], target))
        elif self._is_inlined:
            self._text(field, target, depth)
        else:
            self._flush(depth)
            self._say(f"{target}, pos = {self._helper(field)}(buf, pos, limit)", depth)

    def _helper(self, field: Field, *, as_element: bool = False) -> str:
        compact = "compact_" if self._at.is_compact(field) else ""
        nullable = "nullable_" if self._at.is_nullable(field) and not as_element else ""
        return f"_read_{compact}{nullable}{field.element}"

    def _nested(self, field: Field, struct: Struct, target: str, depth: int) -> None:
        is_nullable = self._at.is_nullable(field)
        if is_nullable:
            if self._at.is_tagged(field):  # the one place where Kafka marks null by a varint
                self._say("there, pos = _uvarint(buf, pos)", depth)
                self._say("if not there:", depth)
            else:
                self._run.append(("b", "n"))
                self._flush(depth)
                self._say("if n < 0:", depth)
            self._say(f"{target} = None", depth + 1)
            self._say("else:", depth)
            depth += 1
        if self._is_inlined:
            inner = f"o{next(self._names)}"
            self._say(f"{target} = {inner} = _new({struct.python_name})", depth)
            self._struct(struct, inner, depth)
        else:
            self._flush(depth)
            self._say(f"{target}, pos = {self._calls[struct.name]}(buf, pos, limit)", depth)
        if is_nullable:
            self._flush(depth)

    def _length(self, field: Field, depth: int, *, short: bool) -> tuple[str, str]:
        """Reads a length into ``n``; returns when it is not null, and the length, as expressions."""
        if not self._at.is_compact(field):
            self._run.append(("h" if short else "i", "n"))
            self._flush(depth)
            return "n >= 0", "n"
        self._run.append(("B", "n"))
        self._flush(depth)
        self._say("if n > 127:", depth)
        rest = "_text_length_rest" if short else "_uvarint_rest"
        self._say(f"n, pos = {rest}(buf, pos, n)", depth + 1)
        return "n", "n - 1"

    def _null(self, field: Field, target: str, depth: int) -> None:
        self._say("else:", depth)
        if self._at.is_nullable(field):
            self._say(f"{target} = None", depth + 1)
        else:
            self._say(f'raise _null("{field.name}")', depth + 1)

    def _text(self, field: Field, target: str, depth: int) -> None:
        there, length = self._length(field, depth, short=field.type == "string")
        self._say(f"if {there}:", depth)
        self._say(f"end = pos + {length}", depth + 1)
        self._say("if end > limit:", depth + 1)
        self._say(f'raise _too_long("{field.name}")', depth + 2)
        if field.type == "string":
            self._say(f'{target} = str(buf[pos:end], "utf-8")', depth + 1)
        elif field.type == "bytes":
            self._say(f"{target} = bytes(buf[pos:end])", depth + 1)
        else:
            self._say(f"{target} = buf[pos:end]", depth + 1)
        self._say("pos = end", depth + 1)
        self._null(field, target, depth)

    def _array(self, field: Field, target: str, depth: int) -> None:
        there, length = self._length(field, depth, short=False)
        self._say(f"if {there}:", depth)
        if field.element in FIXED:
            code, size = FIXED[field.element]
            helper = "_read_uuids(" if field.element == "uuid" else f'_read_fixed("{code}", {size}, '
            self._say(f"{target}, pos = {helper}buf, pos, limit, {length})", depth + 1)
        else:
            smallest = self._at.smallest(field, as_element=True)
            product = f"({length})" if " " in length and smallest > 1 else length
            product += f" * {smallest}" if smallest > 1 else ""
            self._say(f"if {product} > limit - pos:", depth + 1)
            self._say(f'raise _too_many("{field.name}")', depth + 2)
            number = next(self._names)
            items, item = f"a{number}", f"o{number}"
            self._say(f"{target} = {items} = []", depth + 1)
            self._say(f"for _ in range({length}):", depth + 1)
            if field.struct and self._is_inlined:
                self._say(f"{item} = _new({field.struct.python_name})", depth + 2)
                self._struct(field.struct, item, depth + 2)
                self._flush(depth + 2)
            else:
                read = (
                    self._calls[field.struct.name] if field.struct else self._helper(field, as_element=True)
                )
                self._say(f"{item}, pos = {read}(buf, pos, limit)", depth + 2)
            self._say(f"{items}.append({item})", depth + 2)
        self._null(field, target, depth)
