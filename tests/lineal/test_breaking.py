"""What does not answer is left alone for a while, and what refuses never is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from lineal.breaking import FAILURES, REST, SILENCE, Breaker, Resting
from lineal.errors import NotFound, PreconditionFailed, Unavailable
from lineal.observing import METER
from lineal.telemetry import Telemetry


class AwayError(Exception):
    """Nothing answered."""


class Time:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    return Breaker("target", "farm", lambda error: isinstance(error, AwayError), clock=time)


def miss(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(AwayError), breaker():
            raise AwayError


def answer(breaker: Breaker) -> None:
    with breaker():
        pass


def test_after_so_many_calls_without_an_answer_none_is_made_and_the_caller_is_told_when_to_come_again(
    breaker: Breaker, time: Time
) -> None:
    miss(breaker, FAILURES - 1)
    assert not breaker.is_open()
    miss(breaker)
    time.now += 0.5
    with pytest.raises(Resting, match="the target farm does not answer") as refused, breaker():
        pytest.fail("the call was made")
    assert isinstance(refused.value, Unavailable)
    assert refused.value.details == {"retryAfter": 3}


@pytest.mark.parametrize("error", [NotFound("404"), PreconditionFailed("403"), Unavailable("429"), ValueError()])
def test_what_refuses_answers_and_is_never_left_alone(breaker: Breaker, error: Exception) -> None:
    for _ in range(10 * FAILURES):
        with pytest.raises(type(error)), breaker():
            raise error
    miss(breaker, FAILURES - 1)
    with pytest.raises(type(error)), breaker():
        raise error
    miss(breaker, FAILURES - 1)
    assert not breaker.is_open()


async def test_one_call_tries_whether_it_is_back_and_the_others_wait_for_what_comes_of_it(
    breaker: Breaker, time: Time
) -> None:
    miss(breaker, FAILURES)
    time.now += REST
    with breaker():
        for _ in range(3):
            with pytest.raises(Resting), breaker():
                pytest.fail("a second call was made")
    assert not breaker.is_open()
    answer(breaker)


def test_while_it_stays_away_there_is_one_call_in_each_rest(breaker: Breaker, time: Time) -> None:
    miss(breaker, FAILURES)
    made = 0
    for _ in range(100):
        time.now += REST / 10
        with suppress(Resting):
            miss(breaker)
            made += 1
    assert made == 9


def test_an_answer_that_refuses_shows_that_it_is_back(breaker: Breaker, time: Time) -> None:
    miss(breaker, FAILURES)
    time.now += REST
    with pytest.raises(NotFound), breaker():
        raise NotFound("404")
    assert not breaker.is_open()


def test_calls_that_end_late_do_not_make_the_rest_longer(breaker: Breaker, time: Time) -> None:
    calls = [breaker() for _ in range(2 * FAILURES)]
    for call in calls:
        call.__enter__()
    for call in calls:
        assert not call.__exit__(AwayError, AwayError(), None)
        time.now += REST / FAILURES
    answer(breaker)


@pytest.mark.parametrize("cancelled_trial", [False, True])
async def test_a_call_that_is_given_up_counts_only_after_a_silence(
    breaker: Breaker, time: Time, cancelled_trial: bool
) -> None:
    async def call(seconds: float) -> None:
        with breaker():
            time.now += seconds
            raise asyncio.CancelledError

    for _ in range(10 * FAILURES):
        with pytest.raises(asyncio.CancelledError):
            await call(SILENCE / 2)
    assert not breaker.is_open()
    for _ in range(FAILURES):
        with pytest.raises(asyncio.CancelledError):
            await call(SILENCE)
    assert breaker.is_open()
    time.now += REST
    if cancelled_trial:
        with pytest.raises(asyncio.CancelledError):
            await call(0)
    answer(breaker)


@pytest.fixture
def told() -> Iterator[Callable[[str], float | None]]:
    """What metrics tell of the farm's breaker."""
    telemetry = Telemetry()
    token = METER.set(telemetry)
    yield lambda name: telemetry.registry.get_sample_value(name, {"kind": "target", "name": "farm"})
    METER.reset(token)


def test_it_is_told_as_open_while_calls_are_refused_and_no_longer_though_nobody_calls(
    breaker: Breaker, time: Time, told: Callable[[str], float | None]
) -> None:
    miss(breaker, FAILURES)
    assert told("lineal_breaker_open") == 1
    time.now += REST
    assert told("lineal_breaker_open") == 0
    with breaker():
        assert told("lineal_breaker_open") == 1
    assert told("lineal_breaker_open") == 0
    miss(breaker, FAILURES)
    assert told("lineal_breaker_open") == 1
    time.now += 8 * 3_600
    assert told("lineal_breaker_open") == 0


def test_each_trial_without_an_answer_is_one_more_opening(
    breaker: Breaker, time: Time, told: Callable[[str], float | None]
) -> None:
    miss(breaker, FAILURES)
    for _ in range(3):
        time.now += REST
        miss(breaker)
    assert told("lineal_breaker_openings_total") == 4


def test_it_is_told_in_the_log_and_in_metrics_when_it_is_left_alone_and_when_it_answers_again(
    breaker: Breaker, time: Time, told: Callable[[str], float | None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "lineal.breaking")
    miss(breaker, FAILURES)
    with pytest.raises(Resting):
        answer(breaker)
    assert (told("lineal_breaker_open"), told("lineal_breaker_openings_total")) == (1, 1)
    assert told("lineal_breaker_refusals_total") == 1
    time.now += REST
    answer(breaker)
    answer(breaker)
    assert (told("lineal_breaker_open"), told("lineal_breaker_openings_total")) == (0, 1)
    assert caplog.messages == [
        "the target farm is left alone: 5 calls in a row had no answer",
        "the target farm answers again",
    ]
