"""What a world has come to, without what differs from run to run; and what is wrong with it."""

import json
import re
from collections import Counter
from typing import Any

from chalicelib.domain.documents import JsonDict
from tests.world.region import QUEUES, TABLE
from tests.world.world import Mail, World

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_OF_THE_SERVER = ("_global_changes",)


def picture(world: World) -> JsonDict:
    """All databases with their documents and rights, the logins among them; the mails' quotas."""
    return {
        "databases": {
            name: {
                "docs": {doc_id: _plain(doc) for doc_id, doc in database.docs().items()},
                "security": database.security,
                "conflicts": sorted(
                    document.doc_id
                    for document in database.documents.values()
                    if sum(not revision.is_deleted for revision in document.ranked()) > 1
                ),
            }
            for name, database in world.couch.databases.items()
            if name not in _OF_THE_SERVER
        },
        "quotas": {
            item["pk"]["S"]: sorted(who for _, who in json.loads(item["entries"]["S"]))
            for item in world.aws.items(TABLE)
            if "entries" in item
        },
        "suppressed": sorted(
            item["pk"]["S"]
            for item in world.aws.items(TABLE)
            if item["pk"]["S"].startswith("suppressed#")
        ),
    }


def leftovers(world: World) -> list[str]:
    """What a quiet cloud must not have: claims that run, messages, dead letters."""
    running = [
        item["pk"]["S"]
        for item in world.aws.items(TABLE)
        if item.get("status", {}).get("S") == "running" and "owner" in item
    ]
    letters = [name for name in QUEUES.values() if world.aws.dead_letters(name)]
    waiting = [name for name in QUEUES.values() if world.aws.waiting(name)]
    return [
        *(f"running: {pk}" for pk in running),
        *(f"dead letters: {name}" for name in letters),
        *(f"waiting: {name}" for name in waiting),
    ]


def differences(expected: Any, actual: Any, where: str = "") -> list[str]:
    """Where two pictures differ, in words."""
    if expected == actual:
        return []
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        return [f"{where}: {expected!r} became {actual!r}"]
    return [
        difference
        for key in sorted({*expected, *actual})
        for difference in differences(expected.get(key), actual.get(key), f"{where}/{key}")
    ]


def mail_differences(expected: list[Mail], actual: list[Mail], may_be_twice: bool) -> list[str]:
    """Mails that are missing, or too many; one may have gone twice where that is allowed."""
    wanted, sent = (Counter((mail.to, mail.link) for mail in mails) for mails in (expected, actual))
    twice = [key for key in sent if sent[key] > wanted[key]]
    found = [f"missing: the mail to {to}" for to, link in wanted if not sent[to, link]]
    if len(twice) > may_be_twice or any(sent[key] > wanted[key] + 1 for key in twice):
        found += [f"sent {sent[key]} times: {key[0]}" for key in twice]
    for to, link in twice:
        ids = {mail.message_id for mail in actual if mail.link == link}
        if len(ids) > 1:
            found.append(f"another Message-ID: {to}")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        # `as_of` is the number of a revision, and a retry may need another one.
        return {name: _plain(of) for name, of in value.items() if name not in ("_rev", "as_of")}
    if isinstance(value, list):
        return [_plain(of) for of in value]
    return _TIME.sub("(a time)", value) if isinstance(value, str) else value
