"""What a command yields: records to append, and what to tell the asker once they are durable."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from odradek.cluster.records import Record

Result = TypeVar("Result")


class Change(Generic[Result]):
    """``records`` make one atomic entry; without any there is nothing to wait for."""

    __slots__ = ("records", "result")

    def __init__(self, records: Sequence[Record], result: Result) -> None:
        self.records = records
        self.result = result
