"""Which of several quotas holds."""

from odradek.broker.quota_limits import Limit, QuotaLimits

KEY = "producer_byte_rate"


def test_the_most_specific_quota_wins() -> None:
    levels = [
        ((("client-id", "c"), ("user", "u")), ("u", "c")),
        ((("client-id", None), ("user", "u")), ("u", "c")),
        ((("user", "u"),), ("u", "")),
        ((("client-id", "c"), ("user", None)), ("u", "c")),
        ((("client-id", None), ("user", None)), ("u", "c")),
        ((("user", None),), ("u", "")),
        ((("client-id", "c"),), ("", "c")),
        ((("client-id", None),), ("", "c")),
    ]
    quotas = {entity: {KEY: float(number)} for number, (entity, _) in enumerate(levels, 1)}
    for number, (entity, shared_by) in enumerate(levels, 1):
        assert QuotaLimits(quotas).client(KEY, "u", "c") == Limit(number, shared_by)
        del quotas[entity]
    assert QuotaLimits(quotas).client(KEY, "u", "c") is None


def test_a_level_without_this_limit_is_passed_over() -> None:
    limits = QuotaLimits({(("user", "u"),): {"request_percentage": 5.0}, (("user", None),): {KEY: 7.0}})
    assert limits.client(KEY, "u", "c") == Limit(7.0, ("u", ""))
    assert limits.for_clients
    assert not limits.for_addresses


def test_addresses() -> None:
    key = "connection_creation_rate"
    limits = QuotaLimits({(("ip", "10.0.0.1"),): {key: 2.0}, (("ip", None),): {key: 9.0}})
    assert (limits.address(key, "10.0.0.1"), limits.address(key, "10.0.0.2")) == (2.0, 9.0)
    assert not limits.for_clients
    assert QuotaLimits({}).address(key, "10.0.0.1") is None
