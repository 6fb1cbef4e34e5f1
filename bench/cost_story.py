"""Run one story over CouchDB and AWS in memory, and record the requests of each step.

Every Lambda starts cold, so that its read of the secret is counted. The poller runs for one window,
in which everything happens.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from chalicelib.domain.addresses import owner_id_of
from chalicelib.handlers.all import registry
from chalicelib.web import registrations
from poller.app import PollerDependencies, run
from tests.kit.fakes.executor import LazyExecutor
from tests.world.region import POLLER
from tests.world.world import Device, World

WINDOW_S = 50
OWNER, GUEST = "ada@example.com", "ben@example.com"
PHONE, LAPTOP = Device(OWNER, "phone"), Device(OWNER, "laptop")

Act = Callable[[World], object]
Costs = dict[str, list[str]]

# Patterns of the parts of a path that differ from run to run, and what they are.
_NAMES = (
    (r"confirm-device-\w+-0", "{confirm}"),
    (r"org\.couchdb\.user%3Adevice-\w+", "{login}"),
    (r"expiry-\w+-invitation", "{expiry note}"),
    (r"(db-[0-9a-f]{32}|notes)-sub-[0-9a-f]{32}", "{subscription}"),
    (r"device-[0-9a-f]{32}", "{device}"),
    (f"control-{owner_id_of(GUEST)}", "control-{guest}"),
    (r"control-[0-9a-f]{32}", "control-{owner}"),
    (r"(?<=\{guest\}/)db-[0-9a-f]{32}$", "{shared channel}"),
    (r"db-[0-9a-f]{32}", "db-{channel}"),
    (r"/notes$", "/{channel}"),
    (r"/invitation$", "/{invitation}"),
)


def _writes(doc_id: str, **changes: object) -> Act:
    return lambda world: world.edit_own(OWNER, doc_id, **changes)


def _opens(address: str, step: str | None = None) -> Act:
    return lambda world: world.look(world.mails_to(address)[-1], step)


def _looks(world: World) -> None:
    world.ask("GET state", lambda context: registrations.show_state(context, PHONE.device_id))


def _accepts(world: World) -> None:
    world.post(world.mails_to(GUEST)[-1], answer="accept")


def _handles(doc_type: str, state: str) -> Act:
    return lambda world: world.deliver(registry.transition(doc_type, state))


_quiet: Act = World.run_until_quiet


# What happens, and which steps it runs: each as the world names its process, and as it is called
# here. Other processes between them are not recorded.
STORY: Sequence[tuple[Act, Sequence[tuple[str, str]]]] = (
    (
        lambda world: world.register(PHONE),
        [
            ("revs_diff", "POST /registrations/_revs_diff"),
            ("bulk_docs", "POST /registrations/_bulk_docs"),
        ],
    ),
    (_looks, [("GET state", "GET /registrations/{device}")]),
    (_quiet, [("device/new", "device/new")]),
    (_opens(OWNER), [("GET page", "GET /confirm/{token}")]),
    (lambda world: world.click(PHONE), [("POST page", "POST /confirm/{token}")]),
    (_opens(OWNER, "answered"), [("GET page", "GET /confirm/{token}, answered")]),
    (_quiet, [("confirm/clicked", "confirm/clicked"), ("device/confirmed", "device/confirmed")]),
    (lambda world: world.register(LAPTOP), []),
    (_quiet, []),
    (lambda world: world.click(LAPTOP), []),
    (_quiet, [("device/confirmed", "device/confirmed, the owner's second")]),
    (_writes("notes", type="channel", state="new", name="Notes"), []),
    (_quiet, [("channel/new", "channel/new"), ("channel/ready", "channel/ready, nothing to do")]),
    (_writes("notes", name="Our notes"), []),
    (_quiet, [("channel/ready", "channel/ready, another name")]),
    (_writes("invitation", type="invitation", state="new", channel="notes", email=GUEST), []),
    (_quiet, [("invitation/new", "invitation/new")]),
    (_opens(GUEST), [("GET page", "GET /invitation/{token}")]),
    (_accepts, [("POST page", "POST /invitation/{token}")]),
    (_quiet, [("invitation/accepting", "invitation/accepting, the guest's first")]),
    (_writes(LAPTOP.device_id, state="revoking"), []),
    (
        _quiet,
        [
            ("device/revoking", "device/revoking, the owner's document"),
            ("device/revoking", "device/revoking"),
        ],
    ),
    (_writes("notes", state="closing"), []),
    (_quiet, [("channel/closing", "channel/closing, with a guest")]),
)


def counted() -> Costs:
    """Record the requests of each step in their order: ``["couchdb.GET /registry/{device}", …]``.

    The poller's windows of a minute are steps of their own.
    """
    return {**_steps(), **_poller()}


def _steps() -> Costs:
    world, costs = World.new(), Costs()
    for act, steps in STORY:
        seen = len(world.gate.asked)
        act(world)
        asked = groupby(world.gate.asked[seen:], key=lambda request: request.process)
        runs = ((process, [_named(request.name) for request in run]) for process, run in asked)
        for process, step in steps:
            costs[step] = next(run for name, run in runs if name == process)
    return costs


def _poller() -> Costs:
    """Record the poller's requests for each wave of a registration, and in a window without any.

    A wave begins when a wait ends, and goes on to the end of the next wait.
    """
    world = World.new()
    _window(world, [])  # the first ever looks at everything
    waves = _window(
        world,
        [
            lambda world: world.register(PHONE),
            _handles("device", "new"),
            lambda world: world.click(PHONE),
            _handles("confirm", "clicked"),
            _handles("device", "confirmed"),
        ],
    )
    names = ("new", "confirming", "clicked", "confirmed", "active")
    costs = {f"poller, a wave: {name}": wave for name, wave in zip(names, waves[1:], strict=False)}
    idle = [request for wave in _window(world, []) for request in wave]
    return {**costs, "poller, a window at rest": idle}


def _window(world: World, acts: Sequence[Act]) -> list[list[str]]:
    """Run the poller once, with an act in each wait while there are any; return its waves."""
    left, waves = list(acts), [list[str]()]

    def around(name: str, call: Callable[[], Any]) -> Any:
        waves[-1].append(_named(name))
        return call()

    def waited(wait_s: float) -> None:
        if left:
            left.pop(0)(world)
        else:
            world.clock.move(wait_s)
        waves.append([])

    world.couch.waited = waited
    dependencies = PollerDependencies(
        client=lambda service: world.aws.client(service, around),
        server=lambda url: world.couch.server(around),
        now_s=world.clock.time_s,
        monotonic_s=world.clock.time_s,
        pause=world.clock.move,
        executor=LazyExecutor,
    )
    run(replace(POLLER, window_s=WINDOW_S), dependencies=dependencies)
    world.couch.waited = lambda wait_s: None
    world.clock.move(60 - WINDOW_S)
    return waves


def _named(request: str) -> str:
    """Replace the parts of a request's name that differ from run to run by what they are."""
    for pattern, name in _NAMES:
        request = re.sub(pattern, name, request)
    return request
