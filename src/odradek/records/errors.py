"""What can be wrong with the bytes of a record batch."""

from odradek.core.errors import OdradekError


class CorruptBatchError(OdradekError):
    """A batch whose length, magic or CRC is wrong (Kafka: ``CorruptRecordException``)."""


class InvalidRecordsError(OdradekError):
    """A batch that is whole, but whose contents contradict each other (Kafka: ``InvalidRecordException``)."""
