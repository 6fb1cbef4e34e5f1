"""Random worlds: whatever people, workers, faults and time do, all holds when it is quiet again.

The gate tries the same examples each time; `HYPOTHESIS_PROFILE=explore` tries others, and more.
"""

import os

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.world.machine import Machine

pytestmark = pytest.mark.slow

IS_EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
PARTS, STEPS = 4, 40
EXAMPLES = 500 if IS_EXPLORING else 20  # of each part


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_all_holds_when_it_is_quiet_again(part: int) -> None:
    class Part(Machine):
        pass

    if not IS_EXPLORING:
        hypothesis.seed(part)(Part)
    run_state_machine_as_test(
        Part,
        settings=hypothesis.settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, database=None
        ),
    )
