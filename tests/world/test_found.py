"""What the faults, the races and the random worlds have found, each as a story of its own."""

import pytest

from tests.world.faults import Kind
from tests.world.gate import Gate, Meets, Process
from tests.world.looks import leftovers
from tests.world.rules import broken
from tests.world.story import PHONE
from tests.world.world import World


def after(request: str, kind: Kind) -> Meets:
    """A fault for what a process asks next after a request."""
    is_next = False

    def meets(process: Process, name: str) -> Kind | None:
        nonlocal is_next
        found, is_next = is_next, name == request
        return kind if found else None

    return meets


@pytest.mark.parametrize("kind", [Kind.FAILED, Kind.THROTTLED, Kind.TIMED_OUT, Kind.RESET])
def test_a_mail_goes_out_once_though_its_claim_cannot_be_finished(kind: Kind) -> None:
    world = World.new()
    world.register(PHONE)
    world.gate = Gate(after("sesv2.SendEmail", kind))
    world.run_until_quiet()
    assert world.doc(PHONE.device_id)["state"] == "confirming"
    assert len(world.mails()) == 1
    assert [*broken(world), *leftovers(world)] == []
