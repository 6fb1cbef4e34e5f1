"""Devices as tests have them: a CouchDB each, an agent that can be started and ended."""

import threading
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.couch import Database, NotFound, Server, Unavailable
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db, subscription_id
from local.net import Net
from syncpoint_device import channels, lifecycle
from syncpoint_device.agent import Agent, Intervals
from syncpoint_device.cloud import Registrations
from syncpoint_device.databases import Device
from syncpoint_device.endpoints import endpoint
from syncpoint_device.home import Home, Profile
from syncpoint_device.replications import Direction, Replications
from tests.kit.basics import wait_for
from tests.kit.device.removal import remove_devices
from tests.kit.system.registering import Where, mails_about, mails_to, post, replicate_once

END_LIMIT_S = 120
QUICK = Intervals(changes_s=0.2, min_retry_s=0.05, max_retry_s=0.5, pending_s=0.2, check_s=0.3)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Gadget:
    """A device with its own CouchDB (or its own part of one), and its agent."""

    where: Where
    net: Net
    registrations: str
    couch: str
    folder: Path
    name: str
    owner: str
    prefix: str = field(default_factory=lambda: f"test-device-{uuid.uuid4().hex[:12]}-")
    said: list[tuple[str, str]] = field(default_factory=list)
    failure: Exception | None = None
    registered: list[Profile] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder /= f"{self.prefix}{self.name}"
        self.home = Home(self.folder)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    # What its user does.

    def register(self) -> JsonDict:
        said = lifecycle.register(
            self.home,
            self.say,
            now,
            owner=self.owner,
            registrations=self.registrations,
            couch=self.couch,
            name=self.name,
            prefix=self.prefix,
        )
        self.registered.append(self.home.load())
        return said

    def confirm(self) -> None:
        """Open the link in the mail, and type the device code."""
        link = wait_for(self.link, "the mail with the link")
        assert post(link, device_code=self.code).status_code == 303

    def link(self) -> str | None:
        """The newest link in a mail about this device, once its answer is taken.

        The mail may be there a moment before the document says so.
        """
        mails = mails_about(self.where, self.owner, self.id)
        is_open = bool(mails) and Registrations(self.registrations).state(self.id) == "confirming"
        return str(mails[-1]["links"][0]) if is_open else None

    def become_active(self) -> "Gadget":
        """All of it, until the agent follows the cloud."""
        self.register()
        self.start()
        self.confirm()
        wait_for(lambda: self.heard("registration", "active"), "an active device")
        wait_for(lambda: channels.own_state(self.device) == "active", "its document here")
        return self

    def create(self, name: str = "Photos") -> str:
        """A new channel; its id."""
        return str(channels.create(self.device, name)["channel"])

    # Its agent.

    def start(self) -> None:
        self._ended = threading.Event()
        agent = Agent(self.home, self.say, now, QUICK, self._ended.is_set)
        self._thread = threading.Thread(target=self._run, args=(agent,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join(timeout=END_LIMIT_S)
            assert not self._thread.is_alive()
        self._thread = None

    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, agent: Agent) -> None:
        try:
            agent.run()
        except Exception as exc:
            self.failure = exc

    def say(self, about: str, what: str) -> None:
        self.said.append((about, what))

    def heard(self, about: str, part: str, after: int = 0) -> str | None:
        """What the agent said about something, with a certain text in it; after so many words."""
        said = self.said[after:]
        return next((what for who, what in said if who == about and part in what), None)

    # What it holds.

    @property
    def device(self) -> Device:
        return Device.of(self.home.load(), self.say, now)

    @property
    def as_administrator(self) -> Device:
        """The same with the administrator's login: an unlink removes the agent's own."""
        profile = replace(self.home.load(), couch=self.couch)
        return Device.of(profile, self.say, now)

    @property
    def id(self) -> str:
        return self.device.profile.device_id

    @property
    def code(self) -> str:
        return str(self.device.profile.doc["device_code"])

    @property
    def control(self) -> Database:
        """Its copy of its owner's control database."""
        return self.device.database

    def copy(self, channel_id: str) -> Database:
        """Its copy of a channel."""
        return self.device.channel(channel_id)

    def subscription(self, channel_id: str) -> JsonDict | None:
        return self.control.find_one(subscription_id(channel_id, self.device.profile.owner_id))

    def replicated(self) -> list[tuple[str, str]]:
        """What is replicated: from, to; in order."""
        running = self.device.replications.all()
        return sorted((one.doc["source"]["url"], one.doc["target"]["url"]) for one in running)

    def replicates(self, channel_id: str) -> list[int]:
        """How a channel is replicated: a 0 for each way from here, a 1 for each to here."""
        here = self.copy(channel_id).url
        return sorted(way.index(here) for way in self.replicated() if here in way)

    def both_ways(self, channel_id: str) -> bool:
        """Whether a channel is replicated once each way."""
        return self.replicates(channel_id) == [0, 1]

    def end_replications(self) -> None:
        """Replicate nothing any more, and wait until its CouchDB has heard so.

        CouchDB's scheduler says so. PouchDB Server takes one document of `_replicator` after the
        other: one that is written later is begun when those have ended.
        """
        device = self.device
        device.replications.end_all()
        later = Replications(device.server, f"later-{uuid.uuid4().hex}")
        nowhere = endpoint("http://127.0.0.1:9/nowhere")
        later.reconcile("later", [Direction(device.here(device.database), nowhere)])
        try:
            wait_for(
                lambda: {one.state for one in later.all()}.isdisjoint({"new", "initializing"}),
                "the end of its replications",
            )
        finally:
            later.remove_all()

    def exchange(self, other: "Gadget", channel_id: str) -> None:
        """Replicate a channel with another device, once each way, with no cloud between them."""
        one, two = (f"{device.couch}/{device.copy(channel_id).name}" for device in (self, other))
        for source, target in ((one, two), (two, one)):
            replicate_once(self.couch, source, target)

    def has_obeyed(self, channel_id: str) -> bool:
        """Whether its replications are what its copy of the subscription says."""
        state = (self.subscription(channel_id) or {}).get("state")
        return self.replicates(channel_id) == ([0, 1] if state == "active" else [])

    def wait_for_doc(self, database: Database, doc_id: str) -> JsonDict:
        return wait_for(lambda: database.find_one(doc_id), f"{doc_id} on the {self.name}")

    def remove(self) -> None:
        """Leave its CouchDB as it was."""
        self.stop()
        remove_devices(self.couch, self.prefix, self.registered)
        self.home.remove()


def in_cloud(gadget: Gadget, channel_id: str) -> Database:
    """A channel's database in the cloud, as its administrator sees it."""
    url = str(gadget.control.get(channel_id)["syncpoint"])
    return Server(gadget.where.couch).database(url.rpartition("/")[2])


def control_in_cloud(gadget: Gadget) -> Database:
    """The owner's control database in the cloud, as its administrator sees it."""
    name = owner_control_db(gadget.where.control_db, owner_id_of(gadget.owner))
    return Server(gadget.where.couch).database(name)


def a_shared_channel(phone: Gadget, laptop: Gadget) -> str:
    """A channel that both devices replicate; its id."""
    channel_id = phone.create()
    for one in (phone, laptop):
        wait_for_sync(one, channel_id)
    return channel_id


def share_with(phone: Gadget, guest: Gadget) -> tuple[str, str]:
    """Share a channel with another owner's device; its id, and the name that the guest knows."""
    channel_id = phone.create("Photos")
    wait_for_sync(phone, channel_id)
    invitation = channels.invite(phone.device, "Photos", guest.owner)["invitation"]
    wait_for_state(control_in_cloud(phone), invitation, "sent")
    link = wait_for(lambda: link_with(guest, "/invitation/"), "the invitation's mail")
    assert post(link, answer="accept").status_code == 303
    db = in_cloud(phone, channel_id).name
    wait_for_sync(guest, db)
    return channel_id, db


def link_with(gadget: Gadget, part: str) -> str | None:
    links = [str(mail["links"][0]) for mail in mails_to(gadget.where, gadget.owner)]
    return next((link for link in links if part in link), None)


def wait_until_obeyed(gadget: Gadget, channel_id: str) -> None:
    wait_for(lambda: gadget.has_obeyed(channel_id), f"replications on the {gadget.name}")


def wait_for_sync(gadget: Gadget, channel_id: str) -> None:
    wait_for(lambda: gadget.both_ways(channel_id), f"replication on the {gadget.name}")


def is_gone(database: Database) -> bool:
    """Whether a database does not exist. One that is just being deleted may still answer 500."""
    try:
        database.info()
    except NotFound:
        return True
    except Unavailable:
        return False
    return False


def wait_for_word(gadget: Gadget, about: str, part: str, after: int = 0) -> None:
    wait_for(lambda: gadget.heard(about, part, after), f"“{part}” of {about} on the {gadget.name}")


def wait_for_rev(database: Database, doc_id: str, rev: str) -> None:
    def is_there() -> bool:
        return bool((database.find_one(doc_id) or {}).get("_rev") == rev)

    wait_for(is_there, f"{doc_id} in {database.name}")


def wait_for_state(database: Database, doc_id: str, state: str) -> None:
    def is_there() -> bool:
        return bool((database.find_one(doc_id) or {}).get("state") == state)

    wait_for(is_there, f"{doc_id} in state {state}")
