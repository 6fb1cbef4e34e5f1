"""An agent that is killed before each of its requests, one after the other, and started again.

To the world, a process that dies before a request is as one that dies after the request before.
"""

import signal
import subprocess
import sys
from itertools import count

import pytest

from local.system import ROOT
from syncpoint_device import channels
from syncpoint_device.replications import Replications
from tests.e2e.conftest import MakeGadget
from tests.kit.basics import wait_for
from tests.kit.device.gadget import (
    Gadget,
    control_in_cloud,
    in_cloud,
    wait_for_state,
    wait_for_sync,
    wait_for_word,
)
from tests.kit.system.registering import mails_to

pytestmark = pytest.mark.slow

LIMIT_S = 120


def start_killed(gadget: Gadget, number: int) -> subprocess.Popen[bytes]:
    """An agent in a process of its own that is killed before its request of that number."""
    command = [sys.executable, "-m", "tests.kit.device.killed_agent", str(gadget.folder)]
    return subprocess.Popen([*command, str(number)], cwd=ROOT)


def is_killed(process: subprocess.Popen[bytes]) -> bool:
    code = process.wait(timeout=LIMIT_S)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_killed_at_any_time_the_next_agent_makes_replications_right(gadget: MakeGadget) -> None:
    phone = gadget("phone").become_active()
    active, paused = phone.create("Photos"), phone.create("Letters")
    wait_for_sync(phone, active)
    wait_for_sync(phone, paused)
    channels.change_subscription(phone.device, "Letters", "pause")
    wait_for_word(phone, "Letters", "paused")
    wanted = [*phone.replicated()]
    phone.stop()
    stranger = Replications(phone.device.server, "a-stranger")
    stranger.reconcile("theirs", phone.device.both_ways(phone.copy(paused), "x"))
    try:
        for number in count(1, 2):  # each second request: there are some fifty
            # As wrong as it can be: nothing of what should be, and one that should not.
            phone.device.replications.remove_all()
            orphan = phone.device.both_ways(phone.copy(paused), "db-orphan")
            phone.device.replications.reconcile("an orphan", orphan)
            phone.copy(active).put({"_id": f"here-{number}"})
            in_cloud(phone, active).put({"_id": f"there-{number}"})
            killed = is_killed(start_killed(phone, number))
            if killed:
                run_until_replicated(phone, wanted)
            assert phone.replicated() == wanted, f"killed before request {number}"
            if not killed:
                break
        assert number > 20, "it was killed at hardly any point"
        print(f"killed at {number // 2} points")
        assert len(stranger.all()) == 2
    finally:
        stranger.remove_all()
    phone.start()
    for database in (phone.copy(active), in_cloud(phone, active)):
        for name in ("here", "there"):
            for one in range(1, number + 1, 2):
                phone.wait_for_doc(database, f"{name}-{one}")


def run_until_replicated(gadget: Gadget, wanted: list[tuple[str, str]]) -> None:
    """An agent that is not killed, until it has come to rest."""
    before = len(gadget.said)
    gadget.start()
    wait_for_word(gadget, "agent", "looks after the channels", before)
    wait_for(lambda: gadget.replicated() == wanted, f"{wanted}")
    gadget.stop()


def test_killed_at_any_time_while_registering_there_is_one_device_and_one_mail(
    gadget: MakeGadget,
) -> None:
    for number in count(1, 2):  # each second request: there are some sixty
        phone = gadget("phone")
        phone.register()
        process = start_killed(phone, number)
        phone.confirm()  # the replicator brings the registration, whoever is killed
        killed = is_killed(process)
        phone.start()
        wait_for_word(phone, "agent", "looks after the channels")
        wait_for_state(phone.control, phone.id, "active")
        phone.stop()
        assert phone.failure is None
        assert len(phone.replicated()) == 2, f"killed before request {number}"
        assert len(list(mails_to(phone.where, phone.owner))) == 1
        rows = control_in_cloud(phone).changes("0", limit=100)["results"]
        assert [row["id"] for row in rows if row["id"].startswith("device-")] == [phone.id]
        phone.remove()
        if not killed:
            break
    assert number > 15, "it was killed at hardly any point"
    print(f"killed at {number // 2} points")
