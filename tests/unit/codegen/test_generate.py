from pathlib import Path

from codegen.generate import sources, write

PROTOCOL = Path(__file__).parents[3] / "src" / "odradek" / "protocol"


def test_a_fresh_run_makes_what_is_checked_in() -> None:
    made = sources()
    checked_in = {f"generated/{path.name}" for path in (PROTOCOL / "generated").glob("*.py")} | {"apis.py"}
    assert checked_in == made.keys(), "run `make codegen`"
    stale = [path for path, source in made.items() if (PROTOCOL / path).read_text() != source]
    assert not stale, "run `make codegen`"


def test_modules_that_are_no_longer_made_are_removed(tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    old = tmp_path / "generated" / "leader_and_isr.py.py"
    old.write_text("")
    count = write(tmp_path)
    assert not old.exists()
    assert count == len(sources())
    assert (tmp_path / "apis.py").read_text() == sources()["apis.py"]
