"""The registry: which code runs for which (type, state), and the rules of a step. No I/O.

    control = Control()

    @control.safe("confirm", "clicked", to="used")
    def use_confirmation(doc, cloud): ...

    @control.unsafe("device", "new", to="confirming")
    def request_confirmation(doc, cloud, claim): ...

A transition returns the changes to its document, a dict with at least the next ``state``, or None
to leave the document alone. It raises `Rejected` when the document itself is at fault. Any other
exception counts as passing: the message that brought the document is tried again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chalicelib.domain.documents import ERROR_STATE, JsonDict, generation_of

Run = Callable[..., JsonDict | None]
Late = Callable[..., None]
AnyRun = TypeVar("AnyRun", bound=Run)


class RegistryError(Exception):
    """A (type, state) is registered twice, or asked for and not registered; it names the pair."""


class InvalidChanges(Exception):
    """A transition returned what cannot be saved: the transition is at fault, not the document."""


@dataclass(frozen=True)
class Transition:
    """The code for one (type, state).

    Attributes
    ----------
    run : callable
        ``run(doc, context)`` if safe, ``run(doc, context, claim)`` if unsafe.
    unsafe : bool
        Whether it must not be run by two workers at once; then it runs under a claim.
    to : tuple of str
        The states that it may move its document to, beside its own and ``error``.
    conflicts : bool
        Whether its document comes with the revisions that lost against it, in ``_conflicts``.
    late : callable, optional
        ``late(doc, context)``, for a message that finds its document moved on. A run before it may
        have been killed halfway, or overtaken: what that left outside the document is put right.
        Not for a document that is gone, which says nothing.
    about : tuple of str
        Fields that make it another step, as `generation` does: another guest, another mail.
    """

    doc_type: str
    state: str
    run: Run
    unsafe: bool
    to: tuple[str, ...]
    conflicts: bool = False
    late: Late | None = None
    about: tuple[str, ...] = ()

    def step_of(self, doc: JsonDict) -> str:
        """What tells a step of this state from an earlier one of the same document."""
        generation = str(generation_of(doc))
        if not self.about:
            return generation
        about = json.dumps([doc.get(name) for name in self.about], sort_keys=True)
        return f"{generation}#{hashlib.sha256(about.encode()).hexdigest()[:16]}"

    def stands(self, doc: JsonDict | None, step: str | None = None) -> bool:
        """Whether `doc` still waits for this transition (and, if given, for this step)."""
        if doc is None or (doc.get("type"), doc.get("state")) != (self.doc_type, self.state):
            return False
        return step is None or self.step_of(doc) == step

    def apply(self, doc: JsonDict, changes: JsonDict) -> JsonDict:
        """`doc` with `changes` laid over it; equal to `doc` if they change nothing.

        An error that a document has got over is gone from it.

        Raises
        ------
        InvalidChanges
            If `changes` has no state, or one that the transition was not registered for, or
            touches ``type`` or one of CouchDB's own fields (``_id`` …).
        """
        if changes.get("state") not in (self.state, ERROR_STATE, *self.to):
            raise InvalidChanges(
                f"{self.doc_type}/{self.state} leads to {', '.join(self.to)}, "
                f"not to {changes.get('state', 'a change without a state')!r}"
            )
        reserved = [name for name in changes if name.startswith("_") or name == "type"]
        if reserved:
            raise InvalidChanges(f"changes must not touch {', '.join(reserved)}")
        merged = {**doc, **changes}
        merged.pop("_conflicts", None)  # said of the document, and no part of it
        if merged["state"] != ERROR_STATE:
            merged.pop("error", None)
        return merged


class Registry:
    """A registry of transitions, one for each (type, state)."""

    def __init__(self) -> None:
        self._transitions: dict[tuple[str, str], Transition] = {}

    def __iter__(self) -> Iterator[Transition]:
        """All transitions, in the order of their registration."""
        return iter(self._transitions.values())

    def safe(
        self,
        doc_type: str,
        state: str,
        *,
        to: str,
        conflicts: bool = False,
        late: Late | None = None,
    ) -> Callable[[AnyRun], AnyRun]:
        """Register ``run(doc, context)``, which may run twice at once or again and do no harm.

        Parameters
        ----------
        to : str
            The states that it leads to, in words: ``"ready"``, ``"accepted declined"``.
        conflicts : bool
            Whether it wants to see the revisions that lost; see `Transition`.
        late : callable, optional
            What to do where the document has moved on; see `Transition`.

        Raises
        ------
        RegistryError
            If the pair is registered already.
        """
        return self._register(doc_type, state, to, unsafe=False, conflicts=conflicts, late=late)

    def unsafe(
        self, doc_type: str, state: str, *, to: str, about: Sequence[str] = ()
    ) -> Callable[[AnyRun], AnyRun]:
        """Register ``run(doc, context, claim)``, which racing workers must not run twice.

        Parameters
        ----------
        to : str
            The states that it leads to, in words.
        about : sequence of str
            The fields that its effect is about; see `Transition`.

        Raises
        ------
        RegistryError
            If the pair is registered already.
        """
        return self._register(doc_type, state, to, unsafe=True, about=tuple(about))

    def transition(self, doc_type: str, state: str) -> Transition:
        """The transition of (type, state).

        Raises
        ------
        RegistryError
            If none is registered.
        """
        try:
            return self._transitions[doc_type, state]
        except KeyError:
            raise RegistryError(f"no transition is registered for {doc_type}/{state}") from None

    def _register(
        self,
        doc_type: str,
        state: str,
        to: str,
        *,
        unsafe: bool,
        conflicts: bool = False,
        late: Late | None = None,
        about: tuple[str, ...] = (),
    ) -> Callable[[AnyRun], AnyRun]:
        def register(run: AnyRun) -> AnyRun:
            if (doc_type, state) in self._transitions:
                raise RegistryError(f"{doc_type}/{state} is registered twice")
            self._transitions[doc_type, state] = Transition(
                doc_type, state, run, unsafe, tuple(to.split()), conflicts, late, about
            )
            return run

        return register
