"""The registry: which code runs for which (type, state), and what it may change. No I/O.

    registry = Registry()

    @registry.safe("confirm", "clicked", to="used")
    def use_confirmation(doc, context): ...

    @registry.unsafe("device", "new", to="confirming")
    def request_confirmation(doc, context, claim): ...

A transition returns the changes to its document, a dict with at least the next ``state``. It
returns None to leave the document unchanged. It raises `Rejected` when the document itself is at
fault. Any other exception counts as temporary, and the message is retried.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from chalicelib.domain.documents import ERROR_STATE, JsonDict, generation_of

Run = Callable[..., JsonDict | None]
OnStale = Callable[..., None]
KeyOf = Callable[[JsonDict], object]
AnyRun = TypeVar("AnyRun", bound=Run)


class RegistryError(Exception):
    """Raised when a (type, state) is registered twice or not at all; it names the pair."""


class InvalidChanges(Exception):
    """Raised when a transition returns invalid changes.

    The transition is at fault, not the document.
    """


@dataclass(frozen=True)
class Transition:
    """The code for one (type, state).

    Attributes
    ----------
    run : callable
        ``run(doc, context)`` if safe, ``run(doc, context, claim)`` if unsafe.
    unsafe : bool
        Whether racing workers must not run it twice. Then it runs under a claim.
    to : tuple of str
        The states that it may move its document to, beside its own and ``error``.
    conflicts : bool
        Whether the document is read with the ids of its losing leaf revisions, in ``_conflicts``.
        Set it if a losing revision may have what the winner lacks.
    on_stale : callable, optional
        ``on_stale(doc, context)`` runs when the document has left the state of the message. An
        earlier run may have been killed halfway or overtaken. This function corrects what that run
        did outside the document. It does not run for a document that is gone. A transition that
        writes outside its document needs it.
    key_of : callable, optional
        ``key_of(doc)`` returns what else is part of the idempotency key, as a JSON value: with
        another guest it is another mail. It gets documents that were not checked, and must not
        raise.
    """

    doc_type: str
    state: str
    run: Run
    unsafe: bool
    to: tuple[str, ...]
    conflicts: bool = False
    on_stale: OnStale | None = None
    key_of: KeyOf | None = None

    def idempotency_key(self, doc: JsonDict) -> str:
        """Return the key that tells another run from a retry of the same run."""
        generation = str(generation_of(doc))
        if self.key_of is None:
            return generation
        values = json.dumps(self.key_of(doc), sort_keys=True)
        return f"{generation}#{hashlib.sha256(values.encode()).hexdigest()[:16]}"

    def is_awaited_by(self, doc: JsonDict | None, key: str | None = None) -> bool:
        """Return whether `doc` still waits for this transition, with the same idempotency key."""
        if doc is None or (doc.get("type"), doc.get("state")) != (self.doc_type, self.state):
            return False
        return key is None or self.idempotency_key(doc) == key

    def apply(self, doc: JsonDict, changes: JsonDict) -> JsonDict:
        """Return `doc` with `changes` merged into it; equal to `doc` if nothing changes.

        A document that leaves the state ``error`` loses its ``error`` field.

        Raises
        ------
        InvalidChanges
            If `changes` has no state, or a state that the transition was not registered for. Also
            if it has ``type`` or one of CouchDB's own fields (``_id`` …).
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
        merged.pop("_conflicts", None)  # part of CouchDB's answer, not of the document
        if merged["state"] != ERROR_STATE:
            merged.pop("error", None)
        return merged


class Registry:
    """A registry of transitions, one for each (type, state)."""

    def __init__(self) -> None:
        self._transitions: dict[tuple[str, str], Transition] = {}

    def __iter__(self) -> Iterator[Transition]:
        """Iterate over all transitions, in the order of their registration."""
        return iter(self._transitions.values())

    def safe(
        self,
        doc_type: str,
        state: str,
        *,
        to: str,
        conflicts: bool = False,
        on_stale: OnStale | None = None,
    ) -> Callable[[AnyRun], AnyRun]:
        """Register ``run(doc, context)``, which is idempotent: two runs, even at once, do no harm.

        Parameters
        ----------
        to : str
            The states that it leads to, separated by spaces: ``"ready"``, ``"accepted declined"``.
        conflicts : bool
            Whether the document is read with its losing leaf revisions; see `Transition`.
        on_stale : callable, optional
            Runs when the document has left the state of the message; see `Transition`.

        Raises
        ------
        RegistryError
            If the pair is registered already.
        """
        return self._register(
            doc_type, state, to, unsafe=False, conflicts=conflicts, on_stale=on_stale
        )

    def unsafe(
        self, doc_type: str, state: str, *, to: str, key_of: KeyOf | None = None
    ) -> Callable[[AnyRun], AnyRun]:
        """Register ``run(doc, context, claim)``, which racing workers must not run twice.

        Parameters
        ----------
        to : str
            The states that it leads to, separated by spaces.
        key_of : callable, optional
            Returns what else is part of the idempotency key; see `Transition`.

        Raises
        ------
        RegistryError
            If the pair is registered already.
        """
        return self._register(doc_type, state, to, unsafe=True, key_of=key_of)

    def transition(self, doc_type: str, state: str) -> Transition:
        """Return the transition of (type, state).

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
        on_stale: OnStale | None = None,
        key_of: KeyOf | None = None,
    ) -> Callable[[AnyRun], AnyRun]:
        def register(run: AnyRun) -> AnyRun:
            if (doc_type, state) in self._transitions:
                raise RegistryError(f"{doc_type}/{state} is registered twice")
            self._transitions[doc_type, state] = Transition(
                doc_type, state, run, unsafe, tuple(to.split()), conflicts, on_stale, key_of
            )
            return run

        return register
