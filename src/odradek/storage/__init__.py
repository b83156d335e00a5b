"""The log on disk: segments, indexes, producer state, recovery, flushing. FORMAT.md describes the bytes."""
