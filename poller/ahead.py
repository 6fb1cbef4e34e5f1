"""Calls begun before their results are needed, so that requests need not wait for one another."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Below the ten connections that a boto3 client keeps.
REQUESTS_AT_ONCE = 8

Result = TypeVar("Result")


class Begin(Protocol):
    """Begins a call; returns what waits for its result, and raises what it raised."""

    def __call__(self, call: Callable[[], Result], /) -> Callable[[], Result]:
        """Begin the call."""
        ...


def when_needed(call: Callable[[], Result], /) -> Callable[[], Result]:
    """Begin the call when somebody waits for it: one request after another."""
    return call


def in_threads(call: Callable[[], Result], /) -> Callable[[], Result]:
    """Begin the call at once in a thread, of which there are a few."""
    return _threads().submit(call).result


@cache
def _threads() -> "ThreadPoolExecutor":
    # Most runs have nothing to begin ahead, and need not import this.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="ahead")
