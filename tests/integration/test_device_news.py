"""What the agent's log tells of invitations, members and channels, over a real CouchDB."""

from functools import partial
from typing import Any

import pytest

from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from syncpoint_device.agent import Agent
from syncpoint_device.databases import CONTROL
from syncpoint_device.log import Problem
from syncpoint_device.news import News
from syncpoint_device.replications import Replication
from tests.kit.basics import FakeClock, wait_for
from tests.kit.device.by_hand import Kit, agent
from tests.kit.device.fake_cloud import FakeCloud
from tests.kit.device.profiles import PHOTOS

BEN: JsonDict = {
    "_id": "invitation-1",
    "type": "invitation",
    "state": "sent",
    "channel": "channel-1",
    "email": "ben@example.com",
}
FAILED: JsonDict = {"state": "error", "error": {"reason": "too many mails; ask again later"}}
REMOVED = "you are no longer a member"


def look(kit: Kit, *docs: JsonDict) -> list[tuple[str, str, bool]]:
    """What an agent that starts now tells of some documents: about what, what, whether it warns."""
    kit.said.clear()
    news = News(kit.home, kit.say)
    for doc in docs:
        news.look(kit.device, doc)
    news.save()
    return [(about, what, isinstance(what, Problem)) for about, what in kit.said]


@pytest.mark.parametrize(
    ("changes", "what", "is_warning"),
    [
        (FAILED, "failed: too many mails; ask again later", True),
        ({"state": "error"}, "failed: no reason is given", True),
        ({"state": "accepted"}, "was accepted", False),
        ({"state": "declined"}, "was declined", False),
        ({"state": "withdrawn"}, "was withdrawn", False),
        ({"state": "expired"}, "was not answered in time", False),
    ],
)
def test_what_became_of_an_invitation_is_told_once(
    kit: Kit, changes: JsonDict, what: str, is_warning: bool
) -> None:
    kit.put(PHOTOS)
    assert look(kit, BEN) == []
    told = ("Photos", f"the invitation of ben@example.com {what}", is_warning)
    after = {**BEN, **changes}
    assert look(kit, after, after) == [told]
    assert look(kit, after) == []
    again = {**after, "generation": 1}
    assert look(kit, again) == [told]


def test_a_new_device_warns_and_does_not_tell_the_past(kit: Kit) -> None:
    kit.put(PHOTOS)
    assert look(kit, {**BEN, "state": "accepted"}, PHOTOS) == []
    assert [warns for _, _, warns in look(kit, {**BEN, "_id": "other", **FAILED})] == [True]


def test_a_channels_new_name_and_who_left_it_are_told(kit: Kit) -> None:
    kit.put(BEN)
    members = [owner_id_of("ben@example.com"), "0" * 32]
    look(kit, {**PHOTOS, "members": members})
    assert look(kit, {**PHOTOS, "name": "Holiday", "members": members}) == [
        ("Holiday", "is the new name of “Photos”", False)
    ]
    assert look(kit, {**PHOTOS, "name": "Holiday"}) == [
        ("Holiday", "ben@example.com is no longer a member", False),
        ("Holiday", "a guest is no longer a member", False),
    ]
    look(kit, {**PHOTOS, "members": members})
    assert look(kit, {**PHOTOS, "state": "closed"}) == []  # the owner knows


@pytest.mark.parametrize(
    ("reason", "is_sent", "expected"),
    [
        (REMOVED, True, f"stopped: {REMOVED}"),
        (
            REMOVED,
            False,
            f"stopped: {REMOVED}; up to 2 documents may be on this device only; save them with "
            "`export`",
        ),
        (
            None,
            False,
            "up to 2 documents may be on this device only; save them with `export`",
        ),
        (None, True, None),
    ],
)
def test_a_channel_that_ends_is_a_warning_with_what_was_never_sent(
    kit: Kit, reason: str | None, is_sent: bool, expected: str | None
) -> None:
    kit.put(PHOTOS)
    local = kit.device.channel("channel-1")
    kit.device.acquire(local)
    if not is_sent:
        for number in range(2):
            local.put({"_id": f"note-{number}"})
    more = {} if reason is None else {"reason": reason}
    doc = kit.put_subscription("channel-1", "stopped", **more)
    assert look(kit, doc) == ([("Photos", expected, True)] if expected else [])
    assert look(kit, doc) == []


def test_a_channel_that_has_no_copy_here_ends_in_silence(kit: Kit) -> None:
    kit.put(PHOTOS)
    assert look(kit, kit.put_subscription("channel-1", "stopped", reason=REMOVED)) == []


@pytest.mark.parametrize("odd", [None, 5, [], {}, "x", "\ud800"])
def test_odd_documents_and_notes_do_no_harm(kit: Kit, odd: Any) -> None:
    for _ in range(2):
        for doc in (BEN, PHOTOS, {**BEN, "type": "subscription", "state": "stopped"}):
            for name in ("state", "channel", "email", "name", "members", "error", "generation"):
                look(kit, {**doc, name: odd})
        kit.home.write_note("news", {"invitation-1": odd, "channel-1": {"members": odd}})


def test_the_running_agent_tells_a_failed_invitation_and_the_end_of_a_channel_once(
    kit: Kit, fake_cloud: FakeCloud
) -> None:
    fake_cloud.state = "active"
    kit.put(PHOTOS)
    kit.obey(kit.put_subscription("channel-1"))
    kit.device.channel("channel-1").put({"_id": "note"})
    kit.put({**BEN, "state": "new"})
    kit.said.clear()
    for starts in (1, 2):
        with agent(kit) as failures:
            wait_for(partial(has_started, kit, starts), "the agent's start")
            kit.put({**BEN, **FAILED})
            kit.put_subscription("channel-1", "stopped", reason=REMOVED)
            wait_for(lambda: not is_replicated(kit), "the end of the replications")
        assert failures == []
    warnings = [what for about, what in kit.said if isinstance(what, Problem) and about == "Photos"]
    assert [what.partition("; ")[0] for what in warnings] == [
        "the invitation of ben@example.com failed: too many mails",
        f"stopped: {REMOVED}",
    ]


def test_a_stopped_replication_is_told_with_what_it_replicates(kit: Kit) -> None:
    kit.put(PHOTOS)
    kit.obey(kit.put_subscription("channel-1"))
    doc = kit.replications()[0]
    kit.said.clear()
    stalled = [
        Replication(doc, group, "crashing", "econnrefused")
        for group in (kit.device.channel("channel-1").name, CONTROL, "db-gone")
    ]
    Agent(kit.home, kit.say, FakeClock())._restart_stalled(kit.device, stalled)
    [(about, what)] = kit.said
    assert about == "replications"
    assert what.startswith("stopped (db-gone, your lists, “Photos”): nothing answers at ")


def has_started(kit: Kit, times: int) -> bool:
    return [about for about, _ in kit.said].count("agent") == times


def is_replicated(kit: Kit) -> bool:
    return any(kit.device.channel("channel-1").url in str(doc) for doc in kit.replications())
