"""The one typed structure that the broker reads its configuration from."""

from collections.abc import Mapping

from odradek.core.config.checks import check_steps, check_values
from odradek.core.config.defaults import broker_defaults
from odradek.core.config.groups import validate_group_defaults
from odradek.core.config.keys import broker_keys
from odradek.core.config.layers import BrokerLayers, Texts
from odradek.core.config.listeners import (
    Listener,
    check_advertised,
    check_protocols,
    parse_address,
    parse_endpoints,
    parse_overrides,
    parse_protocol_map,
)
from odradek.core.config.settings import Setting, Settings, load_settings
from odradek.core.config.values import ConfigError, Value, parse
from odradek.core.errors import StartupError

ASSIGNORS = ("uniform", "range")
"""What ``group.consumer.assignors`` may name (``coordinator/assignors``)."""

_PLAIN = (
    "add.partitions.to.txn.retry.backoff.max.ms",
    "auto.create.topics.enable",
    "broker.rack",
    "connections.max.idle.ms",
    "controller.quota.window.num",
    "controller.quota.window.size.seconds",
    "default.replication.factor",
    "delete.topic.enable",
    "fetch.max.bytes",
    "group.consumer.max.size",
    "group.consumer.migration.policy",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.enable",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "log.retention.check.interval.ms",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.incremental.fetch.session.cache.slots",
    "max.request.partition.size.limit",
    "node.id",
    "num.partitions",
    "num.recovery.threads.per.data.dir",
    "offset.metadata.max.bytes",
    "offsets.retention.check.interval.ms",
    "odradek.disk.headroom.bytes",
    "odradek.scrub.enable",
    "odradek.scrub.interval.ms",
    "odradek.scrub.io.max.bytes.per.second",
    "offsets.topic.num.partitions",
    "offsets.topic.segment.bytes",
    "producer.id.expiration.ms",
    "queued.max.request.bytes",
    "quota.window.num",
    "quota.window.size.seconds",
    "socket.request.max.bytes",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    "transaction.max.timeout.ms",
    "transaction.partition.verification.enable",
    "transaction.remove.expired.transaction.cleanup.interval.ms",
    "transaction.state.log.num.partitions",
    "transaction.state.log.segment.bytes",
    "transactional.id.expiration.ms",
)
"""Keys that become a field of the same name, dots as underscores, value as it stands."""

ONE_REPLICA = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)


class BrokerConfig:
    """What a broker runs with. :meth:`follow` puts dynamic settings into force, in place: whoever reads a
    field each time it is needed has its newest value.

    ``static`` is the text of every key that was set, for DescribeConfigs; ``notices`` are lines that the
    operator should read once. Build it with :func:`broker_config`.
    """

    __slots__ = (
        "_dynamic",
        "add_partitions_to_txn_retry_backoff_max_ms",
        "advertised_listeners",
        "auto_create_topics_enable",
        "broker_rack",
        "connections_max_idle_ms",
        "controller_quota_window_num",
        "controller_quota_window_size_seconds",
        "default_replication_factor",
        "delete_topic_enable",
        "fetch_max_bytes",
        "group_consumer_assignors",
        "group_consumer_max_size",
        "group_consumer_migration_policy",
        "group_initial_rebalance_delay_ms",
        "group_max_session_timeout_ms",
        "group_max_size",
        "group_min_session_timeout_ms",
        "listeners",
        "log_cleaner_backoff_ms",
        "log_cleaner_dedupe_buffer_size",
        "log_cleaner_enable",
        "log_cleaner_io_buffer_load_factor",
        "log_cleaner_io_max_bytes_per_second",
        "log_cleaner_threads",
        "log_dir",
        "log_retention_check_interval_ms",
        "max_connection_creation_rate",
        "max_connections",
        "max_connections_per_ip",
        "max_connections_per_ip_overrides",
        "max_incremental_fetch_session_cache_slots",
        "max_request_partition_size_limit",
        "metrics_detail",
        "metrics_listener",
        "node_id",
        "notices",
        "num_partitions",
        "num_recovery_threads_per_data_dir",
        "odradek_disk_headroom_bytes",
        "odradek_scrub_enable",
        "odradek_scrub_interval_ms",
        "odradek_scrub_io_max_bytes_per_second",
        "offset_metadata_max_bytes",
        "offsets_retention_check_interval_ms",
        "offsets_retention_ms",
        "offsets_topic_num_partitions",
        "offsets_topic_segment_bytes",
        "producer_id_expiration_ms",
        "queued_max_request_bytes",
        "quota_window_num",
        "quota_window_size_seconds",
        "serves_consumer_protocol",
        "socket_request_max_bytes",
        "static",
        "transaction_abort_timed_out_transaction_cleanup_interval_ms",
        "transaction_max_timeout_ms",
        "transaction_partition_verification_enable",
        "transaction_remove_expired_transaction_cleanup_interval_ms",
        "transaction_state_log_num_partitions",
        "transaction_state_log_segment_bytes",
        "transactional_id_expiration_ms",
    )

    listeners: tuple[Listener, ...]
    advertised_listeners: tuple[Listener, ...]
    """Empty when clients are told the address that they dialled."""
    log_dir: str
    node_id: int
    broker_rack: str | None
    auto_create_topics_enable: bool
    connections_max_idle_ms: int
    """-1: never closed for idleness."""
    controller_quota_window_num: int
    controller_quota_window_size_seconds: int
    default_replication_factor: int
    delete_topic_enable: bool
    fetch_max_bytes: int
    group_consumer_assignors: tuple[str, ...]
    group_consumer_max_size: int
    group_consumer_migration_policy: str
    group_initial_rebalance_delay_ms: int
    group_max_session_timeout_ms: int
    group_max_size: int
    group_min_session_timeout_ms: int
    log_cleaner_backoff_ms: int
    log_cleaner_dedupe_buffer_size: int
    log_cleaner_enable: bool
    log_cleaner_io_buffer_load_factor: float
    log_cleaner_io_max_bytes_per_second: float
    log_cleaner_threads: int
    log_retention_check_interval_ms: int
    max_connection_creation_rate: int
    """Per second; above it, connections wait before they are read."""
    max_connections: int
    max_connections_per_ip: int
    max_connections_per_ip_overrides: Mapping[str, int]
    """By address."""
    max_incremental_fetch_session_cache_slots: int
    max_request_partition_size_limit: int
    metrics_detail: str
    """Down to what metrics are given: auto, broker, topic or partition."""
    metrics_listener: tuple[str, int] | None
    """Host and port of the HTTP listener for metrics and health, if it is wanted."""
    num_partitions: int
    num_recovery_threads_per_data_dir: int
    odradek_disk_headroom_bytes: int
    odradek_scrub_enable: bool
    odradek_scrub_interval_ms: int
    odradek_scrub_io_max_bytes_per_second: float
    offset_metadata_max_bytes: int
    offsets_retention_check_interval_ms: int
    offsets_retention_ms: int
    offsets_topic_num_partitions: int
    offsets_topic_segment_bytes: int
    producer_id_expiration_ms: int
    queued_max_request_bytes: int
    """Most bytes of requests that have not arrived whole; -1 sets no bound."""
    quota_window_num: int
    quota_window_size_seconds: int
    serves_consumer_protocol: bool
    """Whether consumer groups of the new protocol (KIP-848) are served."""
    socket_request_max_bytes: int
    add_partitions_to_txn_retry_backoff_max_ms: int
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int
    transaction_max_timeout_ms: int
    transaction_partition_verification_enable: bool
    transaction_remove_expired_transaction_cleanup_interval_ms: int
    transaction_state_log_num_partitions: int
    transaction_state_log_segment_bytes: int
    transactional_id_expiration_ms: int

    def __init__(self, settings: Settings, dynamic: Texts | None = None) -> None:
        self._dynamic: Texts = dynamic or {}
        self.static: dict[str, str] = {name: setting.value for name, setting in settings.values.items()}
        self.notices = list(settings.notices)
        for name in _PLAIN:
            setattr(self, name.replace(".", "_"), self._value(name))
        minutes = self._value("offsets.retention.minutes")
        assert isinstance(minutes, int)
        self.offsets_retention_ms = minutes * 60_000
        self.max_connections_per_ip_overrides = parse_overrides(
            str(self._value("max.connections.per.ip.overrides") or "")
        )
        self._set_node_id()
        self._set_log_dir()
        self._set_listeners()
        self._set_metrics()
        self._set_consumer_groups()
        self._check_roles()
        self._cap_replicas()
        check_values(self._value)
        validate_group_defaults(BrokerLayers({}, {}, self.static))

    def _value(self, name: str) -> Value:
        text = self._dynamic.get(name)
        if text is None:
            text = self.static.get(name, broker_defaults()[name])
        return parse(broker_keys()[name], text)

    def with_dynamic(self, dynamic: Texts) -> "BrokerConfig":
        """What would be in force with these dynamic settings. Raises :class:`ConfigError`."""
        values = {name: Setting(text, "") for name, text in self.static.items()}
        return BrokerConfig(Settings(values, []), dynamic)

    def check_change(self, dynamic: Texts) -> None:
        """Raises :class:`ConfigError` when the dynamic settings cannot become these while the broker runs."""
        check_steps(self._value, self.with_dynamic(dynamic)._value)

    def follow(self, dynamic: Texts) -> None:
        """Puts dynamic settings into force, all that were made. Raises :class:`ConfigError`."""
        if dynamic == self._dynamic:
            return
        changed = self.with_dynamic(dynamic)
        for name in self.__slots__:
            if name not in ("static", "notices"):
                setattr(self, name, getattr(changed, name))

    def _list(self, name: str) -> list[str]:
        value = self._value(name)
        return value if isinstance(value, list) else []

    def _set_node_id(self) -> None:
        said = {self.static[name].strip() for name in ("node.id", "broker.id") if name in self.static}
        said.discard("-1")
        if len(said) > 1:
            raise ConfigError("node.id and broker.id must be the same")
        for text in said:
            self.static["node.id"] = self.static["broker.id"] = text
            self.node_id = int(text)

    def _set_log_dir(self) -> None:
        name = "log.dirs" if "log.dirs" in self.static or "log.dir" not in self.static else "log.dir"
        folders = self._list(name)
        if len(folders) != 1:
            raise ConfigError(
                f"{name} names {len(folders)} folders; Odradek keeps everything in one for now"
                " (RAID or LVM join disks)"
            )
        self.log_dir = folders[0]

    def _set_listeners(self) -> None:
        """When only advertised.listeners is set, every interface is listened on at the same ports."""
        not_opened = {name.upper() for name in self._list("controller.listener.names")}
        advertised = self._without(not_opened, "advertised.listeners")
        listeners = self._without(not_opened, "listeners")
        if advertised and "listeners" not in self.static and "listeners" not in self._dynamic:
            listeners = tuple(Listener(name, "", port) for name, _, port in advertised)
        if not listeners:
            raise ConfigError("listeners: only controller listeners are named, clients could not connect")
        protocols = parse_protocol_map(str(self._value("listener.security.protocol.map")))
        check_protocols(listeners, protocols)
        check_advertised(advertised, listeners)
        self.listeners = listeners
        self.advertised_listeners = advertised

    def _set_metrics(self) -> None:
        self.metrics_detail = str(self._value("odradek.metrics.detail"))
        address = self._value("odradek.metrics.listener")
        self.metrics_listener = parse_address("odradek.metrics.listener", str(address)) if address else None

    def _without(self, names: set[str], key: str) -> tuple[Listener, ...]:
        endpoints = parse_endpoints(key, self._list(key))
        return tuple(endpoint for endpoint in endpoints if endpoint.name not in names)

    def _check_roles(self) -> None:
        if "broker" not in self._list("process.roles"):
            raise ConfigError("process.roles must include broker: there are no separate controllers")
        if len(self._list("controller.quorum.voters")) > 1:
            raise ConfigError(
                "controller.quorum.voters names several nodes; Odradek runs as one node for now"
            )

    def _set_consumer_groups(self) -> None:
        protocols = self._list("group.coordinator.rebalance.protocols")
        if "classic" not in protocols:
            raise ConfigError("group.coordinator.rebalance.protocols must include classic")
        self.serves_consumer_protocol = "consumer" in protocols
        assignors = self._list("group.consumer.assignors")
        unknown = [name for name in assignors if name not in ASSIGNORS]
        if unknown or not assignors:
            raise ConfigError(
                f"group.consumer.assignors: {', '.join(unknown) or 'nothing'} is not served;"
                f" choose from {', '.join(ASSIGNORS)} (assignors of your own cannot be loaded)"
            )
        self.group_consumer_assignors = tuple(dict.fromkeys(assignors))

    def _cap_replicas(self) -> None:
        for name in ONE_REPLICA:
            if name in self.static and self._value(name) != 1:
                self.notices.append(f"{name}={self.static[name]} is capped to 1: one node holds one replica")


def broker_config(
    overrides: Mapping[str, str] | None = None,
    *,
    properties_text: str | None = None,
    environment: Mapping[str, str] | None = None,
    file_name: str = "server.properties",
) -> BrokerConfig:
    """Defaults < ``properties_text`` < ``environment`` < ``overrides``.

    Raises :class:`StartupError` whose message has one line per mistake.
    """
    settings = load_settings(properties_text, environment, (overrides or {}).items(), file_name)
    try:
        return BrokerConfig(settings)
    except ConfigError as error:
        raise StartupError(str(error)) from error
