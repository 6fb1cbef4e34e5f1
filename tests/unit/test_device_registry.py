"""A device's registry: all of it is safe, and the runner takes nothing else from it."""

from typing import Any, cast

import pytest

from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.docstate import Registry, RegistryError
from chalicelib.engine.runner import Message, Outcome, handle
from syncpoint_device.transitions import registry
from tests.kit.basics import FakeClock, FakeDatabase, FakeTools

NEW: JsonDict = {"_id": "a", "type": "mail", "state": "new"}
MESSAGE = Message("control", "a", "mail", "new", None)


@pytest.fixture
def tools() -> FakeTools:
    database = FakeDatabase()
    database.put(NEW)
    return FakeTools(cast(Database, database), FakeClock())


def test_every_transition_of_a_device_is_safe() -> None:
    assert {(one.doc_type, one.state) for one in registry if one.unsafe} == set()


def test_the_device_leaves_every_document_in_its_state() -> None:
    """What the documents say is the owner's and the cloud's to change."""
    assert all(one.to == (one.state,) for one in registry)


def test_without_claims_no_unsafe_transition_runs(tools: FakeTools) -> None:
    registry, runs = Registry(), []

    @registry.unsafe("mail", "new", to="sent")
    def send(doc: JsonDict, cloud: Any, claim: Any) -> JsonDict:
        runs.append(doc)
        return {"state": "sent"}

    with pytest.raises(RegistryError, match="mail/new is unsafe: it needs claims"):
        handle(MESSAGE, registry, tools)
    assert runs == []
    assert tools.database.get("a")["state"] == "new"


def test_without_claims_a_safe_transition_runs(tools: FakeTools) -> None:
    registry = Registry()

    @registry.safe("mail", "new", to="sent")
    def send(doc: JsonDict, cloud: Any) -> JsonDict:
        return {"state": "sent"}

    assert handle(MESSAGE, registry, tools) is Outcome.SAVED
    assert tools.database.get("a")["state"] == "sent"
