"""Lines of a file descriptor, read by a thread so that a terminal or a slow pipe holds nothing up."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator

_READ_BYTES = 256 * 1024


async def read_lines(descriptor: int) -> AsyncIterator[list[bytes]]:
    """Lists of lines, without their newlines (``\\n`` or ``\\r\\n``), as they come; ends with the input."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    may_read = threading.Semaphore(2)

    def read() -> None:
        while True:
            may_read.acquire()
            try:
                chunk: bytes | OSError = os.read(descriptor, _READ_BYTES)
            except OSError as error:
                chunk = error
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:
                return  # The loop is closed: nobody reads any more.
            if not chunk or isinstance(chunk, OSError):
                return

    # A daemon, because a read from a terminal cannot be interrupted when the command ends.
    threading.Thread(target=read, name="odradek-stdin", daemon=True).start()
    rest: list[bytes] = []
    while True:
        chunk = await chunks.get()
        may_read.release()
        if isinstance(chunk, OSError):
            raise chunk
        if not chunk:
            break
        *whole, last = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join([*rest, whole[0]])
            rest = []
            yield [line.removesuffix(b"\r") for line in whole]
        rest.append(last)
    if last_line := b"".join(rest):
        yield [last_line.removesuffix(b"\r")]
