"""Sliding windows and buckets of tokens."""

from odradek.broker.rates import Rate, TokenBucket


def test_a_client_that_has_just_begun_has_its_whole_window() -> None:
    rate = Rate(11, 1_000)
    rate.record(10_000, 0)
    # 10,000 over ten seconds that are taken for granted: just the limit.
    assert rate.throttle_ms(1_000, 0) == 0
    rate.record(1_000, 0)
    assert rate.throttle_ms(1_000, 0) == 1_000


def test_who_waits_as_told_is_within_the_limit_again() -> None:
    rate = Rate(11, 1_000)
    rate.record(30_000, 0)
    wait_ms = rate.throttle_ms(1_000, 0)
    assert wait_ms == 20_000
    assert rate.throttle_ms(1_000, wait_ms) == 0


def test_old_windows_are_forgotten() -> None:
    rate = Rate(3, 1_000)
    rate.record(2_500, 0)
    assert rate.throttle_ms(1_000, 0) > 0
    assert rate.throttle_ms(1_000, 400) > 0
    assert rate.throttle_ms(1_000, 3_000) == 0
    rate.record(2_000, 3_000)
    assert rate.throttle_ms(1_000, 3_000) == 0


def test_what_is_taken_back_does_not_count() -> None:
    rate = Rate(11, 1_000)
    rate.record(50_000, 0)
    assert rate.throttle_ms(1_000, 0) > 0
    rate.record(-50_000, 0)
    assert rate.throttle_ms(1_000, 0) == 0


def test_a_bucket_is_full_at_first_and_fills_again() -> None:
    bucket = TokenBucket(11)
    bucket.take(15, 1.0, 0)
    assert bucket.throttle_ms(1.0, 0) == 4_000
    assert bucket.throttle_ms(1.0, 3_000) == 1_000
    assert bucket.throttle_ms(1.0, 4_000) == 0
    bucket.take(0, 1.0, 1_000_000)
    bucket.take(11, 1.0, 1_000_000)
    assert bucket.throttle_ms(1.0, 1_000_000) == 0
    bucket.take(1, 1.0, 1_000_000)
    assert bucket.throttle_ms(1.0, 1_000_000) == 1_000
