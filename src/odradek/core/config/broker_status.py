"""What Odradek does with each of Kafka's broker keys: implemented, accepted without effect, or refused.

A refused key is still taken when it says what is so anyway (its default), so that exported configurations
load. Nothing that a user may rely on for durability or security is ever taken silently.
"""

from functools import cache
from typing import Literal, NamedTuple

from odradek.core.config import own_keys

Status = Literal["implemented", "accepted", "refused"]

IMPLEMENTED = {
    "advertised.listeners": "Addresses that clients are told; when not set, the one each dialled.",
    "auto.create.topics.enable": "Metadata requests create the topics they name.",
    "broker.id": "Older name of node.id.",
    "broker.rack": "Rack that clients are told.",
    "compression.gzip.level": "Default of the topics' compression.gzip.level.",
    "compression.lz4.level": "Default of the topics' compression.lz4.level.",
    "compression.type": "Default of the topics' compression.type.",
    "compression.zstd.level": "Default of the topics' compression.zstd.level.",
    "connections.max.idle.ms": "Connections without a request for so long are closed.",
    "controller.listener.names": "Listeners of this name are not opened: there is no controller to talk to.",
    "controller.quota.window.num": "Windows that a controller_mutation_rate may be saved up for.",
    "controller.quota.window.size.seconds": "Length of each of them.",
    "default.replication.factor": "Replicas of topics that do not say; one node can hold one.",
    "delete.topic.enable": "Whether topics may be deleted.",
    "fetch.max.bytes": "Most bytes that one Fetch answer holds.",
    "group.consumer.assignment.interval.ms": "Default of the groups' consumer.assignment.interval.ms.",
    "group.consumer.assignors": "uniform, range, or both; the first is for members that name none.",
    "group.consumer.heartbeat.interval.ms": "Default of the groups' consumer.heartbeat.interval.ms.",
    "group.consumer.max.assignment.interval.ms": "Highest consumer.assignment.interval.ms of a group.",
    "group.consumer.max.heartbeat.interval.ms": "Highest consumer.heartbeat.interval.ms of a group.",
    "group.consumer.max.session.timeout.ms": "Highest consumer.session.timeout.ms of a group.",
    "group.consumer.max.size": "Most members of a consumer group.",
    "group.consumer.migration.policy": "Which kind of group with members may become the other kind.",
    "group.consumer.min.assignment.interval.ms": "Lowest consumer.assignment.interval.ms of a group.",
    "group.consumer.min.heartbeat.interval.ms": "Lowest consumer.heartbeat.interval.ms of a group.",
    "group.consumer.min.session.timeout.ms": "Lowest consumer.session.timeout.ms of a group.",
    "group.consumer.session.timeout.ms": "Default of the groups' consumer.session.timeout.ms.",
    "group.coordinator.rebalance.protocols": "Must include classic; consumer serves the protocol of KIP-848.",
    "group.initial.rebalance.delay.ms": "How long a new group waits for more members.",
    "group.max.session.timeout.ms": "Longest session timeout a member may ask for.",
    "group.max.size": "Most members of a classic group.",
    "group.min.session.timeout.ms": "Shortest session timeout a member may ask for.",
    "listener.security.protocol.map": "Security protocol of each listener name; PLAINTEXT is what is served.",
    "listeners": "Where connections are accepted.",
    "log.cleaner.backoff.ms": "How long to wait for a log that is dirty enough to be compacted.",
    "log.cleaner.dedupe.buffer.size": "Memory for the keys of all logs that are being compacted.",
    "log.cleaner.delete.retention.ms": "Default of the topics' delete.retention.ms.",
    "log.cleaner.enable": "Whether topics with cleanup.policy=compact are compacted.",
    "log.cleaner.io.buffer.load.factor": "How much of log.cleaner.dedupe.buffer.size is used.",
    "log.cleaner.io.max.bytes.per.second": "Most bytes that one compaction reads and writes in a second.",
    "log.cleaner.max.compaction.lag.ms": "Default of the topics' max.compaction.lag.ms.",
    "log.cleaner.min.cleanable.ratio": "Default of the topics' min.cleanable.dirty.ratio.",
    "log.cleaner.min.compaction.lag.ms": "Default of the topics' min.compaction.lag.ms.",
    "log.cleaner.threads": "How many logs are compacted at a time, each by a process.",
    "num.recovery.threads.per.data.dir": "How many processes recover logs, at most one for each core.",
    "log.cleanup.policy": "Default of the topics' cleanup.policy.",
    "log.dir": "Used when log.dirs is not set.",
    "log.dirs": "The data folder; exactly one.",
    "log.flush.interval.messages": "Default of the topics' flush.messages; 1 makes acks=all mean on disk.",
    "log.flush.interval.ms": "Default of the topics' flush.ms.",
    "log.flush.scheduler.interval.ms": "Default of log.flush.interval.ms.",
    "log.index.interval.bytes": "Default of the topics' index.interval.bytes.",
    "log.index.size.max.bytes": "Default of the topics' segment.index.bytes.",
    "log.message.timestamp.after.max.ms": "Default of the topics' message.timestamp.after.max.ms.",
    "log.message.timestamp.before.max.ms": "Default of the topics' message.timestamp.before.max.ms.",
    "log.message.timestamp.type": "Default of the topics' message.timestamp.type.",
    "log.retention.bytes": "Default of the topics' retention.bytes.",
    "log.retention.hours": "Default of the topics' retention.ms, in hours.",
    "log.retention.minutes": "Default of the topics' retention.ms, in minutes.",
    "log.retention.ms": "Default of the topics' retention.ms.",
    "log.retention.check.interval.ms": "How often old segments are looked for.",
    "log.roll.hours": "Default of the topics' segment.ms, in hours.",
    "log.roll.jitter.hours": "Default of the topics' segment.jitter.ms, in hours.",
    "log.roll.jitter.ms": "Default of the topics' segment.jitter.ms.",
    "log.roll.ms": "Default of the topics' segment.ms.",
    "log.segment.bytes": "Default of the topics' segment.bytes.",
    "log.segment.delete.delay.ms": "Default of the topics' file.delete.delay.ms.",
    "max.connection.creation.rate": "New connections per second; above it they wait before they are read.",
    "max.connections": "Most connections at one time.",
    "max.connections.per.ip": "Most connections from one address.",
    "max.connections.per.ip.overrides": "The same for single addresses: ADDRESS:COUNT,...",
    "max.incremental.fetch.session.cache.slots": "Most fetch sessions that are kept.",
    "max.request.partition.size.limit": "Most partitions in one DescribeTopicPartitions answer.",
    "message.max.bytes": "Default of the topics' max.message.bytes.",
    "min.insync.replicas": "Default of the topics' min.insync.replicas; capped to a topic's replicas.",
    "node.id": "This node's id.",
    "num.partitions": "Partitions of topics that do not say.",
    "offset.metadata.max.bytes": "Longest metadata text of a committed offset.",
    "offsets.retention.check.interval.ms": "How often expired offsets are looked for.",
    "offsets.retention.minutes": "How long the offsets of an empty group are kept.",
    "offsets.topic.num.partitions": "Partitions of __consumer_offsets when it is created.",
    "offsets.topic.replication.factor": "Capped to one replica.",
    "offsets.topic.segment.bytes": "Segment size of __consumer_offsets, at least 1 MiB.",
    "process.roles": "Must include broker.",
    "producer.id.expiration.ms": "Idle idempotent producers are forgotten after this.",
    "queued.max.request.bytes": "Most bytes of requests that have not arrived whole; more are not read.",
    "quota.window.num": "Windows over which the rates of quotas are measured.",
    "quota.window.size.seconds": "Length of each of them.",
    "socket.request.max.bytes": "Largest request frame that is read.",
    "add.partitions.to.txn.retry.backoff.max.ms": "How long a Produce waits for the last transaction to end.",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "How often overdue ones are aborted.",
    "transaction.max.timeout.ms": "Longest transaction timeout a producer may ask for.",
    "transaction.partition.verification.enable": "Ask the coordinator for older clients.",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "How often unused ids go.",
    "transaction.state.log.min.isr": "Capped to one replica.",
    "transaction.state.log.num.partitions": "Partitions of __transaction_state when it is created.",
    "transaction.state.log.replication.factor": "Capped to one replica.",
    "transaction.state.log.segment.bytes": "Segment size of __transaction_state, at least 1 MiB.",
    "transactional.id.expiration.ms": "How long an unused transactional id is kept.",
}
"""Key → what it does, in one line."""

ACCEPTED = {
    "One process holds the metadata log; there is no controller quorum to tune.": """
        broker.heartbeat.interval.ms broker.session.timeout.ms controller.performance.always.log.threshold.ms
        controller.performance.sample.period.ms controller.quorum.append.linger.ms
        controller.quorum.auto.join.enable controller.quorum.bootstrap.servers
        controller.quorum.election.backoff.max.ms controller.quorum.election.timeout.ms
        controller.quorum.fetch.max.bytes controller.quorum.fetch.snapshot.max.bytes
        controller.quorum.fetch.timeout.ms controller.quorum.request.timeout.ms
        controller.quorum.retry.backoff.ms controller.quorum.voters controller.socket.timeout.ms
        initial.broker.registration.timeout.ms internal.metadata.delete.delay.millis
        internal.metadata.log.segment.bytes internal.metadata.max.batch.size.in.bytes metadata.log.dir
        metadata.log.max.record.bytes.between.snapshots metadata.log.max.snapshot.interval.ms
        metadata.log.segment.bytes metadata.log.segment.ms metadata.max.idle.interval.ms
        metadata.max.retention.bytes metadata.max.retention.ms server.max.startup.time.ms
        early.start.listeners""",
    "One node: nothing is replicated, reassigned or elected.": """
        alter.log.dirs.replication.quota.window.num alter.log.dirs.replication.quota.window.size.seconds
        auto.leader.rebalance.enable controlled.shutdown.enable follower.fetch.last.tiered.offset.enable
        inter.broker.listener.name leader.imbalance.check.interval.seconds num.replica.alter.log.dirs.threads
        num.replica.fetchers replica.fetch.backoff.ms replica.fetch.max.bytes replica.fetch.min.bytes
        replica.fetch.response.max.bytes replica.fetch.wait.max.ms
        replica.high.watermark.checkpoint.interval.ms replica.lag.time.max.ms
        replica.socket.receive.buffer.bytes replica.socket.timeout.ms replication.quota.window.num
        replication.quota.window.size.seconds request.timeout.ms socket.connection.setup.timeout.max.ms
        socket.connection.setup.timeout.ms unclean.leader.election.enable
        unclean.leader.election.interval.ms""",
    "One event loop does what Kafka's thread pools do.": """
        background.threads group.coordinator.background.threads group.coordinator.threads
        num.io.threads num.network.threads queued.max.requests""",
    "Parked requests are released by what they wait for; no purgatory needs purging.": """
        delete.records.purgatory.purge.interval.requests fetch.purgatory.purge.interval.requests
        producer.purgatory.purge.interval.requests share.fetch.purgatory.purge.interval.requests""",
    "Up to 1,024 connections wait to be accepted.": "socket.listen.backlog.size",
    "The kernel sizes socket buffers by itself, and better.": """
        socket.receive.buffer.bytes socket.send.buffer.bytes""",
    "Group records are appended at once and flushed in groups; there is no batch to size.": """
        group.coordinator.append.linger.ms group.coordinator.cached.buffer.max.bytes
        offsets.commit.timeout.ms offsets.load.buffer.size offsets.topic.compression.codec""",
    "Regular expressions follow topics at once; nothing has to be refreshed.": """
        group.consumer.regex.refresh.interval.ms""",
    "Share groups (KIP-932) are not served yet.": """
        group.share.assignment.interval.ms group.share.assignors group.share.delivery.count.limit
        group.share.heartbeat.interval.ms group.share.initialize.retry.interval.ms
        group.share.max.assignment.interval.ms group.share.max.delivery.count.limit
        group.share.max.heartbeat.interval.ms group.share.max.partition.max.record.locks
        group.share.max.record.lock.duration.ms group.share.max.session.timeout.ms
        group.share.max.share.sessions group.share.max.size group.share.min.assignment.interval.ms
        group.share.min.delivery.count.limit group.share.min.heartbeat.interval.ms
        group.share.min.partition.max.record.locks group.share.min.record.lock.duration.ms
        group.share.min.session.timeout.ms group.share.partition.max.record.locks
        group.share.persister.class.name group.share.record.lock.duration.ms group.share.session.timeout.ms
        share.coordinator.append.linger.ms share.coordinator.cached.buffer.max.bytes
        share.coordinator.cold.partition.snapshot.interval.ms share.coordinator.load.buffer.size
        share.coordinator.snapshot.update.records.per.snapshot
        share.coordinator.state.topic.compression.codec share.coordinator.state.topic.min.isr
        share.coordinator.state.topic.num.partitions share.coordinator.state.topic.prune.interval.ms
        share.coordinator.state.topic.replication.factor share.coordinator.state.topic.segment.bytes
        share.coordinator.threads share.coordinator.write.timeout.ms""",
    "Streams groups (KIP-1071) are not served yet.": """
        group.streams.assignment.interval.ms group.streams.heartbeat.interval.ms
        group.streams.initial.rebalance.delay.ms group.streams.max.assignment.interval.ms
        group.streams.max.heartbeat.interval.ms group.streams.max.session.timeout.ms group.streams.max.size
        group.streams.max.standby.replicas group.streams.min.assignment.interval.ms
        group.streams.min.heartbeat.interval.ms group.streams.min.session.timeout.ms
        group.streams.num.standby.replicas group.streams.session.timeout.ms""",
    "The end of a transaction wakes who waits for it.": "add.partitions.to.txn.retry.backoff.ms",
    "Producers are looked through every ten minutes.": "producer.id.expiration.check.interval.ms",
    "Transactions are loaded in slices of time.": "transaction.state.log.load.buffer.size",
    "Two-phase commit (KIP-939) is not released by Kafka 4.3.": "transaction.two.phase.commit.enable",
    "Compaction reads and writes a megabyte at a time.": "log.cleaner.io.buffer.size",
    "There is no remote storage, so nothing is kept locally for a shorter time.": """
        log.local.retention.bytes log.local.retention.ms""",
    "Cleaning begins when the broker has started.": "log.initial.task.delay.ms",
    "Checkpoints are written every minute and on a clean stop.": """
        log.dir.failure.timeout.ms log.flush.offset.checkpoint.interval.ms
        log.flush.start.offset.checkpoint.interval.ms log.preallocate""",
    "JMX and metric reporters are the JVM's; Odradek has its own metrics.": """
        kafka.metrics.polling.interval.secs kafka.metrics.reporters metric.reporters metrics.num.samples
        metrics.recording.level metrics.sample.window.ms telemetry.max.bytes""",
    "There is no remote storage to tune; remote.log.storage.system.enable is refused.": """
        remote.fetch.max.wait.ms remote.list.offsets.request.timeout.ms
        remote.log.index.file.cache.total.size.bytes remote.log.index.file.cache.ttl.ms
        remote.log.manager.copier.thread.pool.size remote.log.manager.copy.max.bytes.per.second
        remote.log.manager.copy.quota.window.num remote.log.manager.copy.quota.window.size.seconds
        remote.log.manager.expiration.thread.pool.size remote.log.manager.fetch.max.bytes.per.second
        remote.log.manager.fetch.quota.window.num remote.log.manager.fetch.quota.window.size.seconds
        remote.log.manager.follower.thread.pool.size remote.log.manager.task.interval.ms
        remote.log.manager.task.retry.backoff.max.ms remote.log.manager.task.retry.backoff.ms
        remote.log.manager.task.retry.jitter remote.log.manager.thread.pool.size
        remote.log.metadata.custom.metadata.max.bytes remote.log.metadata.manager.class.name
        remote.log.metadata.manager.class.path remote.log.metadata.manager.impl.prefix
        remote.log.metadata.manager.listener.name remote.log.reader.max.pending.tasks
        remote.log.reader.threads remote.log.storage.manager.class.name
        remote.log.storage.manager.class.path remote.log.storage.manager.impl.prefix""",
}
"""Why it has no effect → the keys."""

REFUSED = {
    "SASL is not built yet: connections would be let in without authentication.": """
        connection.failed.authentication.delay.ms connections.max.reauth.ms sasl.client.callback.handler.class
        sasl.enabled.mechanisms sasl.jaas.config sasl.kerberos.kinit.cmd
        sasl.kerberos.min.time.before.relogin sasl.kerberos.principal.to.local.rules
        sasl.kerberos.service.name sasl.kerberos.ticket.renew.jitter
        sasl.kerberos.ticket.renew.window.factor sasl.login.callback.handler.class sasl.login.class
        sasl.login.connect.timeout.ms sasl.login.read.timeout.ms sasl.login.refresh.buffer.seconds
        sasl.login.refresh.min.period.seconds sasl.login.refresh.window.factor
        sasl.login.refresh.window.jitter sasl.login.retry.backoff.max.ms sasl.login.retry.backoff.ms
        sasl.mechanism.controller.protocol sasl.mechanism.inter.broker.protocol
        sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
        sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
        sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
        sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
        sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.assertion.private.key.passphrase
        sasl.oauthbearer.assertion.template.file sasl.oauthbearer.client.credentials.client.id
        sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.clock.skew.seconds
        sasl.oauthbearer.expected.audience sasl.oauthbearer.expected.issuer
        sasl.oauthbearer.jwks.endpoint.refresh.ms sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms
        sasl.oauthbearer.jwks.endpoint.retry.backoff.ms sasl.oauthbearer.jwks.endpoint.url
        sasl.oauthbearer.jwt.retriever.class sasl.oauthbearer.jwt.validator.class sasl.oauthbearer.scope
        sasl.oauthbearer.scope.claim.name sasl.oauthbearer.sub.claim.name
        sasl.oauthbearer.token.endpoint.url sasl.server.callback.handler.class
        sasl.server.max.receive.size""",
    "TLS is not built yet: data would go over the network in the clear.": """
        security.inter.broker.protocol security.providers ssl.allow.dn.changes ssl.allow.san.changes
        ssl.cipher.suites ssl.client.auth ssl.enabled.protocols ssl.endpoint.identification.algorithm
        ssl.engine.factory.class ssl.key.password ssl.keymanager.algorithm ssl.keystore.certificate.chain
        ssl.keystore.key ssl.keystore.location ssl.keystore.password ssl.keystore.type
        ssl.principal.mapping.rules ssl.protocol ssl.provider ssl.secure.random.implementation
        ssl.trustmanager.algorithm ssl.truststore.certificates ssl.truststore.location
        ssl.truststore.password ssl.truststore.type""",
    "Authorization is not built yet: everyone who connects may do everything.": """
        authorizer.class.name principal.builder.class""",
    "Delegation tokens are not built yet.": """
        delegation.token.expiry.check.interval.ms delegation.token.expiry.time.ms
        delegation.token.max.lifetime.ms delegation.token.secret.key""",
    "It names a Java class, which Odradek cannot load; its rules would not be kept.": """
        alter.config.policy.class.name client.quota.callback.class create.topic.policy.class.name
        replica.selector.class""",
    "Values are read as they stand; no provider would resolve them.": "config.providers",
    "There is one data folder; with it cordoned nothing could be created.": "cordoned.log.dirs",
    "Tiered storage is not built: all data would stay local.": "remote.log.storage.system.enable",
    "Unstable versions are not served.": "unstable.api.versions.enable unstable.feature.versions.enable",
}
"""Why it is refused → the keys."""


class KeyStatus(NamedTuple):
    """``text`` says what the key does, why it has no effect, or why it is refused."""

    status: Status
    text: str


@cache
def broker_key_status() -> dict[str, KeyStatus]:
    """The status of every broker key."""
    found = {
        name: KeyStatus("implemented", text) for name, text in (IMPLEMENTED | own_keys.DOCUMENTATION).items()
    }
    for reason, names in ACCEPTED.items():
        found.update((name, KeyStatus("accepted", reason)) for name in names.split())
    for reason, names in REFUSED.items():
        found.update((name, KeyStatus("refused", reason)) for name in names.split())
    return found
