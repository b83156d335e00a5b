"""What ``odradek doctor`` concludes from what it was told: pure functions, facts → findings."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.cli.cluster import size
from odradek.cli.machine import FlushTimes, OpenFiles

OK, HINT, WARNING, PROBLEM = "ok", "hint", "warning", "problem"
HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
SLOW_FLUSH_S = 0.02
MANY_PARTITIONS = 32
"""Partitions of one topic per broker beyond which nobody is helped."""
SPARE_READERS = 4
"""A topic may have so many times the partitions that are read at once; more only cost."""
FUTURE_MS = 60_000
_LOOPBACK = ("localhost", "127.", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")


class Finding(NamedTuple):
    """One check: ``level`` is ok, hint, warning or problem; ``fix`` says what would help."""

    check: str
    level: str
    text: str
    fix: str | None = None


class TopicUse(NamedTuple):
    """How a topic is used. ``readers`` are the members of its largest group, ``empty`` its partitions that
    never had a record."""

    name: str
    partitions: int
    empty: int
    readers: int
    is_internal: bool


def address(asked: str, told: Mapping[int, str], is_reachable: Mapping[int, bool]) -> list[Finding]:
    """``asked`` is what we dialled, ``told`` what brokers tell clients to dial, by node id."""
    found = []
    for node, where in told.items():
        host = where.rpartition(":")[0].strip("[]")
        if not is_reachable[node]:
            found.append(
                Finding(
                    "address",
                    PROBLEM,
                    f"clients are told to dial broker {node} at {where}, which cannot be reached from here",
                    "Set advertised.listeners to an address that clients can reach.",
                )
            )
        elif host.startswith(_LOOPBACK) and not asked.strip("[]").startswith(_LOOPBACK):
            found.append(
                Finding(
                    "address",
                    PROBLEM,
                    f"clients are told to dial broker {node} at {where}: that is each client's own machine",
                    "Set advertised.listeners to this machine's name.",
                )
            )
        else:
            found.append(Finding("address", OK, f"clients are told to dial broker {node} at {where}"))
    return found


def disk(path: str, total: int, usable: int, headroom: int, grown: int, seconds: float) -> Finding:
    """``grown`` bytes came in ``seconds``; when the disk is full but for the ``headroom`` at this rate."""
    room = f"{path}: {size(usable)} of {size(total)} left"
    if total > 0 and usable <= headroom:
        return Finding(
            "disk", PROBLEM, room, "Free some: lower retention, delete topics, or grow the volume."
        )
    if grown <= 0:
        return Finding("disk", OK, f"{room}; it does not grow at present")
    left_s = (usable - headroom) / (grown / seconds)
    text = f"{room}; at {size(int(grown / seconds))}/s it is full in {duration(left_s)}"
    text += " unless retention deletes what is older"
    if left_s < DAY_S:
        return Finding("disk", WARNING, text, "Check that retention keeps pace, or grow the volume.")
    return Finding("disk", OK, text)


def retention(total: int, bounded_bytes: int, unbounded: Iterable[str]) -> list[Finding]:
    """``bounded_bytes`` is what all partitions come to at their retention.bytes; ``unbounded`` topics keep
    all that they ever get."""
    found = []
    if total > 0 and bounded_bytes > total:
        found.append(
            Finding(
                "retention",
                WARNING,
                f"the partitions may grow to {size(bounded_bytes)} by their retention.bytes, the disk has"
                f" {size(total)}",
                "Lower retention.bytes, it counts for each partition.",
            )
        )
    names = sorted(unbounded)
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        found.append(
            Finding(
                "retention",
                HINT,
                f"kept for ever, however large: {shown}",
                "Set retention.ms or retention.bytes, if that is not meant.",
            )
        )
    return found or [Finding("retention", OK, "every topic ends somewhere")]


def flushes(path: str, times: FlushTimes) -> Finding:
    """What acks=all waits for."""
    text = f"{path}: a flush takes {times.median * 1e3:.1f} ms, {times.slowest * 1e3:.1f} ms at worst"
    if times.median > SLOW_FLUSH_S:
        return Finding(
            "flush", WARNING, f"{text}; acks=all waits for it", "Use a local SSD, or one with a write cache."
        )
    return Finding("flush", OK, text)


def files(found: OpenFiles, partitions: int) -> Finding:
    """A partition in use needs one descriptor, a connection one, and readers of the past a few."""
    text = f"{found.open} files open of {found.limit}, for {partitions} partitions"
    if found.limit < found.open * 1.25 or found.limit < partitions + 1_000:
        return Finding(
            "open files", WARNING, text, "Raise the limit: ulimit -n, or LimitNOFILE= of the service."
        )
    return Finding("open files", OK, text)


def partitions(topics: Iterable[TopicUse], brokers: int) -> list[Finding]:
    """Partitions that serve no purpose: more than anybody reads at once, or never written to."""
    found = []
    for topic in topics:
        if topic.is_internal:
            continue
        useful = max(SPARE_READERS * topic.readers, 8)
        if topic.readers and topic.partitions > useful:
            reason = f"at most {topic.readers} members read at once"
        elif topic.partitions > MANY_PARTITIONS * max(brokers, 1):
            reason = f"more than {MANY_PARTITIONS} per broker help nobody"
        elif topic.partitions >= 8 and topic.empty > topic.partitions // 2 and topic.empty < topic.partitions:
            reason = f"{topic.empty} of them never had a record: there are too few different keys"
        else:
            continue
        text = f"{topic.name} has {topic.partitions} partitions; {reason}"
        found.append(Finding("partitions", HINT, text, "Make it anew with fewer; they cannot be taken away."))
    return found or [Finding("partitions", OK, "no topic has partitions to no purpose")]


def settings(values: Mapping[str, str | None]) -> list[Finding]:
    """Settings of a broker that may cost data or let strangers in."""
    found = []
    folder = values.get("log.dirs") or values.get("log.dir") or ""
    if folder.startswith(("/tmp", "/var/tmp", "/dev/shm")):
        found.append(
            Finding("settings", PROBLEM, f"the data is in {folder}, which is emptied", "Set log.dirs.")
        )
    for listener in (values.get("listeners") or "").split(","):
        host = listener.partition("://")[2].rpartition(":")[0].strip("[]")
        if listener.startswith("PLAINTEXT") and host in _EVERYWHERE:
            text = f"anybody who reaches this machine may read, write and delete: {listener}"
            found.append(Finding("settings", WARNING, text, "Listen on one address, or keep others out."))
    interval = values.get("log.flush.interval.messages")
    if interval not in (None, "1"):
        text = f"acks=all does not wait for the disk (log.flush.interval.messages={interval})"
        found.append(
            Finding("settings", WARNING, text, "One node has no replicas: set it to 1 to lose nothing.")
        )
    if values.get("auto.create.topics.enable") == "true":
        text = "a misspelt topic name makes a topic (auto.create.topics.enable=true)"
        found.append(Finding("settings", HINT, text, "Set it to false once the topics are there."))
    largest, frame = values.get("message.max.bytes"), values.get("socket.request.max.bytes")
    if largest and frame and int(largest) > int(frame):
        text = f"message.max.bytes={largest} cannot be sent: socket.request.max.bytes={frame}"
        found.append(Finding("settings", WARNING, text, "Raise socket.request.max.bytes above it."))
    return found or [Finding("settings", OK, "no setting looks risky")]


def clock(is_synchronized: bool | None, newest_ms: Mapping[str, int], now_ms: int) -> list[Finding]:
    """``newest_ms`` are the youngest timestamps of topics: none may be ahead of us."""
    found = []
    if is_synchronized is False:
        found.append(
            Finding(
                "clock", WARNING, "nothing keeps this machine's clock right", "Run chrony or another NTP."
            )
        )
    for topic, timestamp in newest_ms.items():
        if timestamp > now_ms + FUTURE_MS:
            ahead = duration((timestamp - now_ms) / 1000)
            text = f"{topic} has a record {ahead} ahead of this machine's clock: retention.ms waits for it"
            fix = "Check the clocks of its producers; message.timestamp.after.max.ms keeps such records out."
            found.append(Finding("clock", WARNING, text, fix))
    return found or [Finding("clock", OK, "no record is from the future")]


def duration(seconds: float) -> str:
    """In the largest unit that fits."""
    for unit, length in (("days", DAY_S), ("hours", HOUR_S), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}" if seconds < 10_000 * DAY_S else "many years"
    return f"{seconds:.0f} seconds"
