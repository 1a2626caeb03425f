from __future__ import annotations

import threading

import pytest

from django_deploy.transport.watchdog import Watchdog

#: How long a second of the watchdog lasts here.
SECOND = 0.002


class FakeLink:
    """A link that hears what the test says, and answers if it is to."""

    def __init__(self, answers: bool = False) -> None:
        self.heard = 0
        self.asked = 0
        self.answers = answers
        self.is_given_up = threading.Event()
        self.was_asked = threading.Event()

    def ask(self) -> None:
        self.asked += 1
        self.heard += self.answers
        self.was_asked.set()

    def give_up(self) -> None:
        self.is_given_up.set()


@pytest.fixture
def watchdog():
    return Watchdog(SECOND)


def test_a_silent_link_is_asked_once_and_given_up(watchdog):
    link = FakeLink()

    watchdog.watch(link)

    assert link.is_given_up.wait(10)
    assert link.asked == 1


def test_a_link_that_answers_is_kept(watchdog):
    silent, alive = FakeLink(), FakeLink(answers=True)
    watchdog.watch(alive)

    for _ in range(3):
        alive.was_asked.clear()
        assert alive.was_asked.wait(10)
    watchdog.watch(silent)

    assert silent.is_given_up.wait(10)
    assert not alive.is_given_up.is_set()
    watchdog.release(alive)


def test_a_question_that_blocks_delays_nothing(watchdog):
    class StuckLink(FakeLink):
        def ask(self) -> None:
            self.is_given_up.wait(10)

    first, second = StuckLink(), StuckLink()

    watchdog.watch(first)
    watchdog.watch(second)

    assert first.is_given_up.wait(10)
    assert second.is_given_up.wait(10)


def test_a_released_link_is_left_alone(watchdog):
    released, other = FakeLink(), FakeLink()
    watchdog.watch(released)
    watchdog.watch(other)

    watchdog.release(released)

    assert other.is_given_up.wait(10)
    assert not released.is_given_up.is_set()


def test_the_thread_ends_with_the_last_link_and_comes_back(watchdog):
    link, before = FakeLink(), set(threading.enumerate())
    watchdog.watch(link)
    (thread,) = set(threading.enumerate()) - before

    watchdog.release(link)
    thread.join(10)
    watchdog.watch(link)

    assert not thread.is_alive()
    assert link.is_given_up.wait(10)
