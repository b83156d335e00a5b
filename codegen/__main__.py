"""Kafka's message definitions → ``src/odradek/protocol/generated``; ``python -m codegen [FOLDER]``."""

import sys
from pathlib import Path

from codegen.generate import write

DESTINATION = Path(__file__).parents[1] / "src" / "odradek" / "protocol"

if __name__ == "__main__":
    destination = Path(sys.argv[1]) if len(sys.argv) > 1 else DESTINATION
    print(f"{write(destination)} modules written to {destination}")
