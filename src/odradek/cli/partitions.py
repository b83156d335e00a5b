"""``TOPIC[:P,P]`` on the command line: all partitions of a topic, or some."""

import click

from odradek.client.client import Client
from odradek.core.ids import TopicPartition


async def chosen_partitions(client: Client, text: str) -> list[TopicPartition]:
    """The partitions that ``TOPIC`` or ``TOPIC:0,2`` names; raises ``ApiError`` for one that is not there."""
    topic, colon, numbers = text.partition(":")
    (found,) = await client.topics([topic])
    if not colon:
        return [TopicPartition(topic, partition.partition) for partition in found.partitions]
    if not all(number.isdecimal() for number in numbers.split(",")):
        raise click.UsageError(f"{text!r} is not TOPIC or TOPIC:PARTITION,PARTITION")
    chosen = [TopicPartition(topic, int(number)) for number in numbers.split(",")]
    for key in chosen:
        await client.leader(key)
    return chosen
