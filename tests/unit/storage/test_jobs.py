"""Jobs by hand: what becomes of them, and that what they raise can travel between processes."""

import pickle

import pytest

from odradek.core.errors import DamageError
from odradek.storage import jobs
from odradek.storage.disk import Disk, SystemDisk
from odradek.storage.jobs import Job, JobFailedError, JobQueue, JobStoppedError, Meter, Outcome


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KINDS", {"double": f"{__name__}:double"})


def double(disk: Disk, argument: object, meter: Meter) -> object:
    meter.moved(1)
    if isinstance(argument, Exception):
        raise argument
    return [argument, argument]


def outcome_of(argument: object, *, cancel: bool = False) -> Outcome:
    queue = JobQueue(SystemDisk())
    outcomes: list[Outcome] = []
    submitted = queue.submit(Job("double", argument), outcomes.append)
    if cancel:
        submitted.cancel()
    assert len(queue) == 1
    assert not outcomes, "never before submit has returned"
    queue.run_next()
    assert len(queue) == 0
    (outcome,) = outcomes
    return outcome


def test_a_result() -> None:
    assert outcome_of(21) == Outcome([21, 21])


@pytest.mark.parametrize("error", [DamageError("/a.log", 7, "torn"), OSError(28, "full", "/a.log")])
def test_errors_of_the_disk_come_as_they_are(error: Exception) -> None:
    assert outcome_of(error) == Outcome(error=error)
    travelled = pickle.loads(pickle.dumps(error))
    assert (type(travelled), str(travelled)) == (type(error), str(error))


def test_a_fault_of_ours_comes_with_its_traceback() -> None:
    error = outcome_of(ZeroDivisionError("us")).error
    assert isinstance(error, JobFailedError)
    assert "ZeroDivisionError: us" in str(error)
    assert "in double" in str(error)


def test_a_cancelled_job_is_not_done() -> None:
    assert isinstance(outcome_of(1, cancel=True).error, JobStoppedError)


def test_an_unknown_kind_is_a_fault_of_ours() -> None:
    queue = JobQueue(SystemDisk())
    outcomes: list[Outcome] = []
    queue.submit(Job("unheard", None), outcomes.append)
    queue.run_next()
    assert isinstance(outcomes[0].error, JobFailedError)
