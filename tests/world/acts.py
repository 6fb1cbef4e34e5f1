"""What people and devices may do at any moment, as the rules of their databases allow it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import generation_of
from chalicelib.domain.names import channel_db
from tests.world.region import CONTROL
from tests.world.world import Device, World, control_of

OWNERS = ADA, BEN = "ada@example.com", "ben@example.com"
GUESTS = BEN, CLEO = "ben@example.com", "cleo@example.com"
DEVICES = tuple(Device(owner, name) for owner in OWNERS for name in ("phone", "laptop"))
CHANNELS = ("notes", "photos")
CHANNEL = {"type": "channel", "state": "new", "name": "First"}


@dataclass(frozen=True)
class Act:
    """Something that somebody does, if it is possible at that moment."""

    name: str
    do: Callable[[World], object] = field(repr=False)


def invitation_id(channel: str, guest: str) -> str:
    return f"inv-{channel}-{guest.partition('@')[0]}"


def invites(world: World, owner: str, channel: str, guest: str) -> None:
    """Invite a guest, or invite them again."""
    known = world.doc(invitation_id(channel, guest), owner)
    again = {"generation": generation_of(known) + 1} if known else {}
    may_ask = known.get("state") in (None, "withdrawn", "declined", "expired", "error")
    if may_ask and guest != owner and control_of(owner) in world.couch.databases:
        asked = {"type": "invitation", "state": "new", "channel": channel, "email": guest}
        world.edit_own(owner, invitation_id(channel, guest), **asked, **again)


def acts() -> list[Act]:
    """All of them."""
    found = [act for device in DEVICES for act in _acts_of_a_device(device)]
    for channel in CHANNELS:
        found += _acts_on_a_channel(ADA, channel)
        found += [act for guest in GUESTS for act in _acts_of_a_guest(ADA, channel, guest)]
    return [*found, *_acts_on_a_channel(BEN, "films"), Act("all accept", _all_accept)]


def _acts_of_a_device(device: Device) -> list[Act]:
    named: dict[str, Callable[[World], object]] = {
        "registers": lambda world: world.bring(device),
        "asks again": partial(_asks_again, device),
        "is confirmed": _posts(device, -1, device_code=device.code),
        "is confirmed by its first mail": _posts(device, 0, device_code=device.code),
        "is given a wrong code": _posts(device, -1, device_code="WRONG1"),
        "is refused": _posts(device, -1, answer="not-me"),
        "bounces": partial(_bounces, device),
        "is revoked": partial(_is_revoked, device),
        "is edited": partial(_is_edited, device),
    }
    return [Act(f"{device.owner}'s {device.name} {name}", act) for name, act in named.items()]


def _asks_again(device: Device, world: World) -> None:
    if known := world.doc(device.device_id):
        world.bring(device, generation_of(known) + 1)


def _posts(device: Device, number: int, **form: str) -> Callable[[World], object]:
    def act(world: World) -> None:
        if mails := world.mails_to(device.owner, device.device_id):
            world.post(mails[number], **form)

    return act


def _bounces(device: Device, world: World) -> None:
    mails = world.mails_to(device.owner, device.device_id)
    if mails and world.doc(device.device_id)["state"] != "new":
        world.bounce(mails[-1])


def _is_revoked(device: Device, world: World) -> None:
    if world.doc(device.device_id, device.owner).get("state") == "active":
        world.edit_own(device.owner, device.device_id, state="revoking")


def _is_edited(device: Device, world: World) -> None:
    if world.doc(device.device_id):
        world.edit(CONTROL, device.device_id, {"note": world.clock.now_s})


def _acts_on_a_channel(owner: str, channel: str) -> list[Act]:
    def creates(world: World) -> None:
        if control_of(owner) in world.couch.databases and not world.doc(channel, owner):
            world.edit_own(owner, channel, **CHANNEL)

    def edits(**changes: object) -> Callable[[World], object]:
        def act(world: World) -> None:
            if world.doc(channel, owner).get("state") in ("new", "ready"):
                world.edit_own(owner, channel, **changes)

        return act

    def removes(world: World) -> None:
        if world.doc(channel, owner).get("members"):
            edits(members=[])(world)

    named: dict[str, Callable[[World], object]] = {
        "is created": creates,
        "is renamed": edits(name="Second"),
        "is renamed again": edits(name="Third"),
        "is made public": edits(public=True),
        "is closed": edits(state="closing"),
        "has no members any more": removes,
    }
    return [Act(f"{channel} {name}", act) for name, act in named.items()]


def _acts_of_a_guest(owner: str, channel: str, guest: str) -> list[Act]:
    doc_id = invitation_id(channel, guest)

    def withdraws(world: World) -> None:
        if world.doc(doc_id, owner).get("state") in ("new", "sent"):
            world.edit_own(owner, doc_id, state="withdrawn")

    def answers(choice: str) -> Callable[[World], object]:
        def act(world: World) -> None:
            for mail in world.mails_to(guest, f".{doc_id}.")[-1:]:
                world.post(mail, answer=choice)

        return act

    def forges(world: World) -> None:
        copy_id = channel_db(owner_id_of(owner), channel)
        if world.doc(copy_id, guest):
            world.edit_own(guest, copy_id, type="invitation", state="withdrawn")

    named: dict[str, Callable[[World], object]] = {
        "forges their copy": forges,
        "is invited": lambda world: invites(world, owner, channel, guest),
        "is invited no more": withdraws,
        "accepts": answers("accept"),
        "declines": answers("decline"),
    }
    return [Act(f"{guest} {name}: {channel}", act) for name, act in named.items()]


def _all_accept(world: World) -> None:
    for channel in CHANNELS:
        for guest in GUESTS:
            [accepts] = [
                act for act in _acts_of_a_guest(ADA, channel, guest) if " accepts: " in act.name
            ]
            accepts.do(world)
