"""A step asks for what is written down, and for no more."""

from collections import Counter
from functools import cache

import pytest

from bench import cost
from bench.cost_story import counted
from chalicelib.handlers.all import registry

CHANGED = "python -m bench.cost --write; make docs; and say in the commit what the request is for"


@cache
def counted_once() -> cost.Costs:
    return counted()


@pytest.mark.parametrize("step", cost.kept())
def test_a_step_asks_for_what_is_written_down_and_no_more(step: str) -> None:
    asked = counted_once()[step]
    # Not in their order: the poller asks for some at once.
    assert Counter(asked) == Counter(cost.kept()[step]), CHANGED


def test_every_step_that_is_counted_is_written_down() -> None:
    assert set(counted_once()) == set(cost.kept()), CHANGED


def test_every_transition_is_counted() -> None:
    steps = {step.partition(",")[0] for step in cost.kept()}
    assert {f"{t.doc_type}/{t.state}" for t in registry} <= steps


def test_a_registration_is_made_of_steps_that_are_counted() -> None:
    assert set(cost.REGISTRATION) <= set(cost.kept())


def test_each_step_is_run_by_a_lambda_of_its_own_that_reads_the_secret_once() -> None:
    for step, requests in counted_once().items():
        is_wave = step.startswith("poller, a wave")
        assert cost.kinds(requests)["Secrets Manager"] == (0 if is_wave else 1), step


def test_a_request_of_a_kind_that_has_no_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        cost.kinds(["s3.PutObject"])
