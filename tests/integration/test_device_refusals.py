"""Documents that the cloud's rules refuse: found, told with the reason, and undone.

The cloud is a control database with the real rules, on the same CouchDB. The device speaks to it
with its own login.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from chalicelib.couch import Database, Server
from chalicelib.domain.documents import JsonDict
from syncpoint_device import refusals, texts
from syncpoint_device.databases import CONTROL, Device
from syncpoint_device.errors import CloudFailed, DeviceError, Revoked
from syncpoint_device.refusals import Refusal, Refusals, undo
from syncpoint_device.replications import count_missing
from syncpoint_device.status import status
from tests.kit.basics import wait_for
from tests.kit.cloud.steps import Owner
from tests.kit.device.by_hand import Kit, MakeKit, copy_all
from tests.kit.device.fake_cloud import UNAUTHORIZED, UNAVAILABLE, FakeCloud
from tests.kit.device.requests_sent import requests_to

LONG = "x" * 81
DOC_ID = "channel-photos"


@dataclass
class Phone:
    """An active device of Ada's, its copy of her control database, and that in the cloud."""

    kit: Kit
    ada: Owner

    @property
    def device(self) -> Device:
        return self.kit.device

    @property
    def local(self) -> Database:
        return self.device.database

    @property
    def cloud(self) -> Database:
        """The control database in the cloud, as the device sees it."""
        return self.device.cloud_control

    def push(self) -> int:
        """Send everything, as a replicator does. Return how many revisions the cloud refused."""
        return copy_all(self.local, self.cloud)

    def pull(self) -> None:
        copy_all(self.cloud, self.local)

    def edit(self, doc_id: str, **fields: Any) -> JsonDict:
        """Change a document on the device, where no rule holds."""
        doc = {**(self.local.find_one(doc_id) or {"_id": doc_id}), **fields}
        return {**doc, "_rev": self.local.put(doc)}

    def refused(self) -> list[Refusal]:
        """What a process that has just begun finds."""
        return list(Refusals().find(self.device))

    def undo(self, doc_id: str = DOC_ID) -> JsonDict:
        return undo(self.kit.home, self.device, doc_id)

    def is_as_in_the_cloud(self, doc_id: str = DOC_ID) -> bool:
        """Whether both have the same winner and no conflict, and nothing waits to be sent."""
        here, there = (one.find_one(doc_id, conflicts=True) for one in (self.local, self.cloud))
        assert here == there
        assert "_conflicts" not in (here or {})
        assert count_missing(self.local, self.cloud) == 0
        assert count_missing(self.cloud, self.local) == 0
        assert self.refused() == []
        return True


@pytest.fixture
def phone(ada: Owner, adas_kit: Kit) -> Phone:
    phone = Phone(adas_kit, ada)
    phone.pull()
    return phone


@pytest.fixture
def photos(phone: Phone) -> Phone:
    """The phone, when the owner's channel is ready and everywhere."""
    phone.ada.channel(DOC_ID)
    phone.pull()
    return phone


# What is found


def test_a_refused_document_is_found_with_the_reason(photos: Phone) -> None:
    doc = photos.edit(DOC_ID, name=LONG)
    assert photos.push() == 1
    [found] = photos.refused()
    assert (found.doc_id, found.rev) == (DOC_ID, doc["_rev"])
    assert found.reason.startswith("name must be a text of 1 to 80 characters")


def test_a_document_that_only_waits_is_not_refused_and_arrives(photos: Phone) -> None:
    photos.edit(DOC_ID, name="Holidays")
    photos.edit("channel-new", type="channel", state="new", name="Letters")
    assert photos.refused() == []
    assert photos.cloud.get(DOC_ID)["name"] == "Holidays"
    assert photos.is_as_in_the_cloud("channel-new")


def test_a_refused_revision_is_sent_and_told_once(photos: Phone) -> None:
    finder = Refusals()
    photos.edit(DOC_ID, name=LONG)
    assert len(list(finder.find(photos.device))) == 1
    with requests_to(photos.cloud) as sent:
        assert list(finder.find(photos.device)) == []
        finder.start_over()
        assert list(finder.find(photos.device)) == []
    assert [one for one in sent if "_bulk_docs" in one] == []
    photos.edit(DOC_ID, name="")
    assert len(list(finder.find(photos.device))) == 1


def test_while_nothing_changes_the_cloud_is_not_asked(photos: Phone) -> None:
    finder = Refusals()
    photos.edit(DOC_ID, name=LONG)
    list(finder.find(photos.device))
    with requests_to(photos.cloud) as sent:
        list(finder.find(photos.device))
    assert sent == []


def test_a_document_that_is_corrected_before_it_is_asked_about_is_fine(photos: Phone) -> None:
    photos.edit(DOC_ID, name=LONG)
    photos.push()
    photos.edit(DOC_ID, name="Holidays")
    assert photos.refused() == []
    assert photos.is_as_in_the_cloud()


def test_no_round_sends_more_than_a_few_revisions(phone: Phone) -> None:
    for number in range(45):
        phone.edit(f"odd-{number:02}", type="channel", state="new", name="")
    finder = Refusals()
    rounds = [len(list(finder.find(phone.device))) for _ in range(4)]
    assert rounds == [20, 20, 5, 0]


def test_a_document_that_the_cloud_fails_at_does_not_delay_the_others(
    phone: Phone, fake_cloud: FakeCloud
) -> None:
    for number in range(3):
        phone.edit(f"odd-{number}", type="channel", state="new", name="")
    of_the_fake(phone, fake_cloud)
    lacking = {f"odd-{number}": {"missing": [rev]} for number, rev in enumerate(revs_of(phone))}
    fake_cloud.answers = {"_revs_diff": (200, lacking), "_bulk_docs": UNAVAILABLE}
    finder = Refusals()
    for _ in range(2):
        with pytest.raises(CloudFailed):
            list(finder.find(phone.device))
    asked = [one.body["docs"][0]["_id"] for one in fake_cloud.asked if one.path.endswith("_docs")]
    assert len(set(asked)) == 2


def revs_of(phone: Phone) -> list[str]:
    return [phone.local.get(f"odd-{number}")["_rev"] for number in range(3)]


def live_leaves(database: Database, doc_id: str) -> set[str]:
    return {leaf["_rev"] for leaf in database.leaves(doc_id) if not leaf.get("_deleted")}


@pytest.mark.parametrize("removed", [["loser"], ["winner"], ["loser", "winner"]])
def test_a_branch_that_ended_here_ends_in_the_cloud_too(photos: Phone, removed: list[str]) -> None:
    """The agent asks before the replicator has sent it; the cloud then lacks nothing more."""
    doc_id = photos.kit.subscription_id(DOC_ID)
    photos.edit(doc_id, type="subscription", state="active", channel=DOC_ID)
    photos.push()
    photos.edit(doc_id, state="paused")
    photos.cloud.update(doc_id, lambda doc: {**doc, "state": "stopped"})
    photos.push()
    photos.pull()
    winner = photos.local.get(doc_id, conflicts=True)
    [loser] = winner["_conflicts"]
    revs = {"winner": winner["_rev"], "loser": loser}
    for which in removed:
        photos.local.remove(photos.local.leaf(doc_id, revs[which]))
    assert photos.refused() == []
    photos.push()
    left = set(revs.values()) - {revs[which] for which in removed}
    assert live_leaves(photos.local, doc_id) == live_leaves(photos.cloud, doc_id) == left


def test_a_deletion_that_changes_nothing_is_not_told(photos: Phone) -> None:
    photos.edit("gone-before-it-came", type="channel", state="new", name="")
    photos.local.remove(photos.local.get("gone-before-it-came"))
    assert photos.refused() == []


def test_a_refused_deletion_of_what_the_cloud_has_deleted_is_not_told(photos: Phone) -> None:
    photos.local.remove(photos.edit(DOC_ID, name=LONG))
    assert photos.push() == 1
    photos.ada.control.remove(photos.ada.control.get(DOC_ID))
    photos.pull()
    assert photos.refused() == []
    assert photos.is_as_in_the_cloud()


def test_a_deletion_that_the_cloud_refuses_is_told(photos: Phone) -> None:
    photos.local.remove(photos.local.get(DOC_ID))
    [found] = photos.refused()
    assert "cannot be deleted" in found.reason


DEEP = json.loads("[" * 200 + "]" * 200)
UNREADABLE: dict[str, Callable[[], str]] = {
    "deep": lambda: '{"docs": [{"_id": "bad", "x": ' + "[" * 1500 + "]" * 1500 + "}]}",
    "large": lambda: json.dumps({"docs": [{"_id": "bad", "x": "y" * 1_500_000}]}),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_document_that_cannot_be_read_is_told_and_undone(photos: Phone, kind: str) -> None:
    put_raw(photos, UNREADABLE[kind]())
    photos.edit(DOC_ID, name=LONG)
    found = {one.doc_id: one.reason for one in photos.refused()}
    assert found.keys() == {"bad", DOC_ID}
    assert found["bad"].startswith("this device cannot read it")
    said = photos.undo("bad")
    assert (said["undone"], said["in_cloud"], said["kept"]) == (True, False, [])
    photos.undo()
    assert photos.is_as_in_the_cloud()


def put_raw(phone: Phone, body: str) -> None:
    """Write a document that Python's JSON cannot make."""
    url = f"{phone.kit.profile.couch}/{phone.local.name}/_bulk_docs"
    headers = {"Content-Type": "application/json"}
    assert requests.post(url, data=body, headers=headers, timeout=30).status_code == 201


# What is undone

Edit = Callable[[Phone], object]

REFUSED_EDITS: dict[str, Edit] = {
    "a name": lambda phone: phone.edit(DOC_ID, name=LONG),
    "a state": lambda phone: phone.edit(DOC_ID, state="shared"),
    "a field of the cloud": lambda phone: phone.edit(DOC_ID, syncpoint="https://x.example/db"),
    "a deletion": lambda phone: phone.local.remove(phone.local.get(DOC_ID)),
    "several edits": lambda phone: [phone.edit(DOC_ID, name=LONG, n=n) for n in range(4)],
    "a deep one": lambda phone: phone.edit(DOC_ID, name=LONG, x=DEEP),
    "a large one": lambda phone: phone.edit(DOC_ID, x="y" * 70_000),
    "an attachment": lambda phone: phone.edit(
        DOC_ID, _attachments={"a": {"content_type": "text/plain", "data": "eHk="}}
    ),
}


@pytest.mark.parametrize("edit", REFUSED_EDITS.values(), ids=REFUSED_EDITS)
def test_after_an_undo_both_have_the_clouds_version(photos: Phone, edit: Edit) -> None:
    """Whether the cloud's version has moved on since, and whether it is here already."""
    for has_moved, is_pulled in itertools.product([False, True], repeat=2):
        name = f"Photos, {has_moved}, {is_pulled}"  # else the edit is the one that was undone
        photos.ada.edit(DOC_ID, name=name)
        photos.pull()
        edit(photos)
        photos.push()
        if has_moved:
            name = f"Holidays, {is_pulled}"
            photos.ada.edit(DOC_ID, name=name)
        if is_pulled:
            photos.pull()
        # The cloud's newer version wins over a deletion.
        is_back = edit is REFUSED_EDITS["a deletion"] and has_moved and is_pulled
        assert photos.undo()["undone"] is not is_back
        assert photos.local.get(DOC_ID)["name"] == name
        assert photos.is_as_in_the_cloud()
        assert photos.push() == 0


@pytest.mark.parametrize("doc_id", ["odd", "a b/é?#%", "-x", ".", "x" * 9000])
def test_a_document_that_the_cloud_never_had_is_deleted_here(phone: Phone, doc_id: str) -> None:
    body = {"docs": [{"_id": doc_id, "type": "channel", "state": "new", "name": ""}]}
    phone.device.server.http.request("POST", f"/{phone.local.name}/_bulk_docs", body=body)
    said = phone.undo(doc_id)
    assert (said["undone"], said["in_cloud"]) == (True, False)
    assert not refusals.is_there(phone.local, doc_id)
    assert phone.refused() == []
    assert count_missing(phone.local, phone.cloud) == 0


def test_a_document_that_the_cloud_has_deleted_is_deleted_here(photos: Phone) -> None:
    photos.edit(DOC_ID, name=LONG)
    photos.ada.control.remove(photos.ada.control.get(DOC_ID))
    said = photos.undo()
    assert (said["undone"], said["in_cloud"]) == (True, False)
    assert photos.is_as_in_the_cloud()


def test_what_is_done_after_an_undo_is_sent(photos: Phone) -> None:
    photos.edit(DOC_ID, name=LONG)
    photos.undo()
    photos.edit(DOC_ID, name="Holidays")
    assert photos.push() == 0
    assert photos.cloud.get(DOC_ID)["name"] == "Holidays"
    photos.ada.edit(DOC_ID, name="Letters")
    photos.pull()
    assert photos.local.get(DOC_ID)["name"] == "Letters"
    assert photos.is_as_in_the_cloud()


def test_another_device_that_has_the_refused_edit_is_put_right_too(
    photos: Phone, make_kit: MakeKit
) -> None:
    """It came from device to device; the deletion of the refused revision follows it."""
    kit = make_kit(owner=photos.ada.address)
    kit.home.update(lambda _: replace(photos.kit.profile, prefix=kit.profile.prefix))
    laptop = Phone(kit, photos.ada)
    photos.edit(DOC_ID, name=LONG)
    copy_all(photos.local, laptop.local)
    assert laptop.local.get(DOC_ID)["name"] == LONG
    photos.undo()
    laptop.pull()
    assert laptop.is_as_in_the_cloud()


def test_two_refused_branches_are_undone_together(photos: Phone) -> None:
    first = photos.local.get(DOC_ID)
    photos.edit(DOC_ID, name=LONG)
    number, _, digest = first["_rev"].partition("-")
    revisions = {"start": int(number) + 1, "ids": ["b" * 32, digest]}
    other = {**first, "_rev": f"{int(number) + 1}-{'b' * 32}", "name": LONG + LONG}
    photos.local.put_revision({**other, "_revisions": revisions})
    assert len(photos.refused()) == 2
    said = photos.undo()
    assert len(said["kept"]) == len(said["reasons"]) == 2
    assert photos.is_as_in_the_cloud()


def test_the_refused_content_is_kept_in_a_file_of_the_users_own(photos: Phone) -> None:
    photos.edit(DOC_ID, name=LONG)
    [path] = photos.undo()["kept"]
    kept = json.loads(Path(path).read_text())
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert (kept["_id"], kept["name"]) == (DOC_ID, LONG)


# What is not undone


def test_a_document_that_was_not_refused_stays_as_it_is(photos: Phone) -> None:
    for fields in ({}, {"name": "Holidays"}):
        before = photos.edit(DOC_ID, **fields)
        said = photos.undo()
        assert (said["undone"], said["kept"]) == (False, [])
        assert photos.local.get(DOC_ID) == photos.cloud.get(DOC_ID) == before


def test_a_second_undo_changes_nothing(photos: Phone) -> None:
    photos.edit(DOC_ID, name=LONG)
    photos.undo()
    before = photos.local.get(DOC_ID)
    assert photos.undo()["undone"] is False
    assert photos.local.get(DOC_ID) == before


def test_an_unknown_document_cannot_be_undone(photos: Phone) -> None:
    for doc_id in ("channel-x", "", "_design/syncpoint", "_local/syncpoint", "\ud800"):
        with pytest.raises(DeviceError, match="there is no document “"):
            photos.undo(doc_id)


@pytest.mark.parametrize("answer", [UNAUTHORIZED, UNAVAILABLE, (200, {"odd": 1}), (200, b"[[")])
def test_without_the_cloud_nothing_is_refused_nor_undone(
    photos: Phone, fake_cloud: FakeCloud, answer: tuple[int, Any]
) -> None:
    before = photos.edit(DOC_ID, name=LONG)
    of_the_fake(photos, fake_cloud)
    fake_cloud.couch = answer
    with pytest.raises(CloudFailed):
        photos.refused()
    with pytest.raises(CloudFailed, match="the cloud cannot be asked: "):
        photos.undo()
    assert photos.local.get(DOC_ID, conflicts=True) == before


def of_the_fake(phone: Phone, fake_cloud: FakeCloud) -> None:
    """Let the device take the fake cloud for its own."""
    phone.kit.home.update(lambda kept: replace(kept, cloud=fake_cloud.couch_url))


def test_before_the_cloud_is_known_there_is_nothing_to_undo(photos: Phone) -> None:
    photos.kit.home.update(lambda kept: replace(kept, cloud=""))
    with pytest.raises(DeviceError, match="is not registered in the cloud yet"):
        photos.undo()
    photos.kit.home.update(lambda kept: replace(kept, is_revoked=True))
    with pytest.raises(Revoked):
        photos.undo()


def test_rules_that_refuse_the_clouds_own_version_leave_the_edit(
    photos: Phone, server: Server
) -> None:
    """As those of an earlier version do for some states."""
    photos.edit(DOC_ID, name=LONG)
    before = photos.local.get(DOC_ID, conflicts=True)
    rule = "function () { throw({ forbidden: 'nothing at all' }); }"
    server.database(photos.cloud.name).put({"_id": "_design/no", "validate_doc_update": rule})
    with pytest.raises(DeviceError, match=r"its own version again: nothing at all\. Nothing was"):
        photos.undo()
    assert photos.local.get(DOC_ID, conflicts=True) == before


# A cloud with answers of its own


@pytest.mark.parametrize(
    "row",
    [
        {"id": "odd", "error": "forbidden", "reason": "\x1b[2J\r\n\u202e" + "x" * 5000},
        {"id": "odd", "error": "forbidden"},
        {"error": "unauthorized", "reason": {"a": ["b"]}},
    ],
)
def test_a_reason_is_short_and_cannot_steer_a_terminal(
    phone: Phone, fake_cloud: FakeCloud, row: JsonDict
) -> None:
    rev = phone.edit("odd", type="channel")["_rev"]
    of_the_fake(phone, fake_cloud)
    fake_cloud.answers = {
        "_revs_diff": (200, {"odd": {"missing": [rev, "9-x"]}, "theirs": {"missing": ["1-a"]}}),
        "_bulk_docs": (201, [row]),
    }
    [found] = phone.refused()
    said = texts.printable(texts.refused(found.doc_id, found.reason))
    assert len(said) < 350
    assert said.isprintable()


@pytest.mark.parametrize(
    ("answer", "is_told"),
    [
        ((400, {"error": "bad_request", "reason": "invalid UTF-8 JSON"}), True),
        ((413, {"error": "document_too_large", "reason": "odd"}), True),
        ((403, {"error": "forbidden", "reason": "You are not allowed to access this db."}), False),
        ((500, {"error": "timeout", "reason": "later"}), False),
        ((400, "a page of a proxy"), False),
        ((201, [{"id": "odd", "error": "internal_server_error", "reason": "later"}]), False),
        ((201, [5]), False),
        ((201, {"ok": True}), False),
    ],
)
def test_only_an_answer_to_the_document_is_a_refusal(
    phone: Phone, fake_cloud: FakeCloud, answer: tuple[int, Any], is_told: bool
) -> None:
    rev = phone.edit("odd", type="channel")["_rev"]
    of_the_fake(phone, fake_cloud)
    fake_cloud.answers = {
        "_revs_diff": (200, {"odd": {"missing": [rev]}}),
        "_bulk_docs": answer,
    }
    if is_told:
        assert len(phone.refused()) == 1
    else:
        with pytest.raises(CloudFailed):
            phone.refused()


@pytest.mark.parametrize(
    "leaves",
    [[{"ok": {}}], [{"ok": {"_id": "another", "_rev": "1-a", "_revisions": {"ids": []}}}], [5], {}],
)
def test_a_version_that_is_no_couchdbs_is_not_taken(
    phone: Phone, fake_cloud: FakeCloud, leaves: object
) -> None:
    before = phone.edit("odd", type="channel")
    of_the_fake(phone, fake_cloud)
    forbidden = [{"id": "odd", "error": "forbidden", "reason": "no"}]
    fake_cloud.answers = {
        "_revs_diff": (200, {"odd": {"missing": [before["_rev"]]}}),
        "_bulk_docs": (201, forbidden),
        "odd": (200, leaves),
    }
    with pytest.raises(CloudFailed):
        phone.undo("odd")
    assert phone.local.get("odd") == before


# Killed at any time


class Killed(BaseException):
    """The process is over."""


@pytest.mark.parametrize("has_moved", [True, False], ids=["cloud moved", "cloud same"])
@pytest.mark.parametrize("is_replicated", [True, False], ids=["replicated", "alone"])
def test_an_undo_that_was_killed_is_finished_by_the_next(
    photos: Phone, monkeypatch: pytest.MonkeyPatch, has_moved: bool, is_replicated: bool
) -> None:
    for number in itertools.count(1):
        photos.edit(DOC_ID, name=LONG)
        photos.push()
        if has_moved:
            photos.ada.edit(DOC_ID, name=f"Holidays {number}")
            photos.pull()
        with monkeypatch.context() as patched:
            patched.setattr(HTTPAdapter, "send", killing(number))
            try:
                photos.undo()
                break
            except Killed:
                pass
        if is_replicated:
            photos.push()
            photos.pull()
        photos.undo()
        assert photos.is_as_in_the_cloud(), f"killed before request {number}"
        assert photos.local.get(DOC_ID)["name"] != LONG
    assert number > 8, "it was killed at hardly any point"


def killing(number: int) -> Callable[..., Any]:
    """A way to send requests that ends the process before one of them."""
    count, send = itertools.count(1), HTTPAdapter.send

    def sending(*args: Any, **kwargs: Any) -> Any:
        if next(count) == number:
            raise Killed
        return send(*args, **kwargs)

    return sending


# The agent, the status, the replicator


def test_the_status_lists_what_was_refused_apart_from_what_waits(photos: Phone) -> None:
    photos.edit(DOC_ID, name=LONG)
    photos.push()
    said = status(photos.device)
    [one] = said["refused"]
    assert one["document"] == DOC_ID
    assert one["reason"].startswith("name must be a text of 1 to 80 characters")
    assert (said["control"]["to_send"], said["control"]["to_receive"]) == (0, 0)
    lines = texts.status(said).splitlines()
    assert (
        "your lists    not replicated: nothing replicates it; start the agent with `run`" in lines
    )
    [line] = [line for line in lines if line.startswith("refused ")]
    assert line.endswith(f". Run `undo {DOC_ID}` to bring the cloud's version back")
    photos.undo()
    assert status(photos.device)["refused"] == []


def test_a_status_without_the_cloud_calls_nothing_refused(
    photos: Phone, fake_cloud: FakeCloud
) -> None:
    photos.edit(DOC_ID, name=LONG)
    of_the_fake(photos, fake_cloud)
    fake_cloud.answers = {"_revs_diff": UNAVAILABLE}
    assert status(photos.device)["refused"] == []
    fake_cloud.registrations = UNAVAILABLE
    assert "refused" not in status(photos.device)


def test_a_replicator_has_nothing_to_send_after_an_undo(photos: Phone) -> None:
    photos.device.replications.reconcile(CONTROL, photos.device.control_both_ways())
    photos.edit(DOC_ID, name=LONG)
    wait_until_sent(photos, "channel-later")
    photos.undo()
    assert photos.is_as_in_the_cloud()
    wait_until_sent(photos, "channel-last")
    assert photos.is_as_in_the_cloud()


@pytest.mark.real
def test_after_an_undo_the_replicator_counts_no_more_as_refused(photos: Phone) -> None:
    """It may send the refused revision once more while the undo goes on."""
    photos.device.replications.reconcile(CONTROL, photos.device.control_both_ways())
    photos.edit(DOC_ID, name=LONG)
    wait_for(lambda: doc_write_failures(photos.device) == 1, "the refused document")
    photos.undo()
    wait_until_sent(photos, "channel-next")
    settled = doc_write_failures(photos.device)
    assert settled <= 2
    wait_until_sent(photos, "channel-last")
    assert doc_write_failures(photos.device) == settled


def wait_until_sent(phone: Phone, doc_id: str) -> None:
    """Write a document, and wait until the replicator has sent it and all before it."""
    phone.edit(doc_id, type="channel", state="new", name="Letters")
    wait_for(lambda: phone.cloud.find_one(doc_id), f"{doc_id} in the cloud")


def doc_write_failures(device: Device) -> int:
    docs = device.server.http.request_object("GET", "/_scheduler/docs/_replicator")["docs"]
    infos = [row["info"] or {} for row in docs if device.profile.device_id in row["doc_id"]]
    return sum(info.get("doc_write_failures") or 0 for info in infos)
