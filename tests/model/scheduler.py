"""Runs a program up to its next request, and again from there on, without a thread of its own.

A program is the real code: one message handled, one run of the poller. Before each request it asks
the `Scheduler`. There it is stopped by an exception, and built again when its turn comes: it is run
again and given whatever it heard before, answers, times and random ids alike.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# One round of an actor. True: it is done; else it restarts, knowing nothing.
Program = Callable[[], bool]


class _Stopped(BaseException):
    """Ends a program where its next request waits. No `except Exception` catches it."""


class Broken(BaseException):
    """What a request asserts does not hold; that is not for the program to hear."""


@dataclass(frozen=True, repr=False)
class Heard:
    """An answer or an error, and the text that tells it."""

    answer: Any
    error: Exception | None
    text: str

    def __repr__(self) -> str:
        return self.text

    @classmethod
    def of(cls, tell: Callable[[], Any]) -> "Heard":
        """What is to be heard."""
        try:
            answer = tell()
        except AssertionError as exc:
            raise Broken(str(exc)) from exc
        except Exception as exc:
            return cls(None, exc, f"{exc!r} {vars(exc)}")
        return cls(answer, None, repr(answer))


@dataclass(frozen=True)
class Actor:
    """Where an actor stands; `awaits` is what may become of its request, empty at its end."""

    round: int = 0
    heard: tuple[Heard, ...] = ()
    awaits: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """What it was told; all else follows."""
        return f"{self.round} {self.awaits[:1]} {self.heard}"


class Scheduler:
    """What the programs ask; outside of a program every request goes through."""

    def __init__(self) -> None:
        self._is_running = False
        self._heard: list[Heard] = []
        self._given = 0
        self._choice: str | None = None
        self._awaits: tuple[str, ...] = ()

    def request(self, name: str, call: Callable[[], Any], **others: Callable[[], Any]) -> Any:
        """Make a request, or what else may become of it (a fault, by its name), when it is time.

        All that changes what the actors share happens in here: the rest is run again and again.
        """
        if self._is_running and not self._awaits and self._given == len(self._heard):
            if self._choice is None:
                self._awaits = (name, *others)
                raise _Stopped
            call, self._choice = others.get(self._choice, call), None
        return self.hear(call)

    def hear(self, tell: Callable[[], Any]) -> Any:
        """Learn something without a stop: the time, a random id."""
        if not self._is_running:
            return tell()
        if self._awaits:
            raise _Stopped  # a `finally` on the way out: the dead learn nothing, and send nothing
        if self._given == len(self._heard):
            self._is_running = False
            self._heard.append(Heard.of(tell))
            self._is_running = True
        heard = self._heard[self._given]
        self._given += 1
        if heard.error is not None:
            raise heard.error.with_traceback(None)
        return heard.answer

    def run(self, program: Program, actor: Actor, choice: str | None = None) -> Actor | bool:
        """Build an actor and let one request through; where it stops next, or what it returned."""
        self._heard, self._given = list(actor.heard), 0
        self._choice, self._awaits = choice, ()
        random_id, thread = uuid.uuid4, threading.get_ident()

        def heard_id() -> uuid.UUID:
            if threading.get_ident() != thread:  # of another test's servers, which go on meanwhile
                return random_id()
            return uuid.UUID(self.hear(lambda: random_id().hex))

        uuid.uuid4 = heard_id
        self._is_running = True
        try:
            return program()
        except _Stopped:
            return Actor(actor.round, tuple(self._heard), self._awaits)
        finally:
            self._is_running = False
            uuid.uuid4 = random_id
