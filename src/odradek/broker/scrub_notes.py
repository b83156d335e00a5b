"""What a start must know of the scrub: a broker that restarts often reads everything once in an interval all
the same, neither from the beginning each time nor never to the end.

The file is ``odradek-scrub`` in the data folder; storage/FORMAT.md has the layout.
"""

import logging
import zlib
from typing import NamedTuple

from odradek.storage import names
from odradek.storage.checkpoints import decode_properties, encode_properties
from odradek.storage.disk import Disk

log = logging.getLogger("odradek.scrub")

NEVER = -1


class ScrubNotes(NamedTuple):
    """``finished_ms`` is when a pass ended last (wall clock); ``after`` is the folder name of the last
    partition that a pass under way has checked, empty when none is."""

    finished_ms: int = NEVER
    after: str = ""


def encode_notes(notes: ScrubNotes) -> bytes:
    properties = {"finished.ms": str(notes.finished_ms), "after": notes.after}
    return encode_properties({**properties, "crc": str(_crc(properties))})


def read_notes(disk: Disk, folder: str, now_ms: int) -> ScrubNotes:
    """What is noted; as if there never was a pass where that cannot be believed."""
    path = notes_path(folder)
    if not disk.exists(path):
        return ScrubNotes()
    try:
        properties = decode_properties(disk.read_file(path))
        crc = properties.pop("crc", "")
        if crc != str(_crc(properties)):
            raise ValueError("its checksum is wrong")
        notes = ScrubNotes(int(properties["finished.ms"]), properties["after"])
        if notes.finished_ms > now_ms:
            raise ValueError("it is of the future")
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s is of no use (%s): the scrub begins anew", path, error)
        return ScrubNotes()
    return notes


def notes_path(folder: str) -> str:
    return f"{folder}/{names.SCRUB_NOTES}"


def _crc(properties: dict[str, str]) -> int:
    return zlib.crc32(encode_properties(properties))
