"""Precedence, checks and the typed structure."""

import pytest

from odradek.core.config.broker import broker_config
from odradek.core.config.listeners import Listener
from odradek.core.errors import StartupError

STOCK_KRAFT_FILE = """
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
offsets.topic.replication.factor=3
log.retention.hours=168
log.segment.bytes=1073741824
"""


def test_defaults() -> None:
    config = broker_config()
    assert config.listeners == (Listener("PLAINTEXT", "127.0.0.1", 9092),)
    assert config.advertised_listeners == ()
    assert config.node_id == 1
    assert config.log_dir == "./data"
    assert config.auto_create_topics_enable is True
    assert config.offsets_retention_ms == 7 * 24 * 3_600_000
    assert config.static == {}
    assert config.notices == []


def test_precedence() -> None:
    layers = {
        "properties_text": "num.partitions=2\nfetch.max.bytes=2048\nmessage.max.bytes=5\ngroup.max.size=5",
        "environment": {
            "KAFKA_FETCH_MAX_BYTES": "4096",
            "KAFKA_MESSAGE_MAX_BYTES": "6",
            "ODRADEK_MESSAGE_MAX_BYTES": "7",
        },
    }
    config = broker_config({"group.max.size": "9"}, **layers)  # type: ignore[arg-type]
    assert config.num_partitions == 2
    assert config.fetch_max_bytes == 4096
    assert config.group_max_size == 9
    assert config.static["message.max.bytes"] == "7"


def test_stock_kafka_file_is_taken() -> None:
    config = broker_config(properties_text=STOCK_KRAFT_FILE)
    assert config.node_id == 7
    assert config.static["broker.id"] == "7"
    assert config.listeners == (Listener("PLAINTEXT", "", 9092),)
    assert config.advertised_listeners == (Listener("PLAINTEXT", "localhost", 9092),)
    notices = "\n".join(config.notices)
    assert "num.io.threads (server.properties line 11) has no effect" in notices
    assert "log.retention.hours" not in notices
    assert "offsets.topic.replication.factor=3 is capped to 1" in notices


def test_advertised_alone_opens_every_interface() -> None:
    config = broker_config(environment={"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://broker.example:9192"})
    assert config.listeners == (Listener("PLAINTEXT", "", 9192),)
    assert str(config.advertised_listeners[0]) == "PLAINTEXT://broker.example:9192"


def test_ipv6_listener() -> None:
    config = broker_config({"listeners": "PLAINTEXT://[::1]:9092"})
    assert config.listeners == (Listener("PLAINTEXT", "::1", 9092),)
    assert str(config.listeners[0]) == "PLAINTEXT://[::1]:9092"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"num.partition": "1"}, "did you mean 'num.partitions'"),
        ({"num.partitions": "0"}, "at least 1"),
        ({"log.dirs": "/a,/b"}, "2 folders"),
        ({"listeners": "SSL://:9093"}, "asks for SSL"),
        ({"listeners": "INTERNAL://:9093"}, "add INTERNAL:PLAINTEXT"),
        ({"listeners": "localhost:9092"}, "NAME://host:port"),
        ({"listeners": "PLAINTEXT://:70000"}, "NAME://host:port"),
        ({"listeners": "PLAINTEXT://:1,PLAINTEXT://:2"}, "own name"),
        ({"listeners": "CONTROLLER://:9093"}, "only controller listeners"),
        ({"listener.security.protocol.map": "PLAINTEXT"}, "is not NAME:PROTOCOL"),
        ({"advertised.listeners": "PLAINTEXT://0.0.0.0:9092"}, "no address that a client can dial"),
        ({"listeners": "PLAINTEXT://:1", "advertised.listeners": "X://h:1"}, "none of the listeners"),
        ({"node.id": "1", "broker.id": "2"}, "must be the same"),
        ({"process.roles": "controller"}, "must include broker"),
        ({"controller.quorum.voters": "1@a:1,2@b:1"}, "one node for now"),
        ({"group.coordinator.rebalance.protocols": "consumer"}, "must include classic"),
        ({"sasl.enabled.mechanisms": "PLAIN"}, "refused. SASL is not built yet"),
        ({"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer"}, "refused"),
        ({"create.topic.policy.class.name": "x.Y"}, "names a Java class"),
        ({"remote.log.storage.system.enable": "true"}, "Tiered storage"),
        ({"listener.name.internal.ssl.keystore.location": "/x"}, "not built yet"),
        ({"zookeeper.connect": "localhost:2181"}, "one node"),
    ],
)
def test_mistakes_are_named(overrides: dict[str, str], reason: str) -> None:
    with pytest.raises(StartupError) as caught:
        broker_config(overrides)
    assert reason in str(caught.value)


def test_all_mistakes_at_once_with_their_places() -> None:
    with pytest.raises(StartupError) as caught:
        broker_config({"x.y": "1"}, properties_text="\nnum.partitions=zero")
    first, second = str(caught.value).splitlines()
    assert first.startswith("server.properties line 2: Invalid value zero")
    assert second.startswith("--set: Unknown configuration name: x.y")


def test_refused_keys_may_say_the_default() -> None:
    broker_config({"ssl.client.auth": "none", "authorizer.class.name": "", "ssl.cipher.suites": ""})


def test_broker_id_minus_one_is_unset() -> None:
    assert broker_config({"broker.id": "-1"}).node_id == 1


def test_environment_leftovers() -> None:
    environment = {
        "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
        "KAFKA_SERVICE_HOST": "10.0.0.1",
        "KAFKA_HEAP_OPTS": "-Xmx1G",
        "ODRADEK_BOOTSTRAP_SERVERS": "x:1",
        "KAFKA_NUM_PARTITION": "3",
        "PATH": "/bin",
    }
    config = broker_config(environment=environment)
    assert config.num_partitions == 1
    assert config.notices == [
        "environment KAFKA_NUM_PARTITION is no setting and was ignored; did you mean KAFKA_NUM_PARTITIONS?"
    ]
