"""The story that is told with a fault at every point: from a registration to a channel's end.

It is a list of acts. A chapter ends where the cloud is left alone until it is quiet.
"""

from collections.abc import Callable

from tests.kit.tokens import subject_of
from tests.world.world import DAY_S, Device, SentMail, World

Act = Callable[[World], object]

ADA, BEN, CLEO, DORA = (f"{name}@example.com" for name in ("ada", "ben", "cleo", "dora"))
PHONE, LAPTOP, TABLET = (Device(ADA, name) for name in ("phone", "laptop", "tablet"))
NOT_HERS = Device("eve@example.com", "somebody's")
LATE = Device(DORA, "late")
LOST = Device("gil@example.com", "lost")
GUESTS = {"inv-ben": BEN, "inv-cleo": CLEO, "inv-dora": DORA}
INVITATION_TTL_S = 7 * DAY_S

quiet: Act = World.run_until_quiet


def mail_of(world: World, subject: str, number: int = -1) -> SentMail:
    """A mail by what its link is about."""
    return [mail for mail in world.mails() if subject in subject_of(mail.code)][number]


def registers(device: Device, generation: int = 0) -> Act:
    return lambda world: world.register(device, generation)


def opens(subject: str, step: str | None = None, status: int = 200) -> Act:
    def act(world: World) -> None:
        assert world.look(mail_of(world, subject), step).status == status

    return act


def posts(subject: str, *statuses: int, number: int = -1, **form: str) -> Act:
    """An answer on a page; what it is answered when it is repeated is among the statuses."""

    def act(world: World) -> None:
        assert world.post(mail_of(world, subject, number), **form).status in statuses

    return act


def types_code(device: Device, *statuses: int, number: int = -1, code: str = "") -> Act:
    return posts(device.device_id, *statuses, number=number, device_code=code or device.code)


def writes(doc_id: str, **changes: object) -> Act:
    """A document that one of Ada's devices writes."""
    return lambda world: world.edit_own(ADA, doc_id, **changes)


def invites(doc_id: str, channel: str) -> Act:
    invitation = {"type": "invitation", "state": "new", "channel": channel}
    return writes(doc_id, email=GUESTS[doc_id], **invitation)


def bounces(device: Device) -> Act:
    return lambda world: world.bounce(mail_of(world, device.device_id))


def time_passes(seconds: float) -> Act:
    return lambda world: world.clock.move(seconds)


def channel(doc_id: str, state: str, **changes: object) -> Act:
    return writes(doc_id, type="channel", state=state, **changes)


CHAPTERS: dict[str, list[Act]] = {
    "devices register": [
        *(registers(device) for device in (PHONE, LAPTOP, TABLET)),
        *(registers(device) for device in (NOT_HERS, LATE, LOST)),
    ],
    "a mail bounces, another is asked for again": [
        bounces(LOST),
        registers(TABLET, generation=1),
    ],
    "owners answer": [
        opens(PHONE.device_id),
        types_code(PHONE, 403, code="WRONG1"),
        types_code(PHONE, 303),
        types_code(LAPTOP, 303),
        types_code(TABLET, 410, number=0),
        types_code(TABLET, 303),
        posts(NOT_HERS.device_id, 200, 410, answer="not-me"),
    ],
    "channels are made": [
        opens(PHONE.device_id, "answered"),
        channel("notes", "new", name="Notes"),
        channel("photos", "new", name="Photos", public=True),
    ],
    "a channel is renamed, guests are invited": [
        channel("notes", "ready", name="Our notes"),
        *(invites(doc_id, "notes") for doc_id in GUESTS),
    ],
    "guests answer": [
        opens("inv-ben"),
        posts("inv-ben", 303, 409, answer="accept"),
        posts("inv-cleo", 200, 409, answer="decline"),
    ],
    "a device is revoked": [
        opens("inv-ben", "answered"),
        writes(LAPTOP.device_id, state="revoking"),
    ],
    "channels are closed": [
        channel("notes", "closing"),
        channel("photos", "closing"),
    ],
    "the rest expires": [
        time_passes(INVITATION_TTL_S + DAY_S),
        World.sweep,
    ],
}
ACTS: list[Act] = [act for chapter in CHAPTERS.values() for act in (*chapter, quiet)]
NAMES: list[str] = [name for name, chapter in CHAPTERS.items() for _ in (*chapter, quiet)]
