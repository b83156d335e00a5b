"""``python -m tests.faults.transactions.soak --seconds N``: the transaction checker, for as long as wanted.

One episode after the other, each with the next seed and topics of its own, on one broker whose log grows old.
It ends at the first broken promise, with the trace and the command that begins at that seed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.transactions.brokers import started_broker
from tests.faults.transactions.episode import Episode

EPISODE_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="in all, at least one episode (default 600)"
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the first episode")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    seed = options.seed
    with tempfile.TemporaryDirectory(prefix="odradek-soak-", ignore_cleanup_errors=True) as folder:
        broker = started_broker(Path(folder))
        try:
            while True:
                seconds = min(EPISODE_S, max(10.0, deadline - time.monotonic()))
                verdict = Episode(broker, Path(folder) / f"episode-{seed}", seed).run(seconds)
                print(f"seed {seed}: {verdict.summary}", flush=True)
                if verdict.violations:
                    print(verdict.story)
                    print(f"again: make soak-transactions SEED={seed} SECONDS={EPISODE_S:.0f}")
                    return 1
                seed += 1
                if time.monotonic() > deadline:
                    return 0
        finally:
            broker.kill()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: nothing was found so far")
