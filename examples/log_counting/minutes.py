"""The minute that a log line belongs to."""

import re
from datetime import datetime, timedelta

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LOOK_AT_BYTES = 512
"""The time stands near the beginning of a line in every format known here."""

_ISO = re.compile(rb"(?<!\d)(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d):\d\d")
"""dpkg.log, apt's, journalctl -o short-iso, today's syslog: 2026-11-24T03:31:42"""
_ACCESS = re.compile(rb"\[(\d\d)/([A-Z][a-z]{2})/(\d{4})[: ](\d\d:\d\d):\d\d")
"""Apache's and nginx's combined format: [24/Nov/2026:03:31:42 +0000]; http.server has a space there."""
_SYSLOG = re.compile(rb"^(?:<\d+>)?([A-Z][a-z]{2}) ([ \d]\d) (\d\d:\d\d):\d\d ")
"""RFC 3164, which knows no year: Nov 24 03:31:42"""


def minute_of(line: bytes, arrival_ms: int) -> str:
    """``2026-11-24 03:31``: as the line says it, in its own time zone; else from its arrival, local time.

    ``arrival_ms`` counts from 1970. A line without a year is of the twelve months before its arrival.
    """
    head = line[:LOOK_AT_BYTES]
    if found := _ISO.search(head):
        return f"{found[1].decode()} {found[2].decode()}"
    if (found := _ACCESS.search(head)) and (month := _month(found[2])):
        return f"{found[3].decode()}-{month:02}-{found[1].decode()} {found[4].decode()}"
    arrival = datetime.fromtimestamp(arrival_ms / 1000)
    if (found := _SYSLOG.search(head)) and (month := _month(found[1])):
        day = int(found[2])
        if year := _year_of(month, day, arrival):
            return f"{year}-{month:02}-{day:02} {found[3].decode()}"
    return arrival.strftime("%Y-%m-%d %H:%M")


def _year_of(month: int, day: int, arrival: datetime) -> int | None:
    """The last year in which that day was not after ``arrival``; None for a day that was not there."""
    # A day's grace: the writer may live further east.
    latest = arrival + timedelta(days=1)
    for year in range(latest.year, latest.year - 9, -1):
        try:
            if datetime(year, month, day) <= latest:
                return year
        except ValueError:
            continue
    return None


def _month(name: bytes) -> int:
    """1 to 12, or 0 for what is no month."""
    text = name.decode()
    return MONTHS.index(text) + 1 if text in MONTHS else 0
