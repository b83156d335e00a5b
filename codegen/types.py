"""How each wire type is spelt in Python: annotation, default, struct character, smallest size."""

from codegen.schema import Field, Versions

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
    return field.nullable.low <= field.nullable.high or field.type == "records"


def annotation(field: Field) -> str:
    element = field.struct.python_name if field.struct else ANNOTATION.get(field.element, "int")
    if field.is_array:
        element = f"list[{element}]"
    return f"{element} | None" if is_nullable(field) else element


def default(field: Field) -> str:
    """The default as a Python expression; ``[]`` and structs are made anew for each instance."""
    given = field.default
    if given in ("null", None) and is_nullable(field) and given is not None:
        return "None"
    if field.is_array:
        return "[]"
    if field.struct:
        return f"{field.struct.python_name}()"
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


def is_fresh(field: Field) -> bool:
    """Whether the default must not be shared between instances."""
    return default(field) == "[]" or (field.struct is not None and default(field) != "None")


class At:
    """A message's layout at one version."""

    def __init__(self, version: int, flexible: Versions) -> None:
        self.version = version
        self.flexible = version in flexible

    def is_compact(self, field: Field) -> bool:
        return self.flexible and (field.flexible is None or self.version in field.flexible)

    def is_tagged(self, field: Field) -> bool:
        return self.flexible and self.version in field.tagged

    def plain(self, fields: list[Field]) -> list[Field]:
        return [one for one in fields if self.version in one.versions and not self.is_tagged(one)]

    def tagged(self, fields: list[Field]) -> list[Field]:
        found = [one for one in fields if self.version in one.versions and self.is_tagged(one)]
        return sorted(found, key=lambda one: one.tag or 0)

    def smallest(self, field: Field, *, as_element: bool = False) -> int:
        """Fewest bytes that a value takes: what bounds an array's count by the bytes that are left."""
        if field.is_array and not as_element:
            return 1 if self.is_compact(field) else 4
        if field.struct:
            if not as_element and self.version in field.nullable:
                return 1
            size = sum(self.smallest(one) for one in self.plain(field.struct.fields))
            return max(size + self.flexible, 0 if size + self.flexible else 1)
        if field.element in FIXED:
            return FIXED[field.element][1]
        if self.is_compact(field):
            return 1
        return 2 if field.element == "string" else 4
