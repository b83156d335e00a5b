"""Who is waited for with the next flush, and for how long."""

from odradek.server.riders import PROMPT_S, PROMPT_TIMES, Riders


class Client:
    def __init__(self) -> None:
        self.answered_s = 0.0
        self.prompt_times = 0
        self.outstanding = 1


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def prompt(riders: Riders, *clients: Client, times: int = PROMPT_TIMES) -> None:
    """These are answered and come back at once, so many times."""
    for _ in range(times):
        riders.answered(clients)
        for client in clients:
            riders.came(client, wants_flush=True)


def test_who_was_prompt_many_times_is_awaited_until_it_comes() -> None:
    riders, one, other = Riders(Clock()), Client(), Client()
    prompt(riders, one, other)
    assert not riders.are_awaited()
    riders.answered([one, other])
    riders.came(one, wants_flush=True)
    assert riders.are_awaited()
    riders.came(other, wants_flush=True)
    assert not riders.are_awaited()


def test_nobody_waits_for_one_who_is_not_known_to_be_prompt() -> None:
    riders, client = Riders(Clock()), Client()
    prompt(riders, client, times=PROMPT_TIMES - 1)
    riders.answered([client])
    assert not riders.are_awaited()


def test_who_comes_late_has_to_prove_itself_again() -> None:
    clock = Clock()
    riders, client = Riders(clock), Client()
    prompt(riders, client)
    riders.answered([client])
    clock.now_s += 2 * PROMPT_S
    assert not riders.are_awaited(), "it is late"
    riders.came(client, wants_flush=True)
    prompt(riders, client, times=PROMPT_TIMES - 1)
    riders.answered([client])
    assert not riders.are_awaited()
    riders.came(client, wants_flush=True)
    riders.answered([client])
    assert riders.are_awaited()


def test_who_only_reads_is_not_awaited() -> None:
    riders, reader = Riders(Clock()), Client()
    for _ in range(2 * PROMPT_TIMES):
        riders.answered([reader])
        assert not riders.are_awaited()
        riders.came(reader, wants_flush=False)


def test_who_has_more_on_the_way_is_not_awaited() -> None:
    riders, client = Riders(Clock()), Client()
    prompt(riders, client)
    client.outstanding = 2
    riders.answered([client])
    assert not riders.are_awaited()


def test_a_connection_that_ends_is_not_awaited() -> None:
    riders, client = Riders(Clock()), Client()
    prompt(riders, client)
    riders.answered([client])
    riders.came(client, wants_flush=False)
    assert not riders.are_awaited()


def test_those_who_are_given_up_are_not_awaited_the_next_time() -> None:
    riders, client, other = Riders(Clock()), Client(), Client()
    prompt(riders, client, other)
    riders.answered([client, other])
    riders.came(other, wants_flush=True)
    riders.give_up()
    assert not riders.are_awaited()
    assert (client.prompt_times, other.prompt_times) == (0, PROMPT_TIMES)
