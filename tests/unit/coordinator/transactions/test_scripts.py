"""Every script in scripts/ gives what it says. ``REWRITE_SCRIPTS=1`` writes down what it gives now."""

import os
from pathlib import Path

import pytest

from .script import Script, script_files


@pytest.mark.parametrize("path", script_files(), ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    text = path.read_text()
    actual = Script().run(text)
    if os.environ.get("REWRITE_SCRIPTS"):
        path.write_text(actual)
    else:
        assert actual == text
