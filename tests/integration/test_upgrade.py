"""A new version of a design document reaches the databases that have an older one."""

import uuid
from collections.abc import Iterator

import pytest

from chalicelib.couch import Database, Forbidden, NotFound, Server
from chalicelib.design import DESIGN_ID, OWNER_CONTROL
from chalicelib.domain.addresses import owner_id_of
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import owner_control_db
from chalicelib.engine.context import Context
from chalicelib.jobs import upgrade as upgrades
from chalicelib.jobs.upgrade import upgrade
from ops.upgrade import upgrade as upgrade_all
from tests.kit.basics import an_address
from tests.kit.cloud.access import as_device, contents
from tests.kit.cloud.steps import Steps
from tests.kit.earlier import VERSIONS, design_doc

AN_OLD_ONE = {"_id": DESIGN_ID, "validate_doc_update": "function () {}", "version": 0}


@pytest.fixture
def databases(server: Server, control: Database) -> Iterator[list[Database]]:
    """Three owners' control databases, with an old version, none, and today's."""
    names = sorted(owner_control_db(control.name, owner_id_of(an_address())) for _ in range(3))
    databases = [server.database(name) for name in names]
    for database in databases:
        database.create()
    databases[0].put(AN_OLD_ONE)
    OWNER_CONTROL.install(databases[2])
    yield databases
    for database in databases:
        database.delete()


def answer(context: Context, after: str | None = None, remaining_s: float = 100) -> JsonDict:
    return upgrade(context, after, lambda: remaining_s)


def owners_only(context: Context, result: JsonDict) -> JsonDict:
    """A result without the channels' databases, which other tests make and delete meanwhile."""
    return {name: result[name] for name in ("written", "after")}


def test_every_owner_has_todays_rules_afterwards(
    context: Context, databases: list[Database]
) -> None:
    assert owners_only(context, answer(context)) == {"written": 2, "after": None}
    for database in databases:
        assert database.get(DESIGN_ID)["version"] == OWNER_CONTROL.version
        assert database.get(DESIGN_ID)["validate_doc_update"].startswith("function (newDoc")


def test_running_it_again_writes_nothing(context: Context, databases: list[Database]) -> None:
    answer(context)
    revs = [database.get(DESIGN_ID)["_rev"] for database in databases]
    assert answer(context)["written"] == 0
    assert [database.get(DESIGN_ID)["_rev"] for database in databases] == revs


def test_a_newer_version_than_ours_is_left_alone(
    context: Context, databases: list[Database]
) -> None:
    old = databases[0].get(DESIGN_ID)
    databases[0].put({**old, "version": OWNER_CONTROL.version + 1})
    assert answer(context)["written"] == 1
    assert databases[0].get(DESIGN_ID)["validate_doc_update"] == "function () {}"


def test_when_time_is_short_it_says_where_to_go_on(
    context: Context, databases: list[Database]
) -> None:
    first = answer(context, remaining_s=1)
    assert first == {"checked": 1, "written": 1, "after": databases[0].name}
    with pytest.raises(NotFound):
        databases[1].get(DESIGN_ID)
    second = answer(context, first["after"], remaining_s=1)
    assert second == {"checked": 1, "written": 1, "after": databases[1].name}


def test_more_than_a_page_is_walked_page_by_page(
    context: Context, databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrades, "PAGE", 2)
    assert answer(context)["written"] == 2


def test_the_operators_command_goes_on_until_all_are_done(
    context: Context, databases: list[Database]
) -> None:
    told: list[str] = []

    def invoke(event: JsonDict) -> JsonDict:
        # Short of time among the owners, so that it has to be called again.
        is_among_owners = event["after"] != databases[-1].name
        return answer(context, event["after"], remaining_s=1 if is_among_owners else 100)

    _, written = upgrade_all(invoke, told.append)
    assert written == 2
    assert len(told) == 3
    assert told[0].endswith(f"continuing after {databases[0].name}")


def test_a_public_channel_gets_the_new_version_and_a_private_one_none(steps: Steps) -> None:
    ada = steps.an_owner()
    ada.channel("public", public=True)
    ada.channel("private")
    public, private = ada.channel_database("public"), ada.channel_database("private")
    public.put({**AN_OLD_ONE, "_rev": public.get(DESIGN_ID)["_rev"]})
    answer(steps.context)
    assert public.get(DESIGN_ID)["version"] > 0
    with pytest.raises(NotFound):
        private.get(DESIGN_ID)


def test_somebody_elses_database_is_not_touched(context: Context, server: Server) -> None:
    theirs = server.database(f"{context.settings.control_db}-{uuid.uuid4().hex[:8]}-orders")
    theirs.create()
    try:
        theirs.put(AN_OLD_ONE)
        answer(context)
        assert theirs.get(DESIGN_ID)["version"] == 0
    finally:
        theirs.delete()


# From every earlier version, with documents that devices wrote under it.

DEEP: list[object] = [[[[]]]]
for _ in range(100):
    DEEP = [DEEP]
SHARED = f"db-{'0' * 32}"
OLD_DOCS: list[JsonDict] = [
    {"_id": "photos", "type": "channel", "state": "new", "name": "Photos"},
    {"_id": "long", "type": "channel", "state": "new", "name": "\U0001f600" * 40},
    {"_id": "deep", "type": "channel", "state": "new", "notes": DEEP},
    {"_id": SHARED, "type": "invitation", "state": "new", "channel": "photos", "email": "x"},
    {"_id": "to-ben", "type": "invitation", "state": "new", "channel": "photos", "email": "y"},
]


@pytest.mark.parametrize("version", VERSIONS)
def test_from_each_earlier_version_documents_stay_readable_and_workable(
    steps: Steps, version: int
) -> None:
    ada = steps.an_owner()
    rev = ada.control.get(DESIGN_ID)["_rev"]
    ada.control.put({**design_doc(version), "_rev": rev})
    device = as_device(ada).database(ada.control.name)
    for doc in OLD_DOCS:
        device.put(doc)
    before = contents(ada.control)
    assert answer(steps.context)["written"] >= 1
    after = contents(ada.control)
    assert after.pop(DESIGN_ID)["version"] == OWNER_CONTROL.version
    assert after.items() <= before.items()
    for doc in OLD_DOCS:
        stored = device.get(doc["_id"])
        moved = {**stored, "state": "closing" if doc["type"] == "channel" else "withdrawn"}
        moved.pop("notes", None)
        device.put(moved)
    assert ada.after("deep")["state"] == "closed"
    device.remove(device.get(SHARED))
    with pytest.raises(Forbidden):
        device.put({**OLD_DOCS[2], "_id": "deep-again"})
    with pytest.raises(Forbidden):
        device.put(OLD_DOCS[3])
