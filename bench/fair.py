"""`python -m bench.fair`: how long other owners wait beside one owner's flood, in virtual time.

The poller and the handlers that ship run over CouchDB and AWS in memory (tests/world/busy.py), so
the figures are exact, and the same on every machine. Several quiet owners each ask for one thing,
one after another, while the flood is worked off. The table has the longest of their waits.
"""

import contextlib
import functools
import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.report import Finding, at_most
from bench.setup import Bench
from chalicelib.domain.documents import JsonDict
from tests.world.busy import STEP_S, BusyCloud
from tests.world.world import Device, World, control_name

HOSTILE = "hostile@example.com"
CHANNEL = "notes"
INVITATIONS, CHANNELS = 600, 150
QUIET_OWNERS, QUICK_QUIET_OWNERS = 20, 4
# The quiet owners ask from the moment of the flood on.
APART_S = 0.37
GOAL = 2.0
# A wait is measured to so much of itself, and to `STEP_S`.
PRECISION = 0.005
# Longer than the flood takes, whatever the order of its messages.
LIMIT_S = 600.0


@dataclass(frozen=True)
class Wish:
    """What a quiet owner asks for: a document, and the state that it is to get.

    Attributes
    ----------
    in_control_db : bool
        Whether it is the document of that name in `<CONTROL_DB>` that is to get the state.
    """

    doc_id: str
    changes: JsonDict
    state: str
    in_control_db: bool = False


def invitation(number: int) -> JsonDict:
    """Return an invitation to the channel that every owner here has."""
    email = f"guest-{number}@example.com"
    return {"type": "invitation", "state": "new", "channel": CHANNEL, "email": email}


NEW_CHANNEL: JsonDict = {"type": "channel", "state": "new", "name": "New"}


def mail_of(owner: str) -> Wish:
    """Return the wish for an invitation's mail."""
    return Wish("invitation", {**invitation(0), "email": f"guest-of-{owner}"}, "sent")


def channel_of(owner: str) -> Wish:
    """Return the wish for a channel."""
    return Wish("another", NEW_CHANNEL, "ready")


def revocation_of(owner: str) -> Wish:
    """Return the wish that a device can no longer log in."""
    device_id = Device(owner, "laptop").device_id
    return Wish(device_id, {"state": "revoking"}, "revoked", in_control_db=True)


@dataclass(frozen=True)
class Flood:
    """What the hostile owner writes in one moment."""

    invitations: int = 0
    channels: int = 0

    def pour(self, world: World) -> None:
        """Write all documents with one request, as a replication does."""
        docs = [{"_id": f"i{number}", **invitation(number)} for number in range(self.invitations)]
        docs += [{"_id": f"c{number}", **NEW_CHANNEL} for number in range(self.channels)]
        path = f"/{control_name(HOSTILE)}/_bulk_docs"
        world.server.http.request("POST", path, body={"docs": docs})


@dataclass(frozen=True)
class Case:
    """What is asked for, beside which flood."""

    wish: Callable[[str], Wish]
    flood: Flood


CASES: Mapping[str, Case] = {
    f"an invitation mail beside {INVITATIONS} invitations": Case(mail_of, Flood(INVITATIONS)),
    f"a channel beside {CHANNELS} channels": Case(channel_of, Flood(0, CHANNELS)),
    "a revocation beside both": Case(revocation_of, Flood(INVITATIONS, CHANNELS)),
}


def town(quiet: int) -> tuple[World, list[str]]:
    """Make a world with a hostile owner and quiet ones: two devices and a channel each."""
    world, owners = World.new(), [f"quiet-{number}@example.com" for number in range(quiet)]
    for address in (HOSTILE, *owners):
        for device in (Device(address, "phone"), Device(address, "laptop")):
            world.register(device)
            world.run_until_quiet()
            world.click(device)
        world.run_until_quiet()
        world.edit_own(address, CHANNEL, **NEW_CHANNEL)
    world.run_until_quiet()
    return world, owners


def waits_s(
    world: World, owners: Sequence[str], case: Case, *, is_flooded: bool, is_fair: bool = True
) -> list[float]:
    """Let the owners ask one after another; return how long each of them waited."""
    cloud, waited = BusyCloud(world, is_fair=is_fair), list[float]()

    def ask(owner: str, after_s: float) -> None:
        cloud.timeline.sleep(after_s)
        wish, began_s = case.wish(owner), world.clock.now_s
        world.edit_own(owner, wish.doc_id, **wish.changes)
        of, wait_s = None if wish.in_control_db else owner, 0.0
        while world.doc(wish.doc_id, of).get("state") != wish.state:
            if wait_s > LIMIT_S:
                raise TimeoutError(f"{owner} still waits for {wish}")
            cloud.timeline.sleep(max(STEP_S, wait_s * PRECISION))
            wait_s = world.clock.now_s - began_s
        waited.append(wait_s)

    if is_flooded:
        cloud.timeline.start(functools.partial(case.flood.pour, world), 1.0)
    cloud.run(
        *(
            functools.partial(ask, owner, 1.0 + STEP_S + number * APART_S)
            for number, owner in enumerate(owners)
        )
    )
    return waited


def finding(quiet: int) -> Finding:
    """Measure all cases: beside nothing, beside the flood, and beside it without groups."""
    rows, goals = [], []
    world, owners = town(quiet)
    for what, case in CASES.items():
        idle = max(waits_s(world.copy(), owners, case, is_flooded=False))
        flood = max(waits_s(world.copy(), owners, case, is_flooded=True))
        unfair = max(waits_s(world.copy(), owners, case, is_flooded=True, is_fair=False))
        rows.append([what, f"{idle:.2f}", f"{flood:.2f}", f"{flood / idle:.2f}", f"{unfair:.2f}"])
        goals.append(at_most(what, GOAL, flood / idle))
    head = ["the longest wait for", "idle, s", "flood, s", "ratio", "without groups, s"]
    return Finding(head, rows, goals)


def measure(bench: Bench) -> Finding:
    """Measure all cases, for `make bench`."""
    with contextlib.redirect_stdout(io.StringIO()):  # metrics
        return finding(QUICK_QUIET_OWNERS if bench.is_quick else QUIET_OWNERS)


def main() -> int:
    """Print the table; return 1 if a goal is missed."""
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):  # metrics
        found = finding(QUIET_OWNERS)
    print(found.tables())
    return 0 if all(goal.is_met for goal in found.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
