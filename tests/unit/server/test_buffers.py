from odradek.server.buffers import FIRST_LARGEST_BYTES, KEPT_BUFFERS, BufferPool


def test_lends_at_least_what_is_asked_for() -> None:
    pool = BufferPool()
    for size in (1, 4_096, 4_097, 100_000):
        assert len(pool.lend(size)) >= size


def test_a_returned_buffer_is_lent_again() -> None:
    pool = BufferPool()
    first = pool.lend(10_000)
    pool.take_back(first)
    assert pool.lend(12_000) is first


def test_keeps_only_a_few_and_none_that_are_huge() -> None:
    pool = BufferPool()
    for buffer in [pool.lend(5_000) for _ in range(3 * KEPT_BUFFERS)]:
        pool.take_back(buffer)
    assert len(pool._free[8_192]) == KEPT_BUFFERS
    huge = pool.lend(FIRST_LARGEST_BYTES + 1)
    pool.take_back(huge)
    assert pool.lend(FIRST_LARGEST_BYTES + 1) is not huge
