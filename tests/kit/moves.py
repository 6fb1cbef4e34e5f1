"""What a device's steps lead to: a model in Python of the rules in JavaScript.

The model knows single steps only. It finds out by a search whether a chain of them leads from one
document to another. The rules compute it in another way (`TypeRules`), and the two must agree.
"""

import json
from collections.abc import Iterator

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.moves import TYPES, TypeRules

NOTHING = None  # no document, or a deleted one


def states_after(doc_type: str, before: str | None) -> set[str]:
    """The states that a device may write over another, by any number of steps."""
    rules = TYPES.get(doc_type)
    if rules is None:
        return set()
    reached: set[str] = set()
    waiting = list(rules.made if before is NOTHING else rules.moves.get(before, ()))
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting += rules.moves.get(state, ())
    return reached


def states_before_deletion(doc_type: str) -> set[str]:
    """The states over which a device may write a deletion, by any number of steps."""
    if doc_type not in TYPES:
        return set()
    ends = set(TYPES[doc_type].ends)
    return {state for state in TYPES[doc_type].moves if states_after(doc_type, state) & ends} | ends


def leads(old: JsonDict | None, new: JsonDict | None) -> bool:
    """Whether a chain of steps leads from one document to another, or from or to nothing."""
    if is_undone(old, new):
        return True
    known: list[JsonDict | None] = []
    waiting: list[JsonDict | None] = [old]
    places = [*_between(old, new), NOTHING, new]
    while waiting:
        here = waiting.pop()
        after = [there for there in places if is_step(here, there)]
        if any(same(there, new) for there in after):
            return True
        for there in after:
            if not any(same(there, one) for one in known):
                known.append(there)
                waiting.append(there)
    return False


def is_undone(old: JsonDict | None, new: JsonDict | None) -> bool:
    """Whether a document says the same as before, and is of a type that devices write."""
    if old is NOTHING or new is NOTHING or not same(old, new) or old.get("type") not in TYPES:
        return False
    rules = TYPES[old["type"]]
    return rules.clouds is not None and new.get("state") not in rules.answers


def is_step(old: JsonDict | None, new: JsonDict | None) -> bool:
    """Whether a device may write one document over another in one step."""
    if new is NOTHING:
        return old is NOTHING or (old["type"] in TYPES and old["state"] in TYPES[old["type"]].ends)
    rules = TYPES.get(new["type"]) if isinstance(new.get("type"), str) else None
    if rules is None or (old is not NOTHING and old["type"] != new["type"]):
        return False
    states = rules.made if old is NOTHING else rules.moves.get(old["state"], ())
    keeps_clouds = all(_is_kept(old, new, field) for field in _clouds(rules, old, new))
    if new.get("state") not in states or not keeps_clouds or not _keeps_error(old, new):
        return False
    return _counts(rules, old, new) and _is_sound(old, new)


def plain(value: object) -> str:
    """Two values that JavaScript calls equal, and no others, are plainly the same."""

    def number(item: object) -> object:
        if isinstance(item, float):
            return int(item) if item.is_integer() else item
        if isinstance(item, dict):
            return {key: number(inner) for key, inner in item.items()}
        return [number(inner) for inner in item] if isinstance(item, list) else item

    return json.dumps(number(value), sort_keys=True)


def same(one: JsonDict | None, other: JsonDict | None) -> bool:
    """Whether two documents are the same but for CouchDB's own fields."""
    if one is NOTHING or other is NOTHING:
        return one is other
    return plain(_fields(one)) == plain(_fields(other))


def _fields(doc: JsonDict) -> JsonDict:
    return {name: value for name, value in doc.items() if not name.startswith("_")}


def _between(old: JsonDict | None, new: JsonDict | None) -> Iterator[JsonDict]:
    """The documents that a chain may pass: of what is in one or the other."""
    docs = [doc for doc in (old, new) if doc is not NOTHING]
    for base in docs:
        rules = TYPES.get(base["type"]) if isinstance(base.get("type"), str) else None
        counter = rules.again.counter if rules and rules.again else "generation"
        for state in rules.states if rules else ():
            for other in docs:
                for error in docs:
                    doc = {**_without(base, counter, "error"), "state": state}
                    doc |= {counter: other[counter]} if counter in other else {}
                    yield doc | ({"error": error["error"]} if "error" in error else {})


def _without(doc: JsonDict, *names: str) -> JsonDict:
    return {name: value for name, value in doc.items() if name not in names}


def _clouds(rules: TypeRules, old: JsonDict | None, new: JsonDict) -> set[str]:
    if rules.clouds is not None:
        return set(rules.clouds)
    return {*_fields(old or {}), *_fields(new)} - {"state"}


def _is_kept(old: JsonDict | None, new: JsonDict, field: str) -> bool:
    before = old or {}
    if field not in before or field not in new:
        return field not in before and field not in new
    return plain(before[field]) == plain(new[field])


def _keeps_error(old: JsonDict | None, new: JsonDict) -> bool:
    """An error goes with the state."""
    has_moved = old is not NOTHING and old["state"] != new["state"]
    return _is_kept(old, new, "error") or (has_moved and "error" not in new)


def _counts(rules: TypeRules, old: JsonDict | None, new: JsonDict) -> bool:
    """The counter rises when the same thing is asked for again, and only then."""
    if rules.again is None:
        return True
    if old is not NOTHING and not rules.is_again(old["state"], new["state"]):
        return all(_is_kept(old, new, name) for name in (rules.again.counter, *rules.again.fixed))
    before = -1 if old is NOTHING else _count(old, rules.again.counter)
    return _count(new, rules.again.counter) > before


def _count(doc: JsonDict, counter: str) -> int:
    value = doc.get(counter, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return -1
    return int(value) if 0 <= value < 1e9 and value == int(value) else -1


def _is_sound(old: JsonDict | None, new: JsonDict) -> bool:
    """The values of a type's own fields."""
    if new["type"] == "channel":
        return _is_sound_channel(old, new)
    if new["type"] == "subscription":
        is_stopped = old is NOTHING or not old.get("reason") or new["state"] == "stopped"
        is_there = old is NOTHING or _is_kept(old, new, "remote")
        return isinstance(new.get("channel"), str) and is_stopped and is_there
    return True


def _is_sound_channel(old: JsonDict | None, new: JsonDict) -> bool:
    name, public = new.get("name", "x"), new.get("public", False)
    if not isinstance(name, str) or not 1 <= len(name) <= 80 or not isinstance(public, bool):
        return False
    before = (old or {}).get("members", [])
    if "members" not in new:
        return "members" not in (old or {})
    known = [plain(one) for one in before] if isinstance(before, list) else []
    if not isinstance(new["members"], list):
        return False
    members = [plain(one) for one in new["members"]]
    return len(set(members)) == len(members) and set(members) <= set(known)
