"""Room for requests that have not arrived whole."""

from odradek.server.memory import RequestMemory


class Waiting:
    def __init__(self, memory: RequestMemory, size: int) -> None:
        self.memory = memory
        self.size = size
        self.has_room = False

    def room_was_made(self) -> None:
        self.has_room = self.memory.reserve(self.size)
        if not self.has_room:
            self.memory.wait(self)


def test_without_a_limit_there_is_always_room() -> None:
    memory = RequestMemory(-1)
    assert memory.reserve(1 << 40)
    assert memory.reserve(1 << 40)
    memory.release(1 << 40)
    assert memory.reserved_bytes == 1 << 40


def test_one_always_fits_and_the_others_wait_their_turn() -> None:
    memory = RequestMemory(100)
    assert memory.reserve(500)
    first, second, third = Waiting(memory, 60), Waiting(memory, 60), Waiting(memory, 40)
    for waiting in (first, second, third):
        assert not memory.reserve(waiting.size)
        memory.wait(waiting)
    memory.release(500)
    assert [waiting.has_room for waiting in (first, second, third)] == [True, False, True]
    memory.leave(second)
    memory.leave(second)
    memory.release(60)
    memory.release(40)
    assert memory.reserved_bytes == 0
    assert not second.has_room
