"""How a group is that does not get on: what the broker says of it, and the processes of its copiers."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.transactions.client import Settings
from tests.support.broker_process import PROGRAM

ASKING_S = 20.0
LINES = 4
"""Of a copier's history, the last ones."""
LINE_SIZE = 240


def account_of_group(bootstrap: str, group: str) -> str:
    """Its members, their epochs and partitions, its offsets, why it rebalanced lately; open transactions."""
    described = _ask("group", "describe", group, "--output", "json", "--bootstrap", bootstrap)
    try:
        lines = [line for one in json.loads(described) for line in _told(one)]
    except ValueError:
        lines = [described]
    return "\n".join(
        [
            f"what {group} is like:",
            *lines,
            _ask("txn", "list", "--state", "ongoing", "--bootstrap", bootstrap),
        ]
    )


def _told(group: dict[str, Any]) -> Iterator[str]:
    yield f"  {group['state']}, epoch {group['epoch']}, target of epoch {group['assignment_epoch']}"
    for one in group["members"]:
        has, wanted = (
            sorted(partition["partition"] for partition in one[key] or ()) for key in ("assignment", "target")
        )
        yield f"  member {one['member_id']} in epoch {one['epoch']} has {has}, is to have {wanted}"
    for one in group["offsets"]:
        where = f"{one['topic']}-{one['partition']}"
        yield (
            f"  {where}: committed {one['committed']}, stable up to {one['last_stable']} of {one['end']},"
            f" with {one['member_id']}"
        )
    for one in group["rebalances"] or ():
        yield f"  {one['timestamp']} ms, epoch {one['epoch']}: {one['text']} {one['member_id'] or ''}"


def _ask(*arguments: str) -> str:
    try:
        answer = subprocess.run(
            [PROGRAM, *arguments], capture_output=True, text=True, timeout=ASKING_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer to {' '.join(arguments)} in {ASKING_S} s"
    return answer.stdout or answer.stderr


def account_of_client(process: "subprocess.Popen[bytes]", settings: Settings) -> str:
    """Whether it lives, the last that it wrote down, and what its threads are at."""
    who, folder = f"{settings.name}.{settings.life}", Path(settings.folder)
    history, errors = folder / f"{who}.jsonl", folder / "stderr"
    size, threads = errors.stat().st_size, ""
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        threads = errors.read_bytes()[size:].decode(errors="replace")
        lines = [f"{who} is alive at {time.monotonic_ns()} ns:"]
    else:
        lines = [f"{who} ended by itself: {process.returncode}"]
    written = history.read_text().splitlines()[-LINES:] if history.exists() else []
    return "\n".join([*lines, *(f"  {line[:LINE_SIZE]}" for line in written), threads])
