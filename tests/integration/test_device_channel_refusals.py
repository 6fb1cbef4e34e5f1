"""Documents of a channel that the cloud does not accept: named by `status`, with the reason.

The cloud is on the same CouchDB. The device speaks to it with its own login.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channel_refusals, texts
from syncpoint_device.channel_refusals import find_refused
from syncpoint_device.databases import Device
from syncpoint_device.errors import CloudFailed
from syncpoint_device.progress import MAX_PAGES, Notes
from syncpoint_device.replications import Replication, count_missing
from syncpoint_device.status import status
from tests.kit.basics import wait_for
from tests.kit.cloud.steps import Owner
from tests.kit.device.by_hand import Kit, agent, copy_all
from tests.kit.device.fake_cloud import UNAVAILABLE, FakeCloud
from tests.kit.device.requests_sent import requests_to

CHANNEL = "channel-photos"
# An app on the device writes as its administrator, and may write all.
RULE = """function (doc, known, user) {
  if (doc.odd && user.roles.indexOf('_admin') < 0) throw({ forbidden: 'odd is not allowed.' });
}"""
PICTURE = {"a": {"content_type": "text/plain", "data": "eHk="}}
DESIGN = {"_id": "_design/app", "views": {}}


class Photos:
    """A device's copy of a channel, and that in the cloud, with a rule."""

    def __init__(self, kit: Kit, cloud: Database) -> None:
        self.kit, self.cloud = kit, cloud
        self.notes: Notes = {}

    @property
    def device(self) -> Device:
        return self.kit.device

    @property
    def local(self) -> Database:
        return self.device.channel(CHANNEL)

    @property
    def as_seen(self) -> Database:
        """The channel in the cloud, with the device's login."""
        return self.device.channel_in_cloud(CHANNEL)

    def put(self, *docs: JsonDict) -> None:
        for doc in docs:
            known = self.local.find_one(doc["_id"]) or {}
            self.local.put({**known, **doc})

    def refused(self, *passed: Replication, **kwargs: Any) -> dict[str, str]:
        """What is found now; `passed` are the device's replications."""
        found = find_refused(self.local, self.as_seen, passed, self.notes, **kwargs)
        return {one.doc_id: one.reason for one in found}

    def status(self, *, is_exact: bool = False) -> JsonDict:
        [one] = status(self.device, self.kit.home, is_exact=is_exact)["channels"]
        return dict(one)

    def replicated_through(self, seq: object) -> Replication:
        """A replication that has passed all changes up to `seq`."""
        doc = {"source": {"url": self.local.url}, "target": {"url": self.cloud.url}}
        return Replication(doc, self.local.name, "running", None, "job", {"through_seq": seq})

    def replicated(self) -> Replication:
        return self.replicated_through(self.local.info()["update_seq"])


@pytest.fixture
def photos(adas_kit: Kit, ada: Owner, server: Server) -> Photos:
    ada.channel(CHANNEL)
    copy_all(adas_kit.device.cloud_control, adas_kit.device.database)
    device = adas_kit.device
    device.acquire(device.channel(CHANNEL))
    adas_kit.put_subscription(CHANNEL)
    cloud = server.database(device.channel_in_cloud(CHANNEL).name)
    cloud.put({"_id": "_design/rule", "validate_doc_update": RULE})
    photos = Photos(adas_kit, cloud)
    copy_all(photos.as_seen, photos.local)
    return photos


# What is found


def test_what_the_cloud_refuses_is_found_with_the_reason(photos: Photos) -> None:
    photos.put(DESIGN, {"_id": "one", "odd": 1}, {"_id": "two"})
    assert photos.refused() == {
        "one": "odd is not allowed.",
        "_design/app": channel_refusals.DESIGN,
    }
    assert photos.cloud.find_one("two")  # it was only waiting


def test_the_exact_status_finds_what_lies_deep_in_a_large_channel(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncpoint_device.status.MAX_PAGES", 0)  # all of it is too deep
    photos.put({"_id": "one", "odd": 1})
    assert photos.status()["refused"] == []
    assert photos.status(is_exact=True)["refused"] == [
        {"document": "one", "reason": "odd is not allowed."}
    ]


def test_it_is_found_again_by_the_next_process(photos: Photos) -> None:
    photos.put(DESIGN, {"_id": "one", "odd": 1})
    first = photos.refused()
    assert photos.refused() == first
    assert len(first) == 2


def test_what_was_corrected_or_deleted_here_is_found_no_more(photos: Photos) -> None:
    docs = [{"_id": name, "odd": 1} for name in ("fixed", "gone")]
    photos.put(DESIGN, *docs)
    assert len(photos.refused()) == 3
    photos.put({"_id": "fixed", "odd": 0})
    for name in ("gone", "_design/app"):
        photos.local.remove(photos.local.get(name))
    assert photos.refused() == {}
    assert photos.cloud.get("fixed")["odd"] == 0


def test_what_the_rules_allow_later_arrives(photos: Photos) -> None:
    photos.put({"_id": "one", "odd": 1})
    assert len(photos.refused()) == 1
    photos.cloud.remove(photos.cloud.get("_design/rule"))
    assert photos.refused() == {}
    assert photos.cloud.get("one")


def test_an_unchanged_design_document_of_the_clouds_is_not_refused(photos: Photos) -> None:
    photos.cloud.put({"_id": "_design/theirs", "language": "javascript"})
    doc = photos.cloud.leaves("_design/theirs")[0]
    photos.local.put_revision(doc)
    assert photos.refused() == {}


def test_a_description_that_a_guest_edits_is_no_refusal(photos: Photos) -> None:
    photos.put({"_id": "description", "name": "Mine"})
    assert photos.refused() == {}
    assert photos.cloud.get("description")["name"] == "Mine"


# Attachments, and what is large


def test_what_has_an_attachment_is_not_sent_again(photos: Photos) -> None:
    photos.put({"_id": "picture", "_attachments": PICTURE}, {"_id": "odd", "odd": 1})
    with requests_to(photos.cloud) as sent, requests_to(photos.local) as read:
        assert photos.refused() == {"odd": "odd is not allowed."}
    assert len([one for one in sent if "_bulk_docs" in one]) == 1
    assert not [one for one in read if "attachments=true" in one]
    assert photos.cloud.find_one("picture") is None


@pytest.mark.parametrize("more", [{"_attachments": PICTURE}, {"text": "x" * 1_500_000}])
def test_what_cannot_be_sent_again_is_told_when_the_replicator_has_passed_it(
    photos: Photos, more: JsonDict
) -> None:
    photos.put({"_id": "before"})
    before = photos.replicated()
    photos.put({"_id": "picture", **more})
    assert photos.refused() == {}  # PouchDB Server does not say how far it is
    assert photos.refused(before) == {}
    assert photos.refused(photos.replicated()) == {"picture": channel_refusals.NOT_ACCEPTED}
    assert photos.refused(photos.replicated_through(None)) == {}  # it does not run


@pytest.mark.real
def test_a_document_that_is_too_large_for_the_cloud_is_told(photos: Photos, server: Server) -> None:
    photos.put({"_id": "large", "text": "x" * 200_000})
    known = server.config_get("couchdb", "max_document_size")
    server.config_set("couchdb", "max_document_size", "100000")
    try:
        assert photos.refused() == {"large": "it is larger than the cloud accepts"}
    finally:
        server.config_set("couchdb", "max_document_size", known or "8000000")


# The cost


def test_no_more_than_twenty_are_told_and_the_others_take_their_places(photos: Photos) -> None:
    docs = [{"_id": f"odd-{number:02}", "odd": 1} for number in range(45)]
    photos.put(*docs)
    for left in (20, 20, 5, 0):
        found = photos.refused()
        assert len(found) == left
        for doc_id in found:
            photos.local.remove(photos.local.get(doc_id))


def test_a_correction_is_seen_while_there_are_more_than_twenty(photos: Photos) -> None:
    photos.put(*({"_id": f"odd-{number:02}", "odd": 1} for number in range(30)))
    first = next(iter(photos.refused()))
    photos.put({"_id": first, "odd": 0})
    assert first not in photos.refused()


@pytest.mark.parametrize("is_again", [False, True])
def test_it_costs_few_requests_however_many_documents_there_are(
    photos: Photos, is_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncpoint_device.replications._CHANGES_PAGE", 20)
    photos.put(*({"_id": f"note-{number:03}"} for number in range(90)))
    copy_all(photos.local, photos.as_seen)
    if is_again:
        photos.refused(max_pages=9)
    with requests_to(photos.cloud) as there, requests_to(photos.local) as here:
        photos.refused()
    assert len(there) <= (0 if is_again else MAX_PAGES)
    assert len(here) <= MAX_PAGES + 2  # the mark, which is written once
    photos.put({"_id": "one", "odd": 1})
    assert list(photos.refused(max_pages=9)) == ["one"]


def test_the_agent_asks_only_once(photos: Photos) -> None:
    photos.put(DESIGN, {"_id": "one", "odd": 1})
    first = photos.refused(asks_again=False)
    with requests_to(photos.cloud) as sent:
        assert photos.refused(asks_again=False) == first
    assert [one for one in sent if "_bulk_docs" in one] == []
    photos.put({"_id": "one", "odd": 2})
    with requests_to(photos.cloud) as sent:
        assert photos.refused(asks_again=False) == first
    assert len([one for one in sent if "_bulk_docs" in one]) == 1


# When it begins from the start


@pytest.mark.parametrize(
    "note",
    [
        {"since": 5},
        {"since": None, "lacking": [], "refused": {}},
        {"lacking": {"one": "1-a"}, "refused": {"one": 5}},
        {"instance": [], "cloud": {}},
    ],
)
def test_an_odd_note_does_no_harm(photos: Photos, note: JsonDict) -> None:
    photos.put({"_id": "one", "odd": 1})
    photos.refused()
    photos.notes[photos.local.name] |= note
    assert list(photos.refused()) == ["one"]


def test_another_database_here_or_there_is_compared_from_its_start(photos: Photos) -> None:
    photos.put({"_id": "one", "odd": 1})
    photos.refused()
    photos.local.delete()
    photos.local.create()
    photos.put({"_id": "two", "odd": 1})
    assert list(photos.refused()) == ["two"]
    photos.put({"_id": "three"})
    assert list(photos.refused()) == ["two"]
    other = photos.device.channel("other")
    other.create()
    find_refused(photos.local, other, [], photos.notes)
    assert other.find_one("three")


def test_a_cloud_that_fails_makes_no_refusal_and_loses_none(
    photos: Photos, fake_cloud: FakeCloud
) -> None:
    photos.put({"_id": "one", "odd": 1})
    cloud = photos.kit.profile.cloud
    for answers in ({"_revs_diff": UNAVAILABLE}, {"_bulk_docs": UNAVAILABLE}):
        rev = photos.local.get("one")["_rev"]
        fake_cloud.answers = {"_revs_diff": (200, {"one": {"missing": [rev]}}), **answers}
        photos.kit.home.update(lambda kept: replace(kept, cloud=fake_cloud.couch_url))
        with pytest.raises(CloudFailed):
            photos.refused()
        assert "refused" in photos.status()
    photos.kit.home.update(lambda kept: replace(kept, cloud=cloud))
    assert list(photos.refused()) == ["one"]


# The status and the agent


def test_the_status_names_what_a_channel_lacks_apart_from_what_waits(photos: Photos) -> None:
    photos.put(DESIGN, {"_id": "one", "odd": 1}, {"_id": "picture", "_attachments": PICTURE})
    one = photos.status()
    assert one["refused"] == [
        {"document": "one", "reason": "odd is not allowed."},
        {"document": "_design/app", "reason": channel_refusals.DESIGN},
    ]
    assert one["to_send"] == 1  # the picture
    lines = texts.status(status(photos.device, photos.kit.home)).splitlines()
    said = [line.strip() for line in lines if line.strip().startswith("the cloud refused")]
    assert said == [
        "the cloud refused one: odd is not allowed. It stays on this device",
        f"the cloud refused _design/app: {channel_refusals.DESIGN}. It stays on this device",
    ]
    assert photos.status(is_exact=True)["to_send"] == 1


@pytest.mark.parametrize("state", ["paused", "stopped"])
def test_nothing_of_a_channel_that_is_not_replicated_is_sent(photos: Photos, state: str) -> None:
    photos.put({"_id": "two"})
    photos.kit.put_subscription(CHANNEL, state)
    assert "refused" not in photos.status()
    assert photos.cloud.find_one("two") is None


def test_the_agent_tells_each_refused_document_once(photos: Photos) -> None:
    photos.put(DESIGN, {"_id": "one", "odd": 1})

    def told() -> list[str]:
        return [what for _, what in photos.kit.said if what.startswith("refused")]

    with agent(photos.kit):
        wait_for(lambda: len(told()) == 2, "word of both")
        photos.put({"_id": "two", "odd": 1})
        wait_for(lambda: len(told()) == 3, "word of the third")
        photos.put({"_id": "last"})
        wait_for(lambda: photos.cloud.find_one("last"), "a document in the cloud")
    assert told() == [
        "refused one in “Photos”: odd is not allowed. It stays on this device",
        f"refused _design/app in “Photos”: {channel_refusals.DESIGN}. It stays on this device",
        "refused two in “Photos”: odd is not allowed. It stays on this device",
    ]
    assert count_missing(photos.local, photos.cloud) == 2


@pytest.fixture(autouse=True)
def _end_replications(adas_kit: Kit) -> Iterator[None]:
    yield
    adas_kit.device.replications.end_all()
