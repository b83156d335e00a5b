from odradek.broker.timers import COMPACT_WHEN_CANCELLED, Timers


def test_runs_what_is_due_in_order_of_deadline() -> None:
    timers = Timers()
    ran: list[str] = []
    timers.schedule(20, lambda: ran.append("second"))
    timers.schedule(10, lambda: ran.append("first"))
    timers.schedule(30, lambda: ran.append("later"))
    assert timers.run_due(20) == 2
    assert ran == ["first", "second"]
    assert timers.next_deadline_ms() == 30


def test_a_cancelled_timer_never_runs_even_when_cancelled_by_one_due_before_it() -> None:
    timers = Timers()
    ran: list[str] = []
    later = timers.schedule(11, lambda: ran.append("later"))
    timers.schedule(10, later.cancel)
    assert timers.run_due(50) == 1
    assert ran == []
    assert len(timers) == 0
    assert timers.next_deadline_ms() is None


def test_a_timer_that_rearms_itself_for_now_runs_once_per_call() -> None:
    timers = Timers()
    ran = []

    def again() -> None:
        ran.append(1)
        timers.schedule(0, again)

    timers.schedule(0, again)
    assert timers.run_due(100) == 1
    assert timers.run_due(100) == 1
    assert len(ran) == 2


def test_tells_only_of_deadlines_before_all_others() -> None:
    timers = Timers()
    told = []
    timers.on_earlier = lambda: told.append(timers.next_deadline_ms())
    timers.schedule(20, lambda: None)
    timers.schedule(30, lambda: None)
    timers.schedule(10, lambda: None)
    assert told == [20, 10]


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    keep = timers.schedule(1, lambda: None)
    for deadline in range(10 * COMPACT_WHEN_CANCELLED):
        timers.schedule(1_000 + deadline, lambda: None).cancel()
    assert len(timers) == 1
    assert len(timers._heap) <= 2 * COMPACT_WHEN_CANCELLED + 2
    keep.cancel()
    keep.cancel()
    assert len(timers) == 0


def test_one_that_fails_does_not_keep_the_others_from_running() -> None:
    timers = Timers()
    ran: list[str] = []

    def fail() -> None:
        raise ValueError

    timers.schedule(10, fail)
    timers.schedule(11, lambda: ran.append("next"))
    timers.run_due(20)
    assert ran == ["next"]
