"""The README's table of what is served, from the API table; ``python -m codegen.supported`` writes it."""

from pathlib import Path
from textwrap import fill

from odradek.broker import table
from odradek.protocol.apis import APIS

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- supported: begin"
LINE_LENGTH = 120
END = "<!-- supported: end -->"


def supported() -> str:
    """What this broker serves, as a table, and below it what Kafka's brokers serve beyond that."""
    served = table.build()
    rows = [
        f"| {api.name} | {api.key} | {_versions(api.lowest_version, api.highest_version)} |"
        for api in sorted(served.values(), key=lambda api: api.key)
    ]
    missing = [
        f"{api.name} ({key})"
        for key, api in sorted(APIS.items())
        if "broker" in api.listeners and key not in served
    ]
    return "\n".join(
        [
            "| API | key | versions |",
            "|---|---|---|",
            *rows,
            "",
            fill(f"Kafka 4.3 brokers also serve, and this one does not: {', '.join(missing)}.", LINE_LENGTH),
        ]
    )


def _versions(lowest: int, highest: int) -> str:
    return str(lowest) if lowest == highest else f"{lowest}–{highest}"  # noqa: RUF001


def with_table(readme: str) -> str:
    """``readme`` with the table between its two marks; raises ``ValueError`` when they are not there."""
    before, begin, rest = readme.partition(BEGIN)
    mark, newline, rest = rest.partition("\n")
    _, end, after = rest.partition(END)
    if not (begin and newline and end):
        raise ValueError(f"there is no part between {BEGIN} and {END}")
    return f"{before}{begin}{mark}\n{supported()}\n{end}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
