import time

import pytest

from odradek.coordinator.regex import check_regex, matcher, matching
from odradek.core.errors import ApiError, ErrorCode


def test_whole_names_match() -> None:
    assert matching("t.", ["t", "t1", "t12", "xt1"]) == {"t1"}
    assert matching("(?i)ORDERS-[0-9]+", ["orders-12", "orders-"]) == {"orders-12"}
    assert matching("a|b", ["a", "ab", "b"]) == {"a", "b"}
    assert matching("", ["a"]) == frozenset()


def test_a_pattern_of_transactional_ids() -> None:
    matches = matcher("app-[0-9]+")
    assert matches("app-12")
    assert not matches("my-app-12")
    with pytest.raises(ApiError) as refused:
        matcher("(")
    assert str(refused.value.message).startswith("TransactionalIdPattern `(` is not a valid")


@pytest.mark.parametrize("regex", ["(", "a{2000}", "(?=x)", "\\", "*", "[b-a]", "(?P<n>", "a" * 2_000_000])
def test_what_is_none_is_refused(regex: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_regex(regex)
    assert refused.value.code is ErrorCode.INVALID_REGULAR_EXPRESSION
    assert refused.value.message is not None
    assert refused.value.message.startswith(f"SubscribedTopicRegex `{regex[:200]}` is not a valid")
    assert len(refused.value.message) < 600


@pytest.mark.parametrize(
    "regex", ["(x+x+)+y", "(.*a){12}.*b", "(a?){500}a{500}b", "(.*){10}[a-z]{249}q", ".*a.{200}b"]
)
def test_a_hostile_one_takes_linear_time(regex: str) -> None:
    """Each of these takes minutes or more where an expression is tried by backtracking."""
    names = [f"{'a' * 240}{number:06d}" for number in range(200)]
    started = time.process_time()
    assert matching(regex, names) == frozenset()
    assert time.process_time() - started < 30
