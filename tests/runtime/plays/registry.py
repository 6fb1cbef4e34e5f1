"""Which plays there are: each is registered with the sample event that it plays."""

from collections.abc import Callable

import requests

from tests.runtime.acts import Acts
from tests.runtime.harness.world import World
from tests.runtime.samples import PASSWORD

Play = Callable[[Acts], None]
# By name: the play and the sample that it plays, a file in events/.
PLAYS: dict[str, tuple[str, Play]] = {}


def plays(sample: str) -> Callable[[Play], Play]:
    """Register a play of a sample event."""

    def register(play: Play) -> Play:
        PLAYS[play.__name__] = (sample, play)
        return play

    return register


def ensure(world: World, name: str) -> None:
    """Play, unless it was played in this world before and went well."""
    if name not in world.played:
        PLAYS[name][1](Acts.of(world))
        world.played.add(name)


def login_status(acts: Acts) -> int:
    """The status that CouchDB answers to the device's login."""
    auth = (acts.cast.device_id, PASSWORD)
    return requests.get(f"{acts.world.server.url}/_session", auth=auth, timeout=30).status_code
