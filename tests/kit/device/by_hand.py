"""A device with a part of a real CouchDB of its own, whose steps are taken one by one."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chalicelib.couch import Database
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import subscription_id
from chalicelib.engine.runner import Message, Outcome, handle
from syncpoint_device import lifecycle
from syncpoint_device.agent import Agent, Intervals
from syncpoint_device.databases import Device
from syncpoint_device.home import Home, Profile
from syncpoint_device.replications import find_missing, leaf_page, revision
from syncpoint_device.transitions import registry
from tests.kit.basics import FakeClock
from tests.kit.cloud.access import exists
from tests.kit.device.profiles import a_profile
from tests.kit.device.removal import remove_devices

MakeKit = Callable[..., "Kit"]
QUICK = Intervals(changes_s=0.2, min_retry_s=0.05, max_retry_s=0.5, pending_s=0.1, check_s=0.1)


@dataclass
class Kit:
    """The device, what it has said, how it was made, and the devices registered beside it."""

    home: Home
    said: list[tuple[str, str]] = field(default_factory=list)
    made: Profile | None = None
    others: list[Home] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, couch: str, **profile: Any) -> "Kit":
        prefix = f"test-device-{uuid.uuid4().hex[:12]}-"
        made = a_profile(**{"couch": couch, "prefix": prefix, **profile})
        kit = cls(Home(folder), made=made)
        kit.home.save(made)
        kit.device.acquire(kit.device.database)
        return kit

    def register_another(self, **changes: Any) -> "Kit":
        """Register one more device; with the CouchDB and the prefix of this one, if not others."""
        another = Kit(Home(self.home.path.parent.parent / "another"))
        self.others.append(another.home)
        given = {
            "owner": self.profile.owner_address,
            "registrations": self.profile.registrations,
            "couch": self.profile.couch,
            "name": "another",
            "prefix": self.profile.prefix,
        }
        lifecycle.register(another.home, self.say, FakeClock(), **(given | changes))
        return another

    def say(self, about: str, what: str) -> None:
        self.said.append((about, what))

    @property
    def profile(self) -> Profile:
        return self.home.load()

    @property
    def device(self) -> Device:
        """With the file as it is, and nothing that was kept in memory."""
        return Device.of(self.profile, self.say, FakeClock())

    def owner_of(self, address: str) -> str:
        return owner_id_of(address)

    def set_cloud(self, url: str) -> None:
        """Let a cloud know the device."""
        self.home.update(
            lambda kept: replace(kept, cloud=url, control_db="control", is_active=True)
        )

    def subscription_id(self, channel_id: str) -> str:
        return subscription_id(channel_id, self.profile.owner_id)

    def subscription(self, channel_id: str) -> JsonDict | None:
        return self.device.database.find_one(self.subscription_id(channel_id))

    def put(self, doc: JsonDict) -> JsonDict:
        """Write a document of the owner's, over the one that is there."""
        known = self.device.database.find_one(doc["_id"])
        rev = {"_rev": known["_rev"]} if known else {}
        self.device.database.put({**doc, **rev})
        return self.device.database.get(doc["_id"])

    def put_subscription(self, channel_id: object, state: str = "active", **more: Any) -> JsonDict:
        doc_id = self.subscription_id(str(channel_id))
        doc = {"_id": doc_id, "type": "subscription", "state": state, "channel": channel_id}
        return self.put({**doc, **more})

    def obey(self, doc: JsonDict) -> Outcome:
        """Let the device do what it does about a document."""
        message = Message(self.device.database.name, doc["_id"], doc["type"], doc["state"], doc)
        return handle(message, registry, self.device)

    def replications(self) -> list[JsonDict]:
        """The documents in `_replicator`; those from here before those to here."""
        docs = [one.doc for one in self.device.replications.all()]
        return sorted(docs, key=lambda doc: self.profile.prefix not in doc["source"]["url"])

    def exists(self, channel_id: str) -> bool:
        """Whether there is a copy of a channel here."""
        return exists(self.device.channel(channel_id))

    def remove(self) -> None:
        """Leave the CouchDB as it was."""
        assert self.made is not None
        homes = [home for home in (self.home, *self.others) if home.is_registered]
        profiles = [self.made, *(home.load() for home in homes)]
        remove_devices(self.made.couch, self.made.prefix, profiles)


@contextmanager
def agent(kit: Kit, intervals: Intervals = QUICK) -> Iterator[list[Exception]]:
    """The device's agent, running; what it ended with, if it did."""
    ended, failures = threading.Event(), []

    def run() -> None:
        try:
            Agent(kit.home, kit.say, FakeClock(), intervals, ended.is_set).run()
        except Exception as exc:
            failures.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield failures
    ended.set()
    thread.join(timeout=120)
    assert not thread.is_alive()


def copy_all(source: Database, target: Database) -> int:
    """Replicate once. Return how many revisions the target refused."""
    page, refused = leaf_page(source, "0"), 0
    while not page.is_last:
        for doc_id, revs in find_missing(page.revs, target).items():
            for rev in revs:
                doc = revision(source, doc_id, rev, max_bytes=1_000_000)
                refused += doc is not None and target.put_revision(doc) is not None
        page = leaf_page(source, page.last_seq)
    return refused
