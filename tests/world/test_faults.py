"""One fault at each request of the story: where each chapter ends, nobody can tell.

In the gate every point is tried with both kinds of kill, and a third of all others;
`python -m tests.world` tries them all.
"""

import random

import pytest

from tests.world.faults import Kind
from tests.world.story import ADA, CHAPTERS, LAPTOP, LATE, LOST, NOT_HERS, PHONE, TABLET
from tests.world.trials import Point, story
from tests.world.world import control_name

SHARE = 1 / 3


def chosen(kind: Kind, chapter: str) -> list[Point]:
    """The points of a chapter that the gate tries; the same ones each time."""
    points = [point for point in story().points if point.chapter == chapter]
    if kind.kills:
        return points
    return random.Random(f"{kind} {chapter}").sample(points, round(len(points) * SHARE))


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_after_a_fault_at_any_request_all_ends_as_without_it(kind: Kind, chapter: str) -> None:
    failures = {str(point): story().failures(point, kind) for point in chosen(kind, chapter)}
    assert {point: found for point, found in failures.items() if found} == {}


def test_without_a_fault_the_story_has_each_kind_of_end() -> None:
    databases = story().ends["the rest expires"].picture["databases"]
    docs, own = (databases[db]["docs"] for db in ("control", control_name(ADA)))
    devices = (PHONE, LAPTOP, TABLET, NOT_HERS, LATE, LOST)
    assert [docs[device.device_id]["state"] for device in devices] == [
        *("active", "revoked", "active", "rejected", "expired", "undeliverable")
    ]
    assert {doc["state"] for doc_id, doc in own.items() if doc_id.startswith("inv-")} == {
        *("accepted", "declined", "expired")
    }
    assert [own[channel]["state"] for channel in ("notes", "photos")] == ["closed", "closed"]
    assert databases["_users"]["docs"].keys() == {
        f"org.couchdb.user:{device.device_id}" for device in (PHONE, TABLET)
    }
    assert not [name for name in databases if name.startswith("db-")]


def test_the_story_asks_every_service_hundreds_of_times() -> None:
    points = list(story().points)
    assert len(points) > 600
    services = {point.asked.name.partition(".")[0] for point in points}
    assert services == {"couchdb", "dynamodb", "sqs", "sesv2", "secretsmanager", "ssm"}
