"""How each wire type is spelt in Python: annotation, default, struct character, smallest size."""

from codegen.schema import Field, Struct, Versions

FIXED = {
    "bool": ("?", 1),
    "int8": ("b", 1),
    "int16": ("h", 2),
    "uint16": ("H", 2),
    "int32": ("i", 4),
    "uint32": ("I", 4),
    "int64": ("q", 8),
    "float64": ("d", 8),
    "uuid": ("16s", 16),
}
SIZES = dict(FIXED.values()) | {"B": 1, "x": 1}
ANNOTATION = {
    "bool": "bool",
    "float64": "float",
    "uuid": "bytes",
    "string": "str",
    "bytes": "bytes",
    "records": "Records",
}


def identifier(code: str) -> str:
    """A struct format as part of a name."""
    return code.replace("?", "o").replace("16s", "u")


def is_nullable(field: Field) -> bool:
    return field.nullable.low <= field.nullable.high


def annotation(field: Field) -> str:
    element = field.struct.python_name if field.struct else ANNOTATION.get(field.element, "int")
    if field.is_array:
        element = f"list[{element}]"
    return f"{element} | None" if is_nullable(field) or field.type == "records" else element


def shared_default(struct: Struct) -> str:
    """The name of the read-only instance that stands for a struct nobody set."""
    return f"_D_{struct.python_name}"


def default(field: Field) -> str:
    """The default as a Python expression."""
    given = field.default
    if given == "null":
        return "None"
    if field.is_array:
        return "[]"
    if field.struct:
        return shared_default(field.struct)
    if field.type == "string":
        return repr(given or "")
    if field.type == "bytes":
        return 'b""'
    if field.type == "records":
        return "None"
    if field.type == "uuid":
        return "_ZERO_UUID"
    if field.type == "bool":
        return "True" if given in (True, "true") else "False"
    if field.type == "float64":
        return repr(float(given or 0))
    return str(int(str(given), 0)) if given not in (None, "") else "0"


def differs(field: Field, value: str) -> str:
    """The condition that ``value`` is not the field's default."""
    given = default(field)
    if given == "None":
        return f"{value} is not None"
    if given == "[]":
        return f"{value} != []" if is_nullable(field) else value
    if field.struct:
        return f"({value} is not {given} and {value} != {given})"
    if given in ("True", "False"):
        return f"not {value}" if given == "True" else value
    return f"{value} != {given}"


class At:
    """A message's layout at one version; ``is_strict``: fields that the version lacks must not be set."""

    def __init__(self, version: int, flexible: Versions, *, is_strict: bool = True) -> None:
        self.version = version
        self.flexible = version in flexible
        self.is_strict = is_strict

    def is_compact(self, field: Field) -> bool:
        return self.flexible and (field.flexible is None or self.version in field.flexible)

    def is_nullable(self, field: Field) -> bool:
        return self.version in field.nullable

    def is_tagged(self, field: Field) -> bool:
        return self.flexible and self.version in field.tagged

    def plain(self, fields: list[Field]) -> list[Field]:
        return [one for one in fields if self.version in one.versions and not self.is_tagged(one)]

    def tagged(self, fields: list[Field]) -> list[Field]:
        found = [one for one in fields if self.version in one.versions and self.is_tagged(one)]
        return sorted(found, key=lambda one: one.tag or 0)

    def absent(self, fields: list[Field]) -> list[Field]:
        return [one for one in fields if self.version not in one.versions]

    def smallest(self, field: Field, *, as_element: bool = False) -> int:
        """Fewest bytes that a value takes: what bounds an array's count by the bytes that are left."""
        if field.is_array and not as_element:
            return 1 if self.is_compact(field) else 4
        if field.struct:
            if not as_element and self.is_nullable(field):
                return 1
            size = sum(self.smallest(one) for one in self.plain(field.struct.fields)) + self.flexible
            return max(size, 1)
        if field.element in FIXED:
            return FIXED[field.element][1]
        if self.is_compact(field):
            return 1
        return 2 if field.element == "string" else 4
