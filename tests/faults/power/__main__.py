"""``python -m tests.faults.power --seconds N``: power cuts for as long as wanted, or one of them again."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults.power.campaign import Campaign, Cut, first_finding, kept, story
from tests.faults.power.platter import Leftover
from tests.faults.power.workload import record

TRACE_S = 5.0
CUTS_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="in all, at least one trace")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the first trace")
    parser.add_argument("--trace", type=Path, help="a trace that was kept, and with it")
    parser.add_argument("--cut", nargs=3, metavar=("EVENT", "LEFTOVER", "SEED"), help="the cut to repeat")
    options = parser.parse_args()
    if options.trace is not None:
        number, leftover, seed = options.cut
        finding = first_finding(kept(options.trace), [Cut(int(number), Leftover[leftover], int(seed))])
        print(finding or "all is well")
        return finding is not None
    deadline = time.monotonic() + options.seconds
    seed = options.seed
    while True:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            trace = record(Path(folder) / "data", TRACE_S, seed, patch)
        campaign = Campaign(trace.events, seed)
        finding = campaign.run(min(CUTS_S, deadline - time.monotonic()))
        print(f"seed {seed}: {len(trace.events)} events, {campaign.cuts} cuts", flush=True)
        if finding is not None:
            print(story(trace, seed, finding))
            return 1
        if time.monotonic() > deadline:
            return 0
        seed += 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: nothing was found so far")
