"""One message → is its document still in that state? → claim, if unsafe → transition → save.

The framework's one loop. It trusts no message: the document in CouchDB is the truth, so a message
that comes late, twice or out of order finds its document moved on, and does nothing.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

from chalicelib.aws.claims import Claim, Claims, Done, claim_key
from chalicelib.couch import Conflict, CouchError, Database
from chalicelib.domain import documents
from chalicelib.domain.documents import JsonDict, Rejected
from chalicelib.engine.docstate import Registry, RegistryError, Transition
from chalicelib.errors import NoEffect, StillConflicting

# How often a save may lose to other writers of the same document before the message is handed back.
SAVE_ATTEMPTS = 5


class Outcome(StrEnum):
    """What became of one message."""

    SAVED = "saved"  # the document is in its next state
    REJECTED = "rejected"  # the document was at fault, and says so now
    UNCHANGED = "unchanged"  # the transition wanted no change
    STALE = "stale"  # the document has moved on, or is gone


class InvalidMessage(Exception):
    """The queue holds something that the poller did not send."""


class Tools(Protocol):
    """What the runner needs of the `context` that a transition gets."""

    @property
    def database(self) -> Database:
        """The database that the document lives in."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """Tells the time, in UTC."""
        ...

    def at(self, db: str) -> Self:
        """The same tools for a document of the database `db`."""
        ...


@dataclass(frozen=True)
class Message:
    """What the poller sends for one document; `doc` is None where it was too large to travel."""

    db: str
    doc_id: str
    doc_type: str
    state: str
    doc: JsonDict | None

    @classmethod
    def parse(cls, body: str) -> Self:
        """Read the body of an SQS message: ``{db, id, rev, type, state, doc?}``.

        Raises
        ------
        InvalidMessage
            If it is no JSON object of that shape.
        """
        try:
            raw = json.loads(body)
            message = cls(raw["db"], raw["id"], raw["type"], raw["state"], raw.get("doc"))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise InvalidMessage(f"the message's body is none of the poller's: {exc!r}") from exc
        texts = (message.db, message.doc_id, message.doc_type, message.state)
        if not all(isinstance(text, str) for text in texts) or not isinstance(
            message.doc, dict | None
        ):
            raise InvalidMessage("the message's body has a field of the wrong type")
        return message


def handle(
    message: Message, registry: Registry, tools: Tools, claims: Claims | None = None
) -> Outcome:
    """Run the transition that a message asks for, if its document still waits for it.

    Parameters
    ----------
    claims : Claims, optional
        What unsafe transitions are held by; a registry without any needs none.

    Raises
    ------
    RegistryError
        If no transition is registered for the message's (type, state), or it needs claims.
    RunningElsewhere
        If another worker holds this unsafe step; it says when to come back.
    Exception
        Whatever the transition, CouchDB or DynamoDB raised that may pass: try the message again.
    """
    transition = registry.transition(message.doc_type, message.state)
    here = tools.at(message.db)
    if not transition.unsafe:
        return _run_safe(transition, message.doc_id, here)
    if claims is None:
        raise RegistryError(f"{message.doc_type}/{message.state} is unsafe: it needs claims")
    return _run_unsafe(transition, message, here, claims)


# What a step comes to: the changes to save (None: leave the document alone) and what to call it.
_Result = tuple[JsonDict | None, Outcome]


def _run_safe(transition: Transition, doc_id: str, tools: Tools) -> Outcome:
    def run(doc: JsonDict) -> _Result:
        try:
            changes = transition.run(doc, tools)
        except Rejected as exc:
            return documents.rejection(exc.reason, tools.clock()), Outcome.REJECTED
        return changes, Outcome.UNCHANGED if changes is None else Outcome.SAVED

    doc = tools.database.find_one(doc_id, conflicts=transition.conflicts)
    outcome = _save(transition, transition.step_of(doc or {}), doc, run, tools.database)
    if outcome is Outcome.STALE and transition.late and (doc := tools.database.find_one(doc_id)):
        with suppress(Rejected):  # said of a document that is another transition's by now
            transition.late(doc, tools)
    return outcome


def _run_unsafe(transition: Transition, message: Message, tools: Tools, claims: Claims) -> Outcome:
    doc = message.doc or tools.database.find_one(message.doc_id)
    if doc is None:
        return Outcome.STALE
    step = transition.step_of(doc)
    pk = claim_key(message.db, message.doc_id, message.state, step)
    taken = claims.take(pk, tools.clock().timestamp())
    doc = _check(taken, message.doc_id, tools.database, claims)

    def save(result: _Result) -> Outcome:
        def result_for(newer: JsonDict) -> _Result:
            # A rejection is of the document that was looked at; a newer one brings its own message.
            is_of_another = result[1] is Outcome.REJECTED and newer is not doc
            return (None, Outcome.STALE) if is_of_another else result

        return _save(transition, step, doc, result_for, tools.database)

    if isinstance(taken, Done):
        return save((taken.changes, Outcome.SAVED))
    if doc is None or not transition.stands(doc, step):
        claims.release(taken)
        return Outcome.STALE
    return _run_claimed(transition, doc, taken, tools, claims, save)


def _check(taken: Claim | Done, doc_id: str, database: Database, claims: Claims) -> JsonDict | None:
    """Read the document again, now that nobody else runs its step."""
    try:
        return database.find_one(doc_id)
    except CouchError:
        if isinstance(taken, Claim):
            claims.release(taken)
        raise


def _run_claimed(
    transition: Transition,
    doc: JsonDict,
    claim: Claim,
    tools: Tools,
    claims: Claims,
    save: Callable[[_Result], Outcome],
) -> Outcome:
    """Run the transition and save its result; release the claim if it surely had no effect."""
    try:
        changes = transition.run(doc, tools, claim)
    except NoEffect:
        claims.release(claim)
        raise
    except Rejected as exc:
        # Given back before it is saved, a rejection could meet another worker's effect:
        #     A: take, rejected, release ........... save: error
        #     B:                   take, check, send ......... finish: the mail's link leads nowhere
        try:
            return save((documents.rejection(exc.reason, tools.clock()), Outcome.REJECTED))
        finally:
            claims.release(claim)
    if changes is None:
        claims.release(claim)
        return Outcome.UNCHANGED
    try:
        claims.finish(claim, changes, tools.clock().timestamp())
    finally:
        # Even if that failed: once the document has moved on, no retry has the effect again.
        outcome = save((changes, Outcome.SAVED))
    return outcome


def _save(
    transition: Transition,
    step: str,
    doc: JsonDict | None,
    result_for: Callable[[JsonDict], _Result],
    database: Database,
) -> Outcome:
    """Save what `result_for` makes of the document, as long as the document stands where it stood.

    On a conflict the document is read again: a safe transition (whose `result_for` runs it) sees
    the newer revision, an unsafe one (whose result is known) has its changes merged into it.
    """
    for _ in range(SAVE_ATTEMPTS):
        if doc is None or not transition.stands(doc, step):
            return Outcome.STALE
        changes, outcome = result_for(doc)
        if changes is None:
            return outcome
        merged = transition.apply(doc, changes)
        if merged == doc:
            return Outcome.UNCHANGED
        try:
            database.put(merged)
            return outcome
        except Conflict:
            doc = database.find_one(doc["_id"], conflicts=transition.conflicts)
    raise StillConflicting(f"{doc and doc['_id']} changed each time that it was saved")
