"""The simulation: the same each time, nothing lost or sent twice, and no limit broken."""

from itertools import pairwise

import pytest

from bench.simulation import DAY_S, MAX_RECEIVES, Result, Setting, Simulation, hidden_s
from chalicelib.engine.batch import FIRST_BACK_OFF_S
from chalicelib.handlers.all import registry
from local.lambdas import load_app, queue_sources
from local.system import ROOT

SETTINGS = {
    "within the rate": Setting(300, ses_rate=100),
    "above the rate": Setting(2000, ses_rate=14, max_runs=20),
    "far above the rate": Setting(3000, burst_s=10, ses_rate=2),
    "above the quota": Setting(500, ses_rate=100, ses_daily=200),
    "bounded": Setting(2000, ses_rate=14, max_runs=2),
    "runs that die": Setting(500, ses_rate=50, max_runs=4, death_share=0.02),
}


def run(name: str) -> Result:
    return Simulation(SETTINGS[name]).run()


def mailed_at(result: Result) -> list[float]:
    return sorted(at for message in result.messages for at in message.mailed_s)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_seed_gives_the_same_each_time(name: str) -> None:
    first, second = run(name), run(name)
    assert first.messages == second.messages
    assert first.depths == second.depths


def test_another_seed_gives_something_else() -> None:
    waits = {tuple(Simulation(Setting(200, seed=seed)).run().waits_s) for seed in (1, 2)}
    assert len(waits) == 2


@pytest.mark.parametrize("name", SETTINGS)
def test_all_that_arrive_are_mailed_once_or_lie_among_the_dead_letters(name: str) -> None:
    result = run(name)
    assert len(result.messages) == SETTINGS[name].burst
    for message in result.messages:
        assert len(message.mailed_s) == (0 if message.is_dead else 1)
        assert message.tries <= MAX_RECEIVES
        assert message.tries == MAX_RECEIVES or not message.is_dead
        assert all(at >= message.arrived_s for at in message.mailed_s)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_second_has_more_mails_than_ses_takes(name: str) -> None:
    setting, moments = SETTINGS[name], mailed_at(run(name))
    # A bucket that was full lets through its content, and what drops in meanwhile.
    most = int(2 * setting.ses_rate)
    for number, at in enumerate(moments[most:]):
        assert at - moments[number] > 1 - 1e-9


def test_no_day_has_more_mails_than_the_quota() -> None:
    setting, moments = SETTINGS["above the quota"], mailed_at(run("above the quota"))
    assert len(moments) == setting.ses_daily
    assert moments[-1] - moments[0] < DAY_S


def test_more_than_ses_takes_ends_among_the_dead_letters_unless_few_batches_run_at_once() -> None:
    assert run("far above the rate").dead > 0
    assert run("bounded").dead == 0


def test_the_deployed_functions_are_bounded_those_that_send_mail_the_most() -> None:
    bounds = {source.name: source.maximum_concurrency for source in queue_sources(load_app(ROOT))}
    assert bounds == {f"{t.doc_type}_{t.state}": 2 if t.unsafe else 10 for t in registry}


def test_what_ses_refuses_is_hidden_for_longer_each_time() -> None:
    hidden = [hidden_s(tries) for tries in range(1, MAX_RECEIVES + 1)]
    assert hidden[0] == FIRST_BACK_OFF_S
    assert all(later > earlier for earlier, later in pairwise(hidden))
