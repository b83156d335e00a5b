"""CRC-32C (Castagnoli), the checksum of record batches and of producer snapshots.

``crc32c(buffer, seed=0) -> int`` takes any contiguous buffer and returns the unsigned sum; with the sum of
earlier bytes as ``seed`` it continues. It is the C function itself: the append path calls it for each batch.
"""

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any


def _load() -> Callable[..., int]:
    """The function out of the package's C module, without the package.

    ``import crc32c`` looks its own version up in the installed metadata, which takes 20 ms or more: a
    third of what a broker needs to start.
    """
    package = PathFinder.find_spec("crc32c")
    if package is not None and "crc32c" not in sys.modules:
        spec = PathFinder.find_spec("_crc32c", package.submodule_search_locations)
        if spec is not None and spec.loader is not None:
            module: Any = spec.loader.create_module(spec)
            spec.loader.exec_module(module)
            if hasattr(module, "crc32c"):
                found: Callable[..., int] = module.crc32c
                return found
    from crc32c import crc32c

    return crc32c


crc32c = _load()
