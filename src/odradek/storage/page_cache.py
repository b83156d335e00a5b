"""Mapped files: which there are, and which of their pages are in memory.

Asking has nothing read: ``mincore`` only looks. A look by ``RWF_NOWAIT`` would: behind pages that were read
one after the other the kernel takes it for the next such read, and asks the device for megabytes.
"""

import functools
import mmap
import os
import sys
from collections.abc import Callable
from typing import Any

_OPTIONS = {"trackfd": False} if sys.version_info >= (3, 13) else {}


_mapped_files: dict[int, tuple[int, int]] = {}
"""Of each mapping that is alive (by its ``id``) the file: device and inode."""


def is_mapped(file: os.stat_result) -> bool:
    """Whether this process has bytes of the file mapped: a view of them may be in anybody's hands."""
    return (file.st_dev, file.st_ino) in _mapped_files.copy().values()


class Mapping(mmap.mmap):
    """A file mapped for reading, by one thread."""

    _look: "Callable[[int, int], bytes] | None" = None

    def __new__(cls, fd: int, length: int) -> "Mapping":
        mapping = super().__new__(cls, fd, length, access=mmap.ACCESS_READ, **_OPTIONS)
        if hasattr(mmap, "MADV_RANDOM"):
            # A page that is not there is read alone: megabytes around it would be in the way of a flush.
            mapping.madvise(mmap.MADV_RANDOM)
        found = os.fstat(fd)
        _mapped_files[id(mapping)] = found.st_dev, found.st_ino
        return mapping

    def __del__(self, files: "dict[int, tuple[int, int]]" = _mapped_files) -> None:
        # Runs when the last view is gone, in whichever thread that is: one step, and no lock.
        files.pop(id(self), None)

    def is_in_memory(self, start: int, end: int) -> bool:
        """Whether all pages of the bytes from ``start`` to ``end`` are; True where nobody can tell."""
        look = self._look
        if look is None:
            look = self._look = _looker(self)
        first = start - start % mmap.PAGESIZE
        return b"\0" not in look(first, end - first)


def _looker(mapping: Mapping) -> "Callable[[int, int], bytes]":
    """One byte for each page from a page's start on, 0 for one that is not there; none if nobody can tell."""
    tools = _tools()
    if tools is None:
        return lambda start, length: b""
    mincore, address_of, new_buffer = tools
    address = address_of(mapping)
    found = new_buffer(1)

    def look(start: int, length: int) -> bytes:
        nonlocal found
        pages = -(-length // mmap.PAGESIZE)
        if len(found) != pages:
            found = new_buffer(pages)
        return b"" if mincore(address + start, length, found) else found.raw

    return look


@functools.cache
def _tools() -> tuple[Any, Callable[[Mapping], int], Any] | None:
    """What ctypes has for this, if it is there; not made before it is needed: most never pay its 5 ms."""
    try:
        import ctypes

        mincore = ctypes.CDLL(None).mincore
    except (ImportError, AttributeError):
        return None
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)

    class Buffer(ctypes.Structure):
        """``Py_buffer``, of which only the address matters."""

        _fields_ = (
            ("address", ctypes.c_void_p),
            ("owner", ctypes.py_object),
            ("rest", ctypes.c_ssize_t * 16),
        )

    def address_of(mapping: Mapping) -> int:
        buffer = Buffer()
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(mapping), ctypes.byref(buffer), 0)
        address: int = buffer.address
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
        return address

    return mincore, address_of, ctypes.create_string_buffer
