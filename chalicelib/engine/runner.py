"""Runs one message: check the document's state, claim if unsafe, run the transition, save.

The document in CouchDB is the truth, not the message. A message may come late, twice or out of
order. If its document has left the state, the message is stale, and its transition does not run.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

from chalicelib.aws.claims import Claim, Claims, Done, claim_key
from chalicelib.couch import Conflict, CouchError, Database
from chalicelib.domain.documents import JsonDict, Rejected, rejection
from chalicelib.engine.docstate import Registry, RegistryError, Transition
from chalicelib.errors import NoEffect, StillConflicting


class Outcome(StrEnum):
    """The outcome of one message."""

    SAVED = "saved"  # the document is in its next state
    REJECTED = "rejected"  # the document was at fault, and is now in state error
    UNCHANGED = "unchanged"  # the transition changed nothing
    STALE = "stale"  # the document has left the message's state, or is gone


class InvalidMessage(Exception):
    """Raised when a message in the queue is not from the poller."""


class RunnerContext(Protocol):
    """The part of a transition's context that the runner needs."""

    @property
    def database(self) -> Database:
        """Return the database that has the document."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """Return the clock, which returns the current time in UTC."""
        ...

    def at(self, db: str) -> Self:
        """Return the same context for a document in the database `db`."""
        ...


@dataclass(frozen=True)
class Message:
    """The poller's message about one document.

    Attributes
    ----------
    doc : dict or None
        The document; None if it was too large for a message.
    sent_at_ms : int or None
        When the poller sent the message, in milliseconds since 1970, if it was sent again since.
    """

    db: str
    doc_id: str
    doc_type: str
    state: str
    doc: JsonDict | None
    sent_at_ms: int | None = None

    @classmethod
    def parse(cls, body: str) -> Self:
        """Read the body of an SQS message: ``{db, id, rev, type, state, doc?, sent_at_ms?}``.

        Raises
        ------
        InvalidMessage
            If it is not a JSON object of that shape.
        """
        try:
            raw = json.loads(body)
            message = cls(raw["db"], raw["id"], raw["type"], raw["state"], raw.get("doc"))
            sent_at_ms = raw.get("sent_at_ms")
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise InvalidMessage(f"the message's body is none of the poller's: {exc!r}") from exc
        texts = (message.db, message.doc_id, message.doc_type, message.state)
        if not all(isinstance(text, str) for text in texts) or not isinstance(
            message.doc, dict | None
        ):
            raise InvalidMessage("the message's body has a field of the wrong type")
        return replace(message, sent_at_ms=sent_at_ms if isinstance(sent_at_ms, int) else None)

    def reference(self, *, sent_at_ms: int) -> str:
        """Return the body of a message about the same document, without the document."""
        return json.dumps(
            {
                "db": self.db,
                "id": self.doc_id,
                "type": self.doc_type,
                "state": self.state,
                "sent_at_ms": sent_at_ms,
            }
        )


def handle(
    message: Message, registry: Registry, context: RunnerContext, claims: Claims | None = None
) -> Outcome:
    """Run the transition for a message, if its document is still in the message's state.

    Parameters
    ----------
    claims : Claims, optional
        The claims on unsafe transitions. A registry without unsafe transitions needs none.

    Raises
    ------
    RegistryError
        If no transition is registered for the message's (type, state), or if it is unsafe and
        `claims` is missing.
    RunningElsewhere
        If another worker holds the claim; `retry_after_s` says when to retry.
    Exception
        Any temporary error of the transition, CouchDB or DynamoDB. The message must be retried.
    """
    transition = registry.transition(message.doc_type, message.state)
    here = context.at(message.db)
    if not transition.unsafe:
        return _run_safe(transition, message.doc_id, here)
    if claims is None:
        raise RegistryError(f"{message.doc_type}/{message.state} is unsafe: it needs claims")
    return _run_unsafe(transition, message, here, claims)


def _run_safe(transition: Transition, doc_id: str, context: RunnerContext) -> Outcome:
    """Run a safe transition and save its changes; run it again if the save conflicts."""
    database = context.database
    doc = database.find_one(doc_id, conflicts=transition.conflicts)
    key = transition.idempotency_key(doc or {})
    for _ in database.attempts():
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
    raise StillConflicting(f"{database.name}/{doc_id} changed each time that it was saved")


def _run_stale(transition: Transition, doc_id: str, context: RunnerContext) -> Outcome:
    """Run `on_stale` of a safe transition, if its document still exists."""
    if transition.on_stale is not None:
        doc = context.database.find_one(doc_id)
        if doc is not None:
            with suppress(Rejected):  # another transition handles this document now
                transition.on_stale(doc, context)
    return Outcome.STALE


def _run_unsafe(
    transition: Transition, message: Message, context: RunnerContext, claims: Claims
) -> Outcome:
    """Run an unsafe transition under a claim, or save the changes of an earlier run."""
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
        doc = database.find_one(message.doc_id)  # read again, now that no other worker can run it
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
        # The claim is released after the rejection is saved. Otherwise there is a race:
        #     A: take, rejected, release ........... save: error
        #     B:                   take, check, send ......... finish: the mail's link is invalid
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
        # Save even if `finish` failed: in the next state, no retry can have the effect again.
        outcome = _merge_changes(transition, key, doc, changes, context.database)
    return outcome


def _save_rejection(
    transition: Transition, doc: JsonDict, reason: str, context: RunnerContext
) -> Outcome:
    """Put the document into ``error``. A newer revision is not changed: it has its own message."""
    try:
        context.database.put(transition.apply(doc, rejection(reason, context.clock())))
    except Conflict:
        return Outcome.STALE
    return Outcome.REJECTED


def _merge_changes(
    transition: Transition, key: str, doc: JsonDict | None, changes: JsonDict, database: Database
) -> Outcome:
    """Merge known changes into the document, or drop them if it has left the transition's state."""
    for _ in database.attempts():
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
    doc_id = doc and doc["_id"]
    raise StillConflicting(f"{database.name}/{doc_id} changed each time that it was saved")
