"""One message → is its document still in that state? → claim, if unsafe → transition → save.

The runner trusts no message: the document in CouchDB is the truth. A message that comes late, twice
or out of order finds that its document has moved on, and changes nothing.
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
from chalicelib.domain.documents import JsonDict, Rejected, rejection
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


class RunnerContext(Protocol):
    """What the runner needs of the context that a transition gets."""

    @property
    def database(self) -> Database:
        """The database that the document lives in."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """Tells the time, in UTC."""
        ...

    def at(self, db: str) -> Self:
        """The same context for a document of the database `db`."""
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
    message: Message, registry: Registry, context: RunnerContext, claims: Claims | None = None
) -> Outcome:
    """Run the transition that a message asks for, if its document still waits for it.

    Parameters
    ----------
    claims : Claims, optional
        Holds unsafe transitions; a registry without any needs none.

    Raises
    ------
    RegistryError
        If no transition is registered for the message's (type, state), or it needs claims.
    RunningElsewhere
        If another worker holds the claim; it says when to come back.
    Exception
        Whatever the transition, CouchDB or DynamoDB raised that is temporary: try the message
        again.
    """
    transition = registry.transition(message.doc_type, message.state)
    here = context.at(message.db)
    if not transition.unsafe:
        return _run_safe(transition, message.doc_id, here)
    if claims is None:
        raise RegistryError(f"{message.doc_type}/{message.state} is unsafe: it needs claims")
    return _run_unsafe(transition, message, here, claims)


def _run_safe(transition: Transition, doc_id: str, context: RunnerContext) -> Outcome:
    """Run a safe transition and save its changes; run it again if others write the document."""
    database = context.database
    doc = database.find_one(doc_id, conflicts=transition.conflicts)
    key = transition.idempotency_key(doc or {})
    for _ in range(SAVE_ATTEMPTS):
        if doc is None or not transition.is_awaited_by(doc, key):
            return _run_stale(transition, doc_id, context)
        outcome = Outcome.SAVED
        try:
            changes = transition.run(doc, context)
        except Rejected as exc:
            changes, outcome = rejection(exc.reason, context.clock()), Outcome.REJECTED
        if changes is None:
            return Outcome.UNCHANGED
        merged = transition.apply(doc, changes)
        if merged == doc:
            return Outcome.UNCHANGED
        try:
            database.put(merged)
        except Conflict:
            doc = database.find_one(doc_id, conflicts=transition.conflicts)
        else:
            return outcome
    raise StillConflicting(f"{doc_id} changed each time that it was saved")


def _run_stale(transition: Transition, doc_id: str, context: RunnerContext) -> Outcome:
    """Let a safe transition correct what earlier runs left, if its document still exists."""
    if transition.on_stale is not None:
        doc = context.database.find_one(doc_id)
        if doc is not None:
            with suppress(Rejected):  # another transition handles this document now
                transition.on_stale(doc, context)
    return Outcome.STALE


def _run_unsafe(
    transition: Transition, message: Message, context: RunnerContext, claims: Claims
) -> Outcome:
    """Run an unsafe transition under a claim, or save what an earlier run of it has done."""
    database = context.database
    doc = message.doc or database.find_one(message.doc_id)
    if doc is None:
        return Outcome.STALE
    key = transition.idempotency_key(doc)
    pk = claim_key(message.db, message.doc_id, message.state, key)
    taken = claims.take(pk, context.clock().timestamp())
    if isinstance(taken, Done):
        doc = database.find_one(message.doc_id)
        return _merge_changes(transition, key, doc, taken.changes, database)
    try:
        doc = database.find_one(message.doc_id)  # again, now that nobody else runs it
    except CouchError:
        claims.release(taken)
        raise
    if doc is None or not transition.is_awaited_by(doc, key):
        claims.release(taken)
        return Outcome.STALE
    return _run_claimed(transition, doc, taken, context, claims)


def _run_claimed(
    transition: Transition, doc: JsonDict, claim: Claim, context: RunnerContext, claims: Claims
) -> Outcome:
    """Run an unsafe transition; release its claim if it certainly had no effect."""
    try:
        changes = transition.run(doc, context, claim)
    except NoEffect:
        claims.release(claim)
        raise
    except Rejected as exc:
        # Released before the rejection is saved, another worker could send the mail:
        #     A: take, rejected, release ........... save: error
        #     B:                   take, check, send ......... finish: the link leads nowhere
        try:
            return _save_rejection(transition, doc, exc.reason, context)
        finally:
            claims.release(claim)
    if changes is None:
        claims.release(claim)
        return Outcome.UNCHANGED
    key = transition.idempotency_key(doc)
    try:
        claims.finish(claim, changes, context.clock().timestamp())
    finally:
        # Even if that failed: once the document has moved on, no retry has the effect again.
        outcome = _merge_changes(transition, key, doc, changes, context.database)
    return outcome


def _save_rejection(
    transition: Transition, doc: JsonDict, reason: str, context: RunnerContext
) -> Outcome:
    """Put the document into ``error``; a newer revision is left alone and has its own message."""
    try:
        context.database.put(transition.apply(doc, rejection(reason, context.clock())))
    except Conflict:
        return Outcome.STALE
    return Outcome.REJECTED


def _merge_changes(
    transition: Transition, key: str, doc: JsonDict | None, changes: JsonDict, database: Database
) -> Outcome:
    """Merge known changes into the document, or drop them if it has moved on."""
    for _ in range(SAVE_ATTEMPTS):
        if doc is None or not transition.is_awaited_by(doc, key):
            return Outcome.STALE
        merged = transition.apply(doc, changes)
        if merged == doc:
            return Outcome.UNCHANGED
        try:
            database.put(merged)
        except Conflict:
            doc = database.find_one(doc["_id"])
        else:
            return Outcome.SAVED
    raise StillConflicting(f"{doc and doc['_id']} changed each time that it was saved")
