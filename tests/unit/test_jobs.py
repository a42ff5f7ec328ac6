"""Jobs: parts come to whoever listens, whenever he began to, and an early end is an end with what there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from inferno_widget.errors import Cancelled
from inferno_widget.jobs import Job
from inferno_widget.tasks import Crew

WAIT = 10


@pytest.fixture
def crew() -> Iterator[Crew]:
    threads = set(threading.enumerate())
    crew = Crew(2)
    yield crew
    crew.close()
    end = time.monotonic() + WAIT
    while set(threading.enumerate()) - threads:
        assert time.monotonic() < end, "a thread is left"
        time.sleep(0.01)


def counting(job: Job[int]) -> int:
    """Counts until it is enough."""
    n = 0
    while job.tell(n) and n < 10_000:
        n += 1
        time.sleep(0.001)
    return n


def test_parts_come_in_order_and_then_the_result(crew: Crew) -> None:
    heard: list[int] = []
    begin = threading.Event()

    def work(job: Job[str]) -> str:
        begin.wait(WAIT)
        return "".join(str(i) for i in range(5) if job.tell(i))

    job = crew.run(Job(work))
    job.listen(heard.append)
    begin.set()
    assert job.result(WAIT) == "01234"
    assert heard == list(range(5))


def test_a_listener_who_comes_late_hears_all(crew: Crew) -> None:
    job = crew.run(Job(lambda job: [job.tell(i) for i in range(3)]))
    job.result(WAIT)
    heard: list[int] = []
    job.listen(heard.append)
    assert heard == [0, 1, 2]


def test_a_listener_who_comes_meanwhile_misses_nothing_and_hears_nothing_twice(crew: Crew) -> None:
    job, heard = crew.run(Job(counting)), list[int]()
    time.sleep(0.02)
    job.listen(heard.append)
    job.enough()
    n = job.result(WAIT)
    assert heard == list(range(n + 1))


def test_enough_is_an_end_with_what_there_is(crew: Crew) -> None:
    job = crew.run(Job(counting))
    while not job.running():
        time.sleep(0.001)
    assert job.wanted
    assert job.end(WAIT) is True
    assert job.done()
    assert 0 <= job.result() < 10_000
    assert job.end(0) is True, "what is over has ended"


def test_what_does_not_end_is_said_to_go_on(crew: Crew) -> None:
    go_on = threading.Event()
    job = crew.run(Job(lambda _: go_on.wait(WAIT)))
    while not job.running():
        time.sleep(0.001)
    assert job.end(0.01) is False
    go_on.set()
    assert job.result(WAIT) is True


def test_what_has_not_begun_does_not_begin(crew: Crew) -> None:
    go_on, begun = threading.Event(), threading.Event()
    for _ in range(2):  # all that the crew has
        crew.submit(lambda: go_on.wait(WAIT))
    job = crew.run(Job(lambda _: begun.set()))
    assert job.end(WAIT) is True, "nobody waits for it"
    go_on.set()
    with pytest.raises(Cancelled, match="before it had begun"):
        job.result(WAIT)
    assert not begun.is_set()


def test_an_error_is_the_result(crew: Crew) -> None:
    job = crew.run(Job(lambda job: 1 // (job.tell("a part") and 0)))
    with pytest.raises(ZeroDivisionError):
        job.result(WAIT)


def test_a_crew_that_is_closed_begins_nothing() -> None:
    crew = Crew()
    crew.close()
    assert crew.run(Job(counting)).cancelled()


def test_whoever_works_elsewhere_is_told_of_enough_at_once() -> None:
    """Also if it was enough before he asked to be told; each once."""
    job, told = Job(counting), list[str]()
    job.at_enough(lambda: told.append("before"))
    assert told == []
    job.enough()
    job.at_enough(lambda: told.append("after"))
    job.enough()
    assert told == ["before", "after"]
