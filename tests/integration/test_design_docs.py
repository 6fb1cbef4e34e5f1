"""How a design document gets into a database, and a newer one after it."""

from dataclasses import replace

import pytest

from chalicelib.couch import Database
from chalicelib.design import DESIGN_ID, OWNER_CONTROL, PUBLIC_CHANNEL, DesignDoc
from chalicelib.domain.documents import JsonDict

OLDER = replace(OWNER_CONTROL, version=1)
NEWER = replace(OWNER_CONTROL, version=2)


@pytest.mark.parametrize("design", [OWNER_CONTROL, PUBLIC_CHANNEL], ids=lambda each: each.file)
def test_it_is_installed_once(control: Database, design: DesignDoc) -> None:
    assert design.install(control)
    installed = control.get(DESIGN_ID)
    assert installed == {**design.doc, "_rev": installed["_rev"]}
    assert not design.install(control)
    assert not design.upgrade(control)
    assert control.get(DESIGN_ID) == installed


def test_a_newer_version_is_written_over_an_older_one_once(control: Database) -> None:
    OLDER.install(control)
    assert NEWER.upgrade(control)
    assert control.get(DESIGN_ID)["version"] == 2
    assert not NEWER.upgrade(control)
    assert not NEWER.install(control)


def test_a_newer_version_is_installed_over_an_older_one(control: Database) -> None:
    OLDER.install(control)
    assert NEWER.install(control)
    assert control.get(DESIGN_ID)["version"] == 2


def test_nothing_of_an_older_version_is_left(control: Database) -> None:
    control.put({"_id": DESIGN_ID, "version": 0, "views": {"old": {"map": "function () {}"}}})
    assert OLDER.upgrade(control)
    assert set(control.get(DESIGN_ID)) == {*OLDER.doc, "_rev"}


def test_a_database_never_goes_back_to_an_older_version(control: Database) -> None:
    """While a deployment is under way, Lambdas of both versions run."""
    NEWER.install(control)
    before = control.get(DESIGN_ID)
    assert not OLDER.install(control)
    assert not OLDER.upgrade(control)
    assert control.get(DESIGN_ID) == before


def test_where_it_was_never_installed_there_is_nothing_to_upgrade(control: Database) -> None:
    assert not NEWER.upgrade(control)
    assert control.changes("0", limit=10)["results"] == []


def test_where_it_was_deleted_it_is_installed_again_and_not_upgraded(control: Database) -> None:
    OLDER.install(control)
    control.remove(control.get(DESIGN_ID))
    assert not NEWER.upgrade(control)
    assert NEWER.install(control)
    assert control.get(DESIGN_ID)["version"] == 2


class Overtaken(Database):
    """Just before the first write, another Lambda writes `first`."""

    first: DesignDoc | None = None

    def put(self, doc: JsonDict) -> str:
        first, self.first = self.first, None
        if first is not None:
            first.install(self)
        return super().put(doc)


@pytest.mark.parametrize(("first", "is_written"), [(NEWER, False), (OLDER, True)])
def test_of_two_who_write_at_once_each_write_counts_once(
    control: Database, first: DesignDoc, is_written: bool
) -> None:
    control.put({"_id": DESIGN_ID, "version": 0})
    database = Overtaken(control._http, control.name)
    database.first = first
    assert NEWER.upgrade(database) is is_written
    assert control.get(DESIGN_ID)["version"] == 2
