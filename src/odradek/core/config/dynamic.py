"""Which broker keys can be changed while the broker runs, per broker or for all.

Source: ``AllDynamicConfigs`` and ``PerBrokerConfigs`` of ``kafka.server.DynamicBrokerConfig`` (Kafka 4.3).
"""

from collections.abc import Mapping
from functools import cache

from odradek.core.config.keys import broker_keys, unknown_key_text
from odradek.core.config.settings import DYNAMIC_ONLY, check_broker_value
from odradek.core.config.values import ConfigError, parse

_CLUSTER_WIDE = """
background.threads compression.gzip.level compression.lz4.level compression.type compression.zstd.level
config.providers cordoned.log.dirs follower.fetch.last.tiered.offset.enable
group.consumer.assignment.interval.ms group.coordinator.cached.buffer.max.bytes
group.share.assignment.interval.ms group.streams.assignment.interval.ms log.cleaner.backoff.ms
log.cleaner.dedupe.buffer.size log.cleaner.delete.retention.ms log.cleaner.io.buffer.load.factor
log.cleaner.io.buffer.size log.cleaner.io.max.bytes.per.second log.cleaner.max.compaction.lag.ms
log.cleaner.min.cleanable.ratio log.cleaner.min.compaction.lag.ms log.cleaner.threads log.cleanup.policy
log.flush.interval.messages log.flush.interval.ms log.index.interval.bytes log.index.size.max.bytes
log.local.retention.bytes log.local.retention.ms log.message.timestamp.after.max.ms
log.message.timestamp.before.max.ms log.message.timestamp.type log.preallocate log.retention.bytes
log.retention.ms log.roll.jitter.ms log.roll.ms log.segment.bytes log.segment.delete.delay.ms
max.connection.creation.rate max.connections max.connections.per.ip max.connections.per.ip.overrides
message.max.bytes metric.reporters min.insync.replicas
num.io.threads num.network.threads num.recovery.threads.per.data.dir num.replica.fetchers
producer.id.expiration.ms remote.fetch.max.wait.ms remote.list.offsets.request.timeout.ms
remote.log.index.file.cache.total.size.bytes remote.log.manager.copier.thread.pool.size
remote.log.manager.copy.max.bytes.per.second remote.log.manager.expiration.thread.pool.size
remote.log.manager.fetch.max.bytes.per.second remote.log.manager.follower.thread.pool.size
remote.log.reader.threads share.coordinator.cached.buffer.max.bytes
transaction.partition.verification.enable unclean.leader.election.enable
"""
_PER_BROKER = """
listener.security.protocol.map listeners
principal.builder.class sasl.enabled.mechanisms sasl.jaas.config sasl.kerberos.kinit.cmd
sasl.kerberos.min.time.before.relogin sasl.kerberos.principal.to.local.rules sasl.kerberos.service.name
sasl.kerberos.ticket.renew.jitter sasl.kerberos.ticket.renew.window.factor
sasl.login.refresh.buffer.seconds sasl.login.refresh.min.period.seconds sasl.login.refresh.window.factor
sasl.login.refresh.window.jitter sasl.mechanism.inter.broker.protocol ssl.cipher.suites ssl.client.auth
ssl.enabled.protocols ssl.endpoint.identification.algorithm ssl.engine.factory.class ssl.key.password
ssl.keymanager.algorithm ssl.keystore.certificate.chain ssl.keystore.key ssl.keystore.location
ssl.keystore.password ssl.keystore.type ssl.protocol ssl.provider ssl.secure.random.implementation
ssl.trustmanager.algorithm ssl.truststore.certificates ssl.truststore.location ssl.truststore.password
ssl.truststore.type
"""


@cache
def update_modes() -> dict[str, str]:
    """``cluster-wide`` or ``per-broker`` for every key that can be changed; others are read-only."""
    modes = dict.fromkeys(_CLUSTER_WIDE.split(), "cluster-wide")
    modes.update((name, "per-broker") for name in _PER_BROKER.split())
    return modes


def is_dynamic(name: str) -> bool:
    """Whether DescribeConfigs shows ``name`` as changeable."""
    return name in update_modes() or name in DYNAMIC_ONLY


def validate_broker_update(values: Mapping[str, str], *, is_per_broker: bool) -> None:
    """All dynamic values of one broker (or, not ``is_per_broker``, the default of all), together.

    Raises :class:`ConfigError`.
    """
    modes = update_modes()
    for name, text in values.items():
        if name in DYNAMIC_ONLY:
            parse(DYNAMIC_ONLY[name], text)
            continue
        if name not in broker_keys():
            raise ConfigError(unknown_key_text(name, broker_keys()))
        if name not in modes:
            raise ConfigError(f"Cannot update these configs dynamically: [{name}]")
        problem = check_broker_value(name, text)
        if problem is not None:
            raise ConfigError(problem)
        if modes[name] == "per-broker" and not is_per_broker:
            raise ConfigError(
                f"Cannot update these configs at default cluster level, broker id must be specified: {name}"
            )
