"""`make destroy`: what it deletes, what it keeps, and that it may be run again."""

import dataclasses
from pathlib import Path

import pytest

from ops import destroy
from ops.lookups import has_stack, has_table, read_public_url
from ops.record import record_path
from ops.stage import OpsError
from tests.kit.ops.deployment import STAGE, Place, deployed


@pytest.fixture
def place(own_aws: str, tmp_path: Path) -> Place:
    place = Place.make(own_aws, tmp_path)
    place.deploy()
    place.said.clear()
    place.ran.clear()
    return place


def test_all_goes_but_the_table_and_a_second_run_finds_nothing_else(place: Place) -> None:
    assert place.destroy() == 0
    assert place.ran == ["chalice delete"]
    assert not any(deployed(place).values())
    assert not has_stack(place.stage, place.client)
    assert read_public_url(place.stage, place.client) is None
    assert place.client("sqs").list_queues().get("QueueUrls", []) == []
    assert has_table(place.stage, place.client)
    assert [line for line in place.said if line.startswith("kept: ")] == [
        "kept: the table syncpoint-dev (mails sent, seqs, complaints); "
        "`make destroy STAGE=dev TABLE=delete` deletes it",
        "kept: the secret syncpoint/dev, and the identity of syncpoint@example.com in SES",
        "kept: CouchDB, and all databases in it",
        "kept: the uploaded versions of the poller, in SAM's bucket",
    ]
    # A second run finds nothing but the table, which goes when that is said, and a third nothing.
    place.said.clear()
    assert place.destroy("--table", "delete") == 0
    assert not has_table(place.stage, place.client)
    assert place.destroy("--table", "delete") == 0
    assert place.ran == ["chalice delete"]
    gone = [
        "already deleted: the functions and the API",
        "already deleted: the parameter /syncpoint/dev/public-url",
        "already deleted: the stack syncpoint-dev",
    ]
    assert [line for line in place.said if line.startswith("already deleted")] == [
        *gone,
        *gone,
        "already deleted: the table syncpoint-dev",
    ]


def test_whoever_sits_at_a_terminal_is_asked_for_the_stages_name(place: Place) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        assert place.said == ["syncpoint-dev: account 123456789012, region us-east-1"]
        asked.append(question)
        return " dev "

    tools = dataclasses.replace(place.tools, ask=ask)
    assert destroy.main([STAGE, "--table", "delete"], tools) == 0
    assert asked == ["this deletes everything, and the table; type the stage's name to confirm: "]
    assert not has_table(place.stage, place.client)
    assert not any("the table" in line for line in place.said if line.startswith("kept"))


def test_nothing_goes_when_another_name_is_typed(place: Place) -> None:
    typed = ["", "prod", "yes"]

    def ask(question: str) -> str:
        if not typed:
            raise EOFError
        return typed.pop()

    before = deployed(place)
    for _ in range(len(typed) + 1):
        with pytest.raises(OpsError, match="that is not dev; nothing was deleted"):
            destroy.main([STAGE], dataclasses.replace(place.tools, ask=ask))
    assert deployed(place) == before
    assert has_stack(place.stage, place.client)
    assert read_public_url(place.stage, place.client)


def test_what_another_machine_has_deployed_goes_too(place: Place) -> None:
    record_path(place.stage, place.root).unlink()
    place.destroy()
    assert not any(deployed(place).values())


def test_a_step_that_fails_leaves_the_next_ones(place: Place) -> None:
    def fail() -> None:
        raise OpsError("`chalice delete` failed, see above; nothing after it was done")

    place.instead["chalice delete"] = fail
    with pytest.raises(OpsError, match="chalice delete"):
        place.destroy()
    assert has_stack(place.stage, place.client)
    place.instead.clear()
    assert place.destroy() == 0
    assert not has_stack(place.stage, place.client)
