"""Makes the examples' modules importable, as they are for `python examples/log_counter.py`."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
