"""What devices may do to the documents of their owner's control database, as data. No I/O.

The rules that CouchDB runs (`design/owner_control.js`), the tests of these rules, and the diagram
and the table in the docs are made from `TYPES`.

A device may take several steps offline. They reach the cloud as one revision, and CouchDB shows the
rules only the last one. So the rules accept what a chain of steps leads to. `TypeRules` computes
that from the single steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chalicelib.domain.documents import JsonDict


@dataclass(frozen=True)
class AskingAgain:
    """How a device asks for the same thing again, in a type that counts how often it was asked.

    Attributes
    ----------
    state : str
        The state that the document goes back to.
    counter : str
        The field with a whole number that must rise then, and may change only then.
    fixed : tuple of str
        Other fields that may change only then.
    """

    state: str
    counter: str
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class TypeRules:
    """What a device may do to the documents of one type.

    Attributes
    ----------
    made : tuple of str
        The states in which a device may write a document where there is none, or a deleted one.
    moves : mapping
        For each state, the states that a device may write over it. Where the state itself is not
        among them, a device may not change the document at all.
    ends : tuple of str
        The states in which a device may delete the document: nothing comes of it any more.
    clouds : tuple of str or None
        The fields that only the cloud writes, beside `error`; None means all fields.
    again : AskingAgain, optional
        Set if the type counts how often it was asked for.
    answers : tuple of str
        The states in which the cloud acts on somebody's answer. No device may bring one back, even
        as a revision that says the same as an earlier one: the answer was for one time only.
    """

    made: tuple[str, ...]
    moves: Mapping[str, tuple[str, ...]]
    ends: tuple[str, ...]
    clouds: tuple[str, ...] | None
    again: AskingAgain | None = None
    answers: tuple[str, ...] = ()

    @property
    def states(self) -> list[str]:
        """Return all states that a device may write, change or delete."""
        return sorted({*self.moves, *self.ends, *_flat(self.moves.values()), *self.made})

    def is_again(self, before: str, after: str) -> bool:
        """Return whether the step from one state to the other asks for the same thing again."""
        return self.again is not None and after == self.again.state != before

    def made_by_chains(self) -> list[str]:
        """Return the states that any number of steps lead to from nothing."""
        return sorted(self._reach(self.made))

    def direct(self, state: str) -> list[str]:
        """Return the states that one or more steps lead to, none of which asks again."""
        return sorted(self._reach(self._next(state, again=False), again=False))

    def by_asking_again(self, state: str) -> list[str]:
        """Return the states that one or more steps lead to, at least one of which asks again."""
        before = {state, *self.direct(state)}
        asked = _flat(self._next(one, again=True) for one in before)
        return sorted(self._reach(asked))

    def deletable(self) -> list[str]:
        """Return the states from which steps lead to a state in which the document may go."""
        return [state for state in self.states if self._reach([state]) & set(self.ends)]

    def _next(self, state: str, *, again: bool | None = None) -> list[str]:
        """Return the states after one step: any, or only those that ask again or do not."""
        return [
            after
            for after in self.moves.get(state, ())
            if again is None or self.is_again(state, after) is again
        ]

    def _reach(self, starts: Iterable[str], *, again: bool | None = None) -> set[str]:
        """Return the states in `starts` and all that steps lead to from there."""
        reached: set[str] = set()
        waiting = list(starts)
        while waiting:
            state = waiting.pop()
            if state not in reached:
                reached.add(state)
                waiting += self._next(state, again=again)
        return reached


def _flat(lists: Iterable[Iterable[str]]) -> list[str]:
    return [item for each in lists for item in each]


_SUBSCRIPTION_STATES = ("active", "paused", "stopped")

TYPES: Mapping[str, TypeRules] = {
    "channel": TypeRules(
        made=("new",),
        moves={
            "new": ("new", "closing"),
            "ready": ("ready", "closing"),
            "error": ("error", "new", "closing"),
        },
        ends=("closed",),
        clouds=("syncpoint", "ready_at", "closed_at", "reason", "joined", "leaving"),
    ),
    "subscription": TypeRules(
        made=_SUBSCRIPTION_STATES,
        moves=dict.fromkeys(_SUBSCRIPTION_STATES, _SUBSCRIPTION_STATES),
        ends=_SUBSCRIPTION_STATES,
        clouds=("reason",),
    ),
    "invitation": TypeRules(
        made=("new",),
        moves={
            "new": ("new", "withdrawn"),
            "sent": ("sent", "withdrawn"),
            "withdrawn": ("withdrawn", "new"),
            "declined": ("declined", "new"),
            "expired": ("expired", "new"),
            "error": ("error", "new"),
        },
        ends=("accepted", "declined", "withdrawn", "expired", "error"),
        clouds=(
            *("guest", "invited_by", "channel_name", "sent_at", "sent_rev", "expires_at"),
            *("answered_at", "answer_code"),
        ),
        again=AskingAgain("new", counter="generation", fixed=("email", "channel")),
        answers=("accepting",),
    ),
    "device": TypeRules(made=(), moves={"active": ("revoking",)}, ends=("revoked",), clouds=None),
}


def for_javascript() -> JsonDict:
    """Return the chains of all types, as `owner_control.js` reads them (`TypeRules` there)."""
    return {name: _for_javascript(rules) for name, rules in TYPES.items()}


def _for_javascript(rules: TypeRules) -> JsonDict:
    direct = {state: rules.direct(state) for state in rules.moves}
    again = {state: rules.by_asking_again(state) for state in rules.moves}
    return {
        "made": rules.made_by_chains(),
        "moves": direct,
        "again": {state: states for state, states in again.items() if states},
        "counter": rules.again.counter if rules.again else None,
        "fixed": list(rules.again.fixed) if rules.again else [],
        "deletes": rules.deletable(),
        "answers": list(rules.answers),
        "clouds": None if rules.clouds is None else list(rules.clouds),
    }
