"""The key tables are complete and say what Kafka 4.3 says."""

import subprocess
import sys

from odradek.core.config.broker_status import ACCEPTED, IMPLEMENTED, REFUSED, broker_key_status
from odradek.core.config.defaults import DIFFERENCES, broker_defaults
from odradek.core.config.describe import HIDDEN
from odradek.core.config.dynamic import update_modes
from odradek.core.config.keys import broker_keys, group_keys, nearest, own_keys, topic_keys
from odradek.core.config.own_keys import DOCUMENTATION
from odradek.core.config.topic_keys import TOPIC_DOCUMENTATION
from odradek.core.config.values import parse, to_text


def test_every_broker_key_has_exactly_one_status() -> None:
    classed = [*IMPLEMENTED, *own_keys()]
    for reasons in (ACCEPTED, REFUSED):
        classed += [name for names in reasons.values() for name in names.split()]
    assert sorted(classed) == sorted(broker_keys())
    assert set(broker_key_status()) == set(broker_keys())


def test_counts_are_those_of_kafka() -> None:
    assert len(set(broker_keys()) - set(own_keys())) == 360
    assert len(set(broker_keys()) - set(own_keys()) - HIDDEN) == 340
    assert len(topic_keys()) == 34
    assert len(group_keys()) == 17


def test_every_default_is_valid() -> None:
    for key in [*broker_keys().values(), *topic_keys().values(), *group_keys().values()]:
        assert to_text(key, parse(key, key.default)) == key.default
    for name, text in broker_defaults().items():
        parse(broker_keys()[name], text)


def test_names_in_other_tables_exist() -> None:
    assert {difference.name for difference in DIFFERENCES} <= set(broker_keys())
    assert set(TOPIC_DOCUMENTATION) <= set(topic_keys())
    assert set(update_modes()) <= set(broker_keys())
    for key in [*topic_keys().values(), *group_keys().values()]:
        assert set(key.broker_keys) <= set(broker_keys())


def test_differences_differ_and_say_why() -> None:
    for name, default, reason in DIFFERENCES:
        assert broker_keys()[name].default != default
        assert len(reason) > 10


def test_own_keys_say_so_and_what_they_do() -> None:
    assert all(name.startswith("odradek.") for name in own_keys())
    assert set(own_keys()) == set(DOCUMENTATION)


def test_security_keys_are_refused() -> None:
    statuses = broker_key_status()
    for name, key in broker_keys().items():
        if name.startswith(("sasl.", "ssl.")) or key.type in ("PASSWORD", "CLASS"):
            assert statuses[name].status == "refused", name


def test_nearest_key() -> None:
    assert nearest("num.partition", broker_keys()) == "num.partitions"
    assert nearest("log_retention_ms", broker_keys()) == "log.retention.ms"
    assert nearest("what.is.this.about", broker_keys()) is None


def test_import_is_light() -> None:
    code = (
        "import sys; import odradek.core.config.broker, odradek.core.config.layers;"
        "print([m for m in ('difflib', 'json', 'asyncio', 'socket') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
