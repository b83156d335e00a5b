"""Every topic key and group key of Kafka 4.3, with the broker keys that give their defaults, and what they do here.

Facts read out of Kafka's own ``LogConfig``, ``ServerTopicConfigSynonyms`` and ``GroupConfig``.
"""

# ruff: noqa: E501

TOPIC_TABLE = """\
cleanup.policy|LIST|delete|[compact, delete]|log.cleanup.policy
compression.gzip.level|INT|-1|[1,...,9] or -1|compression.gzip.level
compression.lz4.level|INT|9|[1,...,17]|compression.lz4.level
compression.type|STRING|producer|[uncompressed, zstd, lz4, snappy, gzip, producer]|compression.type
compression.zstd.level|INT|3|[-131072,...,22]|compression.zstd.level
delete.retention.ms|LONG|86400000|[0,...]|log.cleaner.delete.retention.ms
file.delete.delay.ms|LONG|60000|[0,...]|log.segment.delete.delay.ms
flush.messages|LONG|9223372036854775807|[1,...]|log.flush.interval.messages
flush.ms|LONG|9223372036854775807|[0,...]|log.flush.interval.ms,log.flush.scheduler.interval.ms
follower.replication.throttled.replicas|LIST||[partitionId]:[brokerId],[partitionId]:[brokerId],...|
index.interval.bytes|INT|4096|[0,...]|log.index.interval.bytes
internal.segment.bytes|INT|null||
leader.replication.throttled.replicas|LIST||[partitionId]:[brokerId],[partitionId]:[brokerId],...|
local.retention.bytes|LONG|-2|[-2,...]|log.local.retention.bytes
local.retention.ms|LONG|-2|[-2,...]|log.local.retention.ms
max.compaction.lag.ms|LONG|9223372036854775807|[1,...]|log.cleaner.max.compaction.lag.ms
max.message.bytes|INT|1048588|[0,...]|message.max.bytes
message.timestamp.after.max.ms|LONG|3600000|[0,...]|log.message.timestamp.after.max.ms
message.timestamp.before.max.ms|LONG|9223372036854775807|[0,...]|log.message.timestamp.before.max.ms
message.timestamp.type|STRING|CreateTime|[CreateTime, LogAppendTime]|log.message.timestamp.type
min.cleanable.dirty.ratio|DOUBLE|0.5|[0,...,1]|log.cleaner.min.cleanable.ratio
min.compaction.lag.ms|LONG|0|[0,...]|log.cleaner.min.compaction.lag.ms
min.insync.replicas|INT|1|[1,...]|min.insync.replicas
preallocate|BOOLEAN|false||log.preallocate
remote.log.copy.disable|BOOLEAN|false||
remote.log.delete.on.disable|BOOLEAN|false||
remote.storage.enable|BOOLEAN|false||
retention.bytes|LONG|-1||log.retention.bytes
retention.ms|LONG|604800000|[-1,...]|log.retention.ms,log.retention.minutes,log.retention.hours
segment.bytes|INT|1073741824|[1048576,...]|log.segment.bytes
segment.index.bytes|INT|10485760|[4,...]|log.index.size.max.bytes
segment.jitter.ms|LONG|0|[0,...]|log.roll.jitter.ms,log.roll.jitter.hours
segment.ms|LONG|604800000|[1,...]|log.roll.ms,log.roll.hours
unclean.leader.election.enable|BOOLEAN|false||unclean.leader.election.enable
"""

GROUP_TABLE = """\
consumer.assignment.interval.ms|INT|1000|[0,...]|group.consumer.assignment.interval.ms
consumer.heartbeat.interval.ms|INT|5000|[1,...]|group.consumer.heartbeat.interval.ms
consumer.session.timeout.ms|INT|45000|[1,...]|group.consumer.session.timeout.ms
share.assignment.interval.ms|INT|1000|[0,...]|group.share.assignment.interval.ms
share.auto.offset.reset|STRING|latest|[latest, earliest, by_duration:PnDTnHnMn.nS]|
share.delivery.count.limit|INT|5|[2,...]|group.share.delivery.count.limit
share.heartbeat.interval.ms|INT|5000|[1,...]|group.share.heartbeat.interval.ms
share.isolation.level|STRING|read_uncommitted|[read_committed, read_uncommitted]|
share.partition.max.record.locks|INT|2000|[100,...]|group.share.partition.max.record.locks
share.record.lock.duration.ms|INT|30000|[1000,...]|group.share.record.lock.duration.ms
share.renew.acknowledge.enable|BOOLEAN|true||
share.session.timeout.ms|INT|45000|[1,...]|group.share.session.timeout.ms
streams.assignment.interval.ms|INT|1000|[0,...]|group.streams.assignment.interval.ms
streams.heartbeat.interval.ms|INT|5000|[1,...]|group.streams.heartbeat.interval.ms
streams.initial.rebalance.delay.ms|INT|3000|[0,...]|group.streams.initial.rebalance.delay.ms
streams.num.standby.replicas|INT|0|[0,...]|group.streams.num.standby.replicas
streams.session.timeout.ms|INT|45000|[1,...]|group.streams.session.timeout.ms
"""

TOPIC_DOCUMENTATION = {
    "cleanup.policy": "delete drops old segments, compact keeps the last record of each key; a compacted topic refuses records without a key.",
    "compression.gzip.level": "Level used when compression.type is gzip.",
    "compression.lz4.level": "Level used when compression.type is lz4.",
    "compression.type": "producer keeps batches as they come; a codec rewrites those that use another.",
    "compression.zstd.level": "Level used when compression.type is zstd.",
    "delete.retention.ms": "How long what compaction deletes can still be read of: records without a value, ends of transactions; milliseconds.",
    "file.delete.delay.ms": "How long deleted files stay on disk, milliseconds.",
    "flush.messages": "1: acknowledged with acks=all means on disk. N: a flush is due once N records are unflushed, and acknowledgements do not wait for it, as in Kafka.",
    "flush.ms": "With flush.messages above 1: the longest that records stay unflushed, milliseconds.",
    "index.interval.bytes": "Bytes of log between two entries of the offset index.",
    "max.compaction.lag.ms": "A record is compacted at this age however little dirt there is, milliseconds.",
    "max.message.bytes": "Largest record batch accepted, after compression.",
    "message.timestamp.after.max.ms": "How far record timestamps may be ahead of the broker's clock, milliseconds.",
    "message.timestamp.before.max.ms": "How far record timestamps may be behind the broker's clock, milliseconds.",
    "message.timestamp.type": "CreateTime keeps the producer's timestamps, LogAppendTime sets the broker's.",
    "min.cleanable.dirty.ratio": "A log is compacted when more than this part of it was not compacted before.",
    "min.compaction.lag.ms": "Younger records are not compacted, milliseconds.",
    "min.insync.replicas": "Replicas that must have a record before acks=all is answered; never more than the topic has.",
    "retention.bytes": "Old segments go while a partition is larger than this; -1 keeps all.",
    "retention.ms": "Segments whose records are all older than this go, milliseconds; -1 keeps all.",
    "segment.bytes": "A segment file is closed at this size.",
    "segment.index.bytes": "A segment is closed when its index reaches this size.",
    "segment.jitter.ms": "Random part taken off segment.ms so that segments do not all roll at once.",
    "segment.ms": "A segment is closed at this age even if it is small, milliseconds.",
}
"""One line for each topic key that has an effect; the others are kept, shown, and wait for their feature."""
