import pytest

from codegen.supported import BEGIN, END, README, supported, with_table
from odradek.broker import table


def test_the_readme_is_up_to_date() -> None:
    readme = README.read_text()
    assert readme == with_table(readme), "run `python -m codegen.supported`"


def test_every_served_api_has_a_row() -> None:
    text = supported()
    assert "| Produce | 0 | 3–13 |" in text  # noqa: RUF001
    assert text.count("\n| ") == len(table.HANDLERS)
    assert "does not: SaslHandshake (17)," in text
    assert "BrokerRegistration" not in text


def test_only_the_part_between_the_marks_changes() -> None:
    before, after = f"# A\n{BEGIN} (made by hand) -->\n", f"{END}\n## B\n"
    assert with_table(f"{before}old\n{after}") == f"{before}{supported()}\n{after}"
    with pytest.raises(ValueError, match="no part"):
        with_table("# A\n")
