"""Nothing is deleted that is nowhere else: all ways to purge, and all reasons why it may be."""

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.couch import Database, Server, Unavailable
from chalicelib.domain.documents import JsonDict
from syncpoint_device import channels, export, leftovers, lifecycle, purge
from syncpoint_device.errors import DeviceError, Unknown
from syncpoint_device.purge import own_databases
from syncpoint_device.replications import Replications, leaf_page
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import put_text, shut
from tests.kit.cloud.steps import Owner
from tests.kit.device.by_hand import Kit, MakeKit, copy_all
from tests.kit.device.gadget import is_gone

CHANNEL = "channel-photos"


@dataclass
class Photos:
    """Ada's device with a copy of her channel, of which all documents are in the cloud."""

    kit: Kit
    ada: Owner

    def __post_init__(self) -> None:
        self.local = self.kit.device.channel(CHANNEL)

    @property
    def place(self) -> leftovers.Place:
        return leftovers.Place.of(self.kit.device, None, "")

    def pull(self) -> None:
        copy_all(self.kit.device.cloud_control, self.kit.device.database)

    def say_in_the_cloud(self, **fields: str) -> None:
        """Let the cloud say something of the channel, and let the device hear it."""
        self.ada.edit(CHANNEL, **fields)
        self.pull()

    def keep_from_the_device(self) -> None:
        shut(self.ada.channel_database())


@pytest.fixture
def photos(adas_kit: Kit, ada: Owner) -> Photos:
    photos = Photos(adas_kit, ada)
    ada.channel(CHANNEL)
    device = adas_kit.device
    photos.pull()
    adas_kit.put_subscription(CHANNEL, remote=ada.control.get(CHANNEL)["syncpoint"])
    assert copy_all(device.database, device.cloud_control) == 0
    photos.pull()
    device.acquire(photos.local)
    for doc_id in ("one", "two"):
        photos.local.put({"_id": doc_id})
    photos.local.put({"_id": "_design/view", "views": {}})
    copy_all(photos.local, ada.channel_database())
    return photos


def leaves(database: Database) -> dict[str, list[str]]:
    revs: dict[str, list[str]] = {}
    page = leaf_page(database, "0", with_design=True)
    while not page.is_last:
        revs |= {doc_id: sorted(leaf) for doc_id, leaf in page.revs.items()}
        page = leaf_page(database, page.last_seq, with_design=True)
    return revs


# The ways to purge


def by_unlink(photos: Photos, force: bool) -> object:
    return lifecycle.unlink(
        photos.kit.home, photos.kit.device, purge=True, offline=True, force=force
    )


def by_stop(photos: Photos, force: bool) -> object:
    kit = photos.kit
    return channels.change_subscription(
        kit.device, CHANNEL, "stop", purge=True, force=force, home=kit.home
    )


def by_clean(photos: Photos, force: bool) -> object:
    photos.kit.device.release(photos.local, delete=False)
    return leftovers.clean(photos.place, [], all_of_them=True, force=force)


WAYS = {"unlink": by_unlink, "stop": by_stop, "clean": by_clean}


# The reasons why documents may be nowhere else


def write_one(photos: Photos) -> None:
    photos.local.put({"_id": "new"})


def edit_one(photos: Photos) -> None:
    photos.local.put({**photos.local.get("one"), "text": "edited"})


def delete_one(photos: Photos) -> None:
    photos.local.remove(photos.local.get("one"))


def bring_a_conflict(photos: Photos) -> None:
    """A losing revision, which only `style=all_docs` shows."""
    revisions = {"start": 1, "ids": ["0" * 32]}
    photos.local.put({**photos.local.get("one"), "text": "the winner"})
    copy_all(photos.local, photos.ada.channel_database())
    photos.local.put_revision({"_id": "one", "_rev": "1-" + "0" * 32, "_revisions": revisions})


def write_one_that_nobody_can_read(photos: Photos) -> None:
    put_text(photos.local, "deep", f'{{"x":{nested_text(2_000)}}}')


def close_the_channel(photos: Photos) -> None:
    photos.ada.edit(CHANNEL, state="closing")
    photos.ada.run(CHANNEL)
    photos.pull()


def close_it_unheard(photos: Photos) -> None:
    photos.ada.edit(CHANNEL, state="closing")
    photos.ada.run(CHANNEL)


def remove_the_guest(photos: Photos) -> None:
    photos.keep_from_the_device()
    photos.say_in_the_cloud(state="closed", reason="you are no longer a member")


def revoke(photos: Photos) -> None:
    photos.kit.home.update(lambda kept: replace(kept, is_revoked=True))


def take_the_login(photos: Photos) -> None:
    photos.kit.home.update(lambda kept: replace(kept, password="another"))


def forget_the_registration(photos: Photos) -> None:
    control = photos.kit.device.database
    control.update(photos.kit.profile.device_id, lambda doc: {**doc, "state": "new"}, default={})
    photos.kit.home.update(lambda kept: replace(kept, is_active=False))


def cut_the_network(photos: Photos) -> None:
    photos.kit.set_cloud("http://127.0.0.1:9")


def in_subscription(state: str) -> Callable[[Photos], None]:
    def happen(photos: Photos) -> None:
        write_one(photos)
        photos.kit.put_subscription(CHANNEL, state)

    return happen


Reason = tuple[Callable[[Photos], None], int, str]
REASONS: dict[str, Reason] = {
    "unsent": (write_one, 1, "not sent yet, or refused"),
    "edited": (edit_one, 1, "not sent yet, or refused"),
    "deleted": (delete_one, 1, "not sent yet, or refused"),
    "conflict": (bring_a_conflict, 1, "not sent yet, or refused"),
    "unreadable": (write_one_that_nobody_can_read, 1, "not sent yet, or refused"),
    "closing": (lambda one: one.say_in_the_cloud(state="closing"), 2, "the channel is closed"),
    "closed": (close_the_channel, 2, "the channel is closed"),
    "closed unheard": (close_it_unheard, 2, "the cloud does not have this database"),
    "guest removed": (remove_the_guest, 2, "you are no longer a member"),
    "guest removed unheard": (
        Photos.keep_from_the_device,
        2,
        "the cloud does not show .*|the cloud refuses .*",  # the embedded server answers 401
    ),
    "revoked": (revoke, 2, "this device was revoked"),
    "login gone": (take_the_login, 2, "the cloud refuses this device's login"),
    "not active": (forget_the_registration, 2, "this device is not registered in the cloud yet"),
    "unreachable": (cut_the_network, 2, "the cloud cannot be asked: nothing answers at .*"),
    "paused": (in_subscription("paused"), 1, "not sent yet, or refused; the channel is paused"),
    "stopped": (in_subscription("stopped"), 1, "not sent yet, or refused; the channel is stopped"),
}
# What the owner can do about it; where the table has nothing, the documents get nowhere any more.
ADVICE = {
    **dict.fromkeys(("unsent", "edited", "deleted", "conflict", "unreadable"), "(`run`)"),
    **dict.fromkeys(("paused", "stopped"), "`subscription resume Photos` lets the agent send them"),
    "revoked": "run `unlink` without --purge, then `register` and `run`",
    "not active": "confirm the registration (`status`), and let the agent run (`run`)",
    "login gone": "it finds out whether this device was revoked",
    "unreachable": "Try again when the cloud can be reached",
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_may_be_nowhere_else_is_deleted_by_no_way_without_force(
    photos: Photos, reason: str
) -> None:
    happen, count, why = REASONS[reason]
    happen(photos)
    before, subscription = leaves(photos.local), photos.kit.subscription(CHANNEL)
    many = "document" if count == 1 else "documents"
    # A revoked device stops no subscription, with or without a purge.
    ways = [way for way in WAYS if (way, reason) != ("stop", "revoked")]
    for way in ways:
        with pytest.raises(DeviceError, match=f"“Photos”: {count} {many}.* \\({why}\\)") as refused:
            WAYS[way](photos, False)
        assert str(refused.value).startswith("nothing was deleted")
        assert "`export --all FOLDER` saves them, `--force` deletes them" in str(refused.value)
        assert ADVICE.get(reason, ". `export") in str(refused.value)
        if reason not in ADVICE and reason != "guest removed unheard":  # the embedded one: 401
            assert "run" not in str(refused.value)
    assert leaves(photos.local) == before
    assert photos.kit.subscription(CHANNEL) == subscription
    assert photos.kit.home.is_registered


@pytest.mark.parametrize("way", WAYS)
def test_force_deletes_what_is_nowhere_else(photos: Photos, way: str) -> None:
    write_one(photos)
    WAYS[way](photos, True)
    assert is_gone(photos.local)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_in_the_cloud_is_deleted(photos: Photos, way: str) -> None:
    WAYS[way](photos, False)
    assert is_gone(photos.local)


@pytest.mark.parametrize("way", ["unlink", "stop"])
def test_a_cloud_that_fails_in_the_middle_knows_nothing(
    photos: Photos, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable(503, "busy", "later")

    monkeypatch.setattr(purge, "find_missing", fail)
    with pytest.raises(DeviceError, match=r"“Photos”: 2 documents.* \(the cloud cannot be asked"):
        WAYS[way](photos, False)
    assert photos.local.get("one")


def test_a_cloud_that_does_not_answer_is_asked_once(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request may take until its time limit."""
    for name in ("channel-a", "channel-b"):
        local = photos.kit.device.channel(name)
        photos.kit.device.acquire(local)
        local.put({"_id": "one"})
    cut_the_network(photos)
    asked: list[str] = []
    info = Database.info

    def count(self: Database) -> JsonDict:
        asked.append(self.url)
        return info(self)

    monkeypatch.setattr(Database, "info", count)
    with pytest.raises(DeviceError) as refused:
        by_unlink(photos, False)
    assert len([url for url in asked if "127.0.0.1:9/" in url]) == 1
    assert str(refused.value).count("cannot be asked") == 1
    assert "“Photos”: 2 documents, " in str(refused.value)


def test_what_is_left_is_told_with_the_name_that_the_cloud_gave_it(photos: Photos) -> None:
    photos.local.put({"_id": "description", "type": "description", "name": "Photos"})
    photos.kit.device.release(photos.local, delete=False)
    place = leftovers.Place.of(None, photos.kit.profile.couch, photos.kit.profile.prefix)
    [row] = leftovers.clean(place, [], all_of_them=False, force=False)["databases"]
    assert row == {
        "database": photos.local.name,
        "name": "Photos",
        "documents": 3,
        "reason": "no device is registered here, so the cloud cannot be asked",
        "deleted": False,
    }
    with pytest.raises(DeviceError, match=r"“Photos”: 3 documents .*run `register`, and then"):
        leftovers.clean(place, [photos.local.name], all_of_them=False, force=False)


def test_a_channel_without_documents_is_deleted_wherever_it_is_not(photos: Photos) -> None:
    for doc_id in ("one", "two"):
        photos.local.remove(photos.local.get(doc_id))
    close_the_channel(photos)
    by_stop(photos, False)
    assert is_gone(photos.local)


# Somebody writes meanwhile


def test_what_is_written_when_the_replications_end_is_not_lost(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_all = Replications.end_all

    def end_and_write(self: Replications) -> None:
        end_all(self)
        photos.local.put({"_id": "late"})

    monkeypatch.setattr(Replications, "end_all", end_and_write)
    with pytest.raises(DeviceError, match=r"this device is not unlinked.*“Photos”: 1 document"):
        by_unlink(photos, False)
    assert photos.local.get("late")
    assert photos.kit.home.is_registered


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_during_the_last_comparison_is_not_lost(
    photos: Photos, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, number = purge._compare, iter(range(100))

    def compare_and_write(local: Database, *known: Any) -> purge.Finding:
        finding = compare(local, *known)
        if next(number) and finding.name == "Photos":
            change = {"_id": "late", "n": next(number)}
            local.update("late", lambda doc: {**doc, **change}, default={})
        return finding

    monkeypatch.setattr(purge, "_compare", compare_and_write)
    with pytest.raises(DeviceError, match="1 document"):
        WAYS[way](photos, False)
    assert photos.local.get("late")


# What belongs to this device


def test_unlink_finds_a_copy_whose_channel_nobody_can_read(photos: Photos) -> None:
    """It was neither compared nor deleted: the channel was not listed."""
    lost = photos.kit.device.channel("channel-lost")
    photos.kit.device.acquire(lost)
    lost.put({"_id": "one"})
    assert [one.name for one in own_databases(photos.kit.device)] == [
        *sorted([photos.local.name, lost.name], reverse=True),
        photos.kit.device.database.name,
    ]
    with pytest.raises(DeviceError, match=f"{lost.name}: 1 document"):
        by_unlink(photos, False)
    profile, control = photos.kit.profile, photos.kit.device.database.name
    lifecycle.unlink(photos.kit.home, photos.kit.device, purge=False, offline=True)
    left = {one.name for one in leftovers.Place.of(None, profile.couch, profile.prefix).left()}
    assert left == {lost.name, photos.local.name, control}


# Clean


def test_clean_lists_what_an_unlink_left_and_deletes_what_is_named(photos: Photos) -> None:
    lost = photos.kit.device.channel("channel-lost")
    photos.kit.device.acquire(lost)
    lost.put({"_id": "one"})
    for local in (lost, photos.local):
        photos.kit.device.release(local, delete=False)
    rows = leftovers.clean(photos.place, [], all_of_them=False, force=False)["databases"]
    assert {row["database"]: row["documents"] for row in rows} == {
        lost.name: 1,
        photos.local.name: 0,
    }
    assert lost.get("one")
    with pytest.raises(DeviceError, match="nothing was deleted"):
        leftovers.clean(photos.place, [], all_of_them=True, force=False)
    assert not is_gone(photos.local)
    with pytest.raises(DeviceError, match="no `unlink` left a database “db-nonsense”"):
        leftovers.clean(photos.place, ["db-nonsense"], all_of_them=False, force=True)
    leftovers.clean(photos.place, [photos.local.name], all_of_them=False, force=False)
    assert is_gone(photos.local)
    assert lost.get("one")


def test_clean_touches_no_database_of_a_device_or_of_anybody(
    photos: Photos, make_kit: MakeKit, server: Server
) -> None:
    foreign = photos.kit.device.channel("channel-foreign")
    foreign.create()
    foreign.put({"_id": "one"})
    assert photos.place.left() == []
    other = make_kit(prefix=photos.kit.profile.prefix)
    assert [one.name for one in leftovers.Place.of(other.device, None, "").left()] == []


@pytest.mark.parametrize(
    ("couch", "message"),
    [
        pytest.param(None, "no device is registered here", id="none"),
        pytest.param("nonsense", "--couch must be http://", id="no-url"),
    ],
)
def test_without_a_device_the_couchdb_must_be_named(couch: str | None, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        leftovers.Place.of(None, couch, "")


# Export


def exported(path: Path) -> list[JsonDict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the revisions were too large to be read together."""
    monkeypatch.setattr(export, "_MAX_BATCH_BYTES", 1)


@pytest.mark.parametrize("batch", [200, 2])
@pytest.mark.parametrize("is_large", [False, True])
def test_an_export_brings_everything_back(
    photos: Photos,
    server: Server,
    tmp_path: Path,
    batch: int,
    is_large: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "_BATCH", batch)
    if is_large:
        one_by_one(monkeypatch)
    data = "QUJD" * 30_000
    attachments = {"a.bin": {"content_type": "image/png", "data": data}}
    photos.local.put({"_id": "with/strange id ü", "_attachments": attachments})
    bring_a_conflict(photos)
    photos.local.remove(photos.local.get("two"))
    body = {"docs": [{"_id": "x" * 9_000, "text": "a line\nand another"}]}
    server.http.request("POST", f"/{photos.local.name}/_bulk_docs", body=body)
    path = tmp_path / "photos.jsonl"
    [result] = leftovers.export_one(photos.place, "Photos", path)["exported"]
    known = leaves(photos.local)
    assert result == {
        "database": photos.local.name,
        "file": str(path),
        "documents": len(known),
        "revisions": sum(map(len, known.values())),
        "bytes": path.stat().st_size,
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir() if "jsonl" in one.name] == [path.name]
    photos.local.delete()
    copy = photos.kit.device.channel("channel-copy")
    copy.create()
    for doc in exported(path):
        assert copy.put_revision(doc) is None
    assert leaves(copy) == known
    params = {"attachments": "true"}
    read = copy.request("GET", "with%2Fstrange%20id%20%C3%BC", params=params)
    assert read["_attachments"]["a.bin"]["data"] == data
    assert copy.get("one")["text"] == "the winner"


def test_documents_are_exported_together_and_attachments_alone(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[str] = []
    parts = Database.revision_parts

    def count(self: Database, doc_id: str, rev: str) -> object:
        alone.append(doc_id)
        return parts(self, doc_id, rev)

    monkeypatch.setattr(Database, "revision_parts", count)
    photos.local.put({"_id": "a", "_attachments": {"a": {"content_type": "x/y", "data": "QUJD"}}})
    leftovers.export_one(photos.place, "Photos", tmp_path / "photos.jsonl")
    assert alone == ["a"]


def test_an_export_names_the_folder_that_is_missing(photos: Photos, tmp_path: Path) -> None:
    path = tmp_path / "none" / "photos.jsonl"
    with pytest.raises(OSError, match="there is no such folder") as refused:
        leftovers.export_one(photos.place, "Photos", path)
    assert refused.value.filename == str(path.parent)


def test_an_export_names_the_file_that_was_typed(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", ".photos.jsonl.new")

    monkeypatch.setattr(export, "_write_all", full)
    path = tmp_path / "photos.jsonl"
    with pytest.raises(OSError, match="No space left on device") as refused:
        leftovers.export_one(photos.place, "Photos", path)
    assert refused.value.filename == str(path)


def test_an_export_of_a_channel_without_a_copy_names_it(photos: Photos, tmp_path: Path) -> None:
    photos.local.delete()
    with pytest.raises(Unknown, match=f"“Photos” has no copy on this device.*{photos.local.name}"):
        leftovers.export_one(photos.place, "Photos", tmp_path / "photos.jsonl")


def test_a_document_that_nobody_can_read_is_exported(photos: Photos, tmp_path: Path) -> None:
    write_one_that_nobody_can_read(photos)
    path = tmp_path / "photos.jsonl"
    leftovers.export_one(photos.place, CHANNEL, path)
    assert nested_text(2_000).encode() in path.read_bytes()


def test_no_export_replaces_a_file(photos: Photos, tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text("mine")
    with pytest.raises(DeviceError, match=r"photos\.jsonl exists, and is not overwritten"):
        leftovers.export_one(photos.place, "Photos", path)
    assert path.read_text() == "mine"
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / f"{photos.kit.device.database.name}.jsonl").write_text("mine")
    with pytest.raises(DeviceError, match="is not overwritten"):
        leftovers.export_everything(photos.place, folder)
    assert len(list(folder.iterdir())) == 1


def test_a_file_that_appears_during_an_export_is_not_replaced(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photos.jsonl"
    one_by_one(monkeypatch)
    parts = Database.revision_parts

    def appear(self: Database, doc_id: str, rev: str) -> object:
        path.write_text("mine")
        return parts(self, doc_id, rev)

    monkeypatch.setattr(Database, "revision_parts", appear)
    with pytest.raises(DeviceError, match="is not overwritten"):
        leftovers.export_one(photos.place, "Photos", path)
    assert path.read_text() == "mine"
    assert len([one for one in tmp_path.iterdir() if "jsonl" in one.name]) == 1


def test_an_export_that_fails_leaves_no_file(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one(monkeypatch)
    parts = Database.revision_parts

    def fail(self: Database, doc_id: str, rev: str) -> object:
        if doc_id == "two":
            raise Unavailable(500, "badmatch", "a broken file")
        return parts(self, doc_id, rev)

    monkeypatch.setattr(Database, "revision_parts", fail)
    with pytest.raises(DeviceError, match="“two” cannot be read: a broken file"):
        leftovers.export_one(photos.place, "Photos", tmp_path / "photos.jsonl")
    assert [one for one in tmp_path.iterdir() if "jsonl" in one.name] == []


def test_what_is_replaced_during_an_export_is_exported_later(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its former revision may be gone by then."""
    one_by_one(monkeypatch)
    parts = Database.revision_parts
    gone = [photos.local.get("one")["_rev"]]

    def replaced(self: Database, doc_id: str, rev: str) -> object:
        if rev in gone:
            photos.local.put({**photos.local.get("one"), "text": "replaced"})
            gone.clear()
            rev = "1-" + "f" * 32
        return parts(self, doc_id, rev)

    monkeypatch.setattr(Database, "revision_parts", replaced)
    path = tmp_path / "photos.jsonl"
    leftovers.export_one(photos.place, "Photos", path)
    assert [doc["text"] for doc in exported(path) if doc["_id"] == "one"] == ["replaced"]


def test_all_databases_are_exported_each_into_a_file(photos: Photos, tmp_path: Path) -> None:
    lost = photos.kit.device.channel("channel-lost")
    photos.kit.device.acquire(lost)
    photos.kit.device.release(lost, delete=False)
    folder = tmp_path / "all"
    result = leftovers.export_everything(photos.place, folder)["exported"]
    names = {lost.name, photos.local.name, photos.kit.device.database.name}
    assert {one["database"] for one in result} == names
    assert {path.name for path in folder.iterdir()} == {f"{name}.jsonl" for name in names}
    assert (folder / f"{lost.name}.jsonl").read_text() == ""
