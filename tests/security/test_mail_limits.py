"""No sequence of hostile documents, retries and crashes gets more mails than the limits allow.

In memory and in virtual time: the product's code over the fakes, and an SES that is moody.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.aws.claims import Claims
from chalicelib.aws.rate_limiter import Decision, RateLimiter
from chalicelib.aws.ses import MailError, MailNotSent
from chalicelib.domain.documents import JsonDict
from chalicelib.jobs.mail_feedback import TooEarly, handle_notification
from chalicelib.web import registrations
from tests.kit.basics import FakeClock, FakeMailer, Mail, a_device, make_context
from tests.kit.cloud.feedback import bounce, complaint
from tests.kit.cloud.site import with_settings
from tests.kit.cloud.steps import Owner, Steps
from tests.kit.fakes.aws import FakeAws
from tests.kit.fakes.couch import FakeCouch

HOUR_S, DAY_S = 3600, 24 * 3600
LEASE_S = 90
# An hour and a day of an address, an owner and a network.
LIMITS = {"address": (2, 4), "owner": (3, 5), "network": (3, 5)}
BOUNCES = 2
# Both owners registered from here.
OWNERS_NETWORK = "192.0.9.0/24"
GUESTS = ("guest@example.com", "other@example.org")
CHANNELS = ("notes", "photos")

few = st.integers(0, 1)
some = st.integers(0, 3)


@dataclass(frozen=True)
class Writes:
    """A member writes an invitation over whatever is there, or over nothing, in state new."""

    owner: int
    doc: int
    guest: int
    spelling: int
    channel: int
    generation: int
    is_deleted_before: bool


@dataclass(frozen=True)
class Registers:
    """A stranger registers one of some devices, or asks for its mail again."""

    network: int
    device: int
    guest: int
    spelling: int
    generation: int


@dataclass(frozen=True)
class Replays:
    """A message comes again, after whatever became of it."""

    number: int


@dataclass(frozen=True)
class Fails:
    """SES says that a mail did not arrive, or was reported as spam; perhaps it said so before."""

    number: int
    is_complaint: bool


@dataclass(frozen=True)
class Waits:
    """The time passes."""

    seconds: int


Mood = Literal["takes", "refuses", "fails", "takes, and the worker dies"]


@dataclass(frozen=True)
class Turns:
    """SES takes mails from now on, or refuses them, or leaves open what it did."""

    mood: Mood


Act = Writes | Registers | Replays | Fails | Waits | Turns
writes = st.builds(Writes, few, few, few, some, few, few, st.booleans())
acts: st.SearchStrategy[Act] = st.one_of(
    *[writes] * 5,
    st.builds(Registers, few, some, few, some, some),
    st.builds(Replays, st.integers(0, 40)),
    st.builds(Fails, st.integers(0, 40), st.booleans()),
    st.builds(Waits, st.sampled_from([1, LEASE_S + 1, 1500, HOUR_S - 1, HOUR_S, DAY_S])),
    st.builds(Turns, st.sampled_from(Mood.__args__)),  # type: ignore[attr-defined]
)


@dataclass(frozen=True)
class Sent:
    """A mail that SES took, and whether its worker died before it could say so.

    `failed_before` is how many of its sender's mails had failed in the day before.
    """

    at_s: float
    to: str
    owner: str
    network: str
    is_crash: bool
    failed_before: int


@dataclass
class CrashingSes(FakeMailer):
    """A mailer that is moody, and notes what it took."""

    mood: Mood = "takes"
    steps: Steps | None = None
    taken: list[Sent] = field(default_factory=list)
    failed: dict[str, tuple[str, float]] = field(default_factory=dict)

    def fails(self, mail: Mail) -> None:
        """A mail fails, for the first time or again."""
        assert self.steps is not None
        self.failed.setdefault(mail.message_id, (sender(mail), self.steps.clock().timestamp()))

    def send(
        self,
        to: str,
        subject: str,
        text: str,
        html: str,
        message_id: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if self.mood == "refuses":
            raise MailNotSent("SES refused the mail")
        if self.mood == "fails":
            raise MailError("SES did not answer")
        super().send(to, subject, text, html, message_id, tags)
        assert self.steps is not None
        assert tags is not None
        is_crash = self.mood == "takes, and the worker dies"
        at_s, whose = self.steps.clock().timestamp(), sender(self.sent[-1])
        failed = sum(of == whose and at > at_s - DAY_S for of, at in self.failed.values())
        owner, network = tags.get("owner", ""), tags.get("network", "")
        self.taken.append(Sent(at_s, to, owner, network, is_crash, failed))
        if is_crash:
            raise MailError("SES did not answer")


def sender(mail: Mail) -> str:
    """Whom a mail counts against: an owner's id, or the hash of a network."""
    return mail.tags.get("owner") or mail.tags["network"]


@dataclass(frozen=True)
class Spy(RateLimiter):
    """A rate limiter that notes which mails it admitted to an address."""

    admitted: set[str] = field(default_factory=set)

    def allow(self, bucket: str, key: str, *args: Any, **options: Any) -> Decision:
        decision = super().allow(bucket, key, *args, **options)
        if decision.allowed and bucket.startswith("mails-to#"):
            self.admitted.add(key)
        return decision


@dataclass
class Cloud:
    """The cloud with two owners, who have their channels."""

    steps: Steps
    ses: CrashingSes
    spy: Spy
    owners: list[Owner]

    @classmethod
    def new(cls, *networks: str) -> "Cloud":
        """With two owners, from these networks, or both from one."""
        clock, ses, couch = FakeClock(), CrashingSes(), FakeCouch()
        aws = FakeAws(lambda: clock().timestamp())
        aws.create_table("table")
        couch.create("control")
        client = aws.client("dynamodb")
        spy = Spy(client, "table")
        context = make_context(couch.server(), "control", spy, ses, clock)
        steps = Steps(context, Claims(client, "table", LEASE_S), ses, clock)
        ses.steps = steps
        networks = networks or (OWNERS_NETWORK,) * 2
        owners = [steps.an_owner(network=network) for network in networks]
        for owner in owners:
            for channel_id in CHANNELS:
                owner.channel(channel_id)
        for what, (per_hour, per_day) in LIMITS.items():
            hour, day = f"mails_per_{what}_hour", f"mails_per_{what}_day"
            with_settings(steps, **{hour: per_hour, day: per_day})
        with_settings(steps, bounces_per_sender_day=BOUNCES)
        clock.move(DAY_S)
        ses.sent.clear()
        ses.taken.clear()
        spy.admitted.clear()
        steps.messages.clear()
        return cls(steps, ses, spy, owners)

    def do(self, act: Act) -> None:
        """Let somebody act; whatever fails is tried again by a replay, or never."""
        match act:
            case Writes():
                self._write(act)
            case Registers():
                self._register(act)
            case Replays() if self.steps.messages:
                message = self.steps.messages[act.number % len(self.steps.messages)]
                with suppress(Exception):
                    self.steps.deliver(message)
            case Fails() if self.ses.sent:
                mail = self.ses.sent[act.number % len(self.ses.sent)]
                self.ses.fails(mail)
                with suppress(TooEarly):  # it comes again, and is counted already
                    said = complaint(mail) if act.is_complaint else bounce(mail)
                    handle_notification(self.steps.context, said)
            case Waits():
                self.steps.clock.move(act.seconds)
            case Turns():
                self.ses.mood = act.mood

    def _write(self, act: Writes) -> None:
        owner, doc_id = self.owners[act.owner], f"invitation-{act.doc}"
        stored = owner.control.find_one(doc_id)
        if stored and act.is_deleted_before:
            owner.control.remove(stored)
            stored = None
        doc: JsonDict = {"_id": doc_id, "type": "invitation", "state": "new"}
        doc |= {"email": spelled(act.guest, act.spelling), "generation": act.generation}
        rev = {"_rev": stored["_rev"]} if stored else {}
        owner.put({**doc, **rev, "channel": CHANNELS[act.channel]})
        with suppress(Exception):
            owner.run(doc_id)

    def _register(self, act: Registers) -> None:
        device = a_device(owner=spelled(act.guest, act.spelling))
        doc_id = f"device-{act.device:012x}4{act.device:03x}8{act.guest:015x}"
        doc = {**device.doc, "_id": doc_id, "generation": act.generation}
        stored = self.steps.control.find_one(doc_id)
        if stored:  # it asks again, with what it has
            kept = ("owner", "name", "device_code", "created_at", "credentials")
            doc |= {name: stored[name] for name in kept}
        body = json.dumps({"docs": [doc], "new_edits": False})
        registrations.bulk_docs(self.steps.context, {}, body, f"192.0.{act.network}.1")
        with suppress(Exception):
            self.steps.run(doc_id)


def spelled(guest: int, number: int) -> str:
    """One of four ways to write a guest's address."""
    address = GUESTS[guest]
    return (address, address.upper(), f" {address}", address.replace("@e", "@E"))[number]


def invites_guest(owner: int, doc: int, guest: int) -> Writes:
    return Writes(owner, doc, guest, 0, 0, 0, is_deleted_before=False)


# Two owners of one network each invite within their own limits; a newcomer registers there.
OF_ONE_NETWORK: list[Act] = [
    *(invites_guest(owner, doc, (owner + doc) % 2) for owner in (0, 1) for doc in (0, 1)),
    Registers(9, 0, 0, 0, 0),
    Waits(HOUR_S),
    *(invites_guest(owner, doc, owner) for owner in (0, 1) for doc in (2, 3)),
]
# Mails of each kind of sender fail, the same one twice; a message of before comes again.
FAILING: list[Act] = [
    invites_guest(0, 0, 0),
    Registers(0, 0, 1, 0, 0),
    *(Fails(number, is_complaint=False) for number in (0, 0, 1, 1)),
    invites_guest(0, 1, 1),
    Fails(2, is_complaint=False),
    Waits(HOUR_S),
    invites_guest(0, 2, 0),
    Registers(0, 1, 0, 0, 0),
    *(Replays(number) for number in range(5)),
    Waits(DAY_S),
    invites_guest(0, 3, 0),
]
# Mails that SES refuses are counted; an hour later others are sent, and then those are tried again.
KEPT_BACK: dict[str, list[Act]] = {
    "to an address": [
        Turns("refuses"),
        *(invites_guest(0, doc, 0) for doc in (0, 1)),
        Waits(HOUR_S),
        Turns("takes"),
        *(invites_guest(1, doc, 0) for doc in (0, 1)),
        *(Replays(number) for number in (0, 1)),
    ],
    "by an owner": [
        Turns("refuses"),
        *(invites_guest(0, doc, doc) for doc in (0, 1)),
        Waits(HOUR_S),
        Turns("takes"),
        *(invites_guest(0, doc, doc % 2) for doc in (2, 3, 4)),
        *(Replays(number) for number in (0, 1)),
    ],
}


@pytest.mark.slow
@example(OF_ONE_NETWORK)
@example(FAILING)
@example(KEPT_BACK["to an address"])
@example(KEPT_BACK["by an owner"])
@settings(max_examples=100)
@given(st.lists(acts, min_size=20, max_size=40))
def test_mails_never_exceed_the_limits_but_for_crashes(sequence: list[Act]) -> None:
    cloud = Cloud.new()
    for act in sequence:
        cloud.do(act)
    taken = cloud.ses.taken
    crashes = sum(mail.is_crash for mail in taken)
    assert len(taken) <= len(cloud.spy.admitted) + crashes
    assert {mail.to for mail in taken} <= set(GUESTS)
    for what, whose in (
        ("address", [mail.to for mail in taken]),
        ("owner", [mail.owner for mail in taken]),
        ("network", [mail.network for mail in taken]),
        ("network", ["of both owners" if mail.owner else "" for mail in taken]),
    ):
        for name in set(whose) - {""}:
            mails = [mail for mail, of in zip(taken, whose, strict=True) if of == name]
            for window_s, limit in zip((HOUR_S, DAY_S), LIMITS[what], strict=True):
                assert most_in(mails, window_s) <= limit, f"too many for an {what}"
    assert all(mail.failed_before < BOUNCES for mail in taken)


def most_in(mails: list[Sent], window_s: int) -> int:
    """The most mails in any window, without those whose worker died."""
    return max(
        sum(start.at_s <= mail.at_s < start.at_s + window_s for mail in mails if not mail.is_crash)
        for start in mails
    )


# A busy hour.

SHARE, BUSY, BUSY_DOMAIN = 2, 6, 4
invites = st.tuples(few, st.integers(0, 2), st.sampled_from([0, 60, 1200, HOUR_S]))


@settings(max_examples=50)
@given(st.lists(invites, min_size=10, max_size=30))
def test_who_has_sent_little_gets_through_in_the_busiest_hour(
    sequence: list[tuple[int, int, int]],
) -> None:
    """And who has sent more is refused from the first mail that finds the hour busy."""
    cloud = Cloud.new("192.0.9.0/24", "198.51.9.0/24")
    with_settings(cloud.steps, mails_busy_hour=BUSY, mails_busy_domain_hour=BUSY_DOMAIN)
    with_settings(cloud.steps, mails_per_owner_hour=20, mails_per_owner_day=100)
    with_settings(cloud.steps, mails_per_network_hour=20, mails_per_network_day=100)
    with_settings(cloud.steps, mails_share_hour=SHARE)
    for number, (whose, domain, wait_s) in enumerate(sequence):
        cloud.steps.clock.move(wait_s)
        now_s, owner = cloud.steps.clock().timestamp(), cloud.owners[whose]
        in_hour = [mail for mail in cloud.ses.taken if mail.at_s // HOUR_S == now_s // HOUR_S]
        to_domain = [mail for mail in in_hour if mail.to.endswith(f"@{domain}.example")]
        own = [m for m in cloud.ses.taken if m.owner == owner.id and m.at_s > now_s - HOUR_S]
        is_busy = len(in_hour) >= BUSY or len(to_domain) >= BUSY_DOMAIN
        address, doc_id = f"x{number}@{domain}.example", f"invitation-{number}"
        state = owner.invite(address, CHANNELS[0], doc_id)["state"]
        assert state == ("error" if is_busy and len(own) >= SHARE else "sent")
