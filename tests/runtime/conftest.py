"""The deployed system, built once for all test processes and started once in each."""

from collections.abc import Iterator

import pytest

from local.aws import LocalAws
from tests.runtime.harness import artifacts as building
from tests.runtime.harness.artifacts import Artifacts
from tests.runtime.harness.world import World

pytest.register_assert_rewrite("tests.runtime.acts", "tests.runtime.plays")


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Artifacts:
    """What would be uploaded; the first test process builds it, the others wait."""
    folder = tmp_path_factory.getbasetemp()
    return building.build(folder if worker_id == "master" else folder.parent)


@pytest.fixture(scope="session")
def world(
    artifacts: Artifacts, couch_url: str, aws: LocalAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    world = World(artifacts, couch_url, aws, tmp_path_factory.mktemp("functions"))
    yield world
    world.close()
