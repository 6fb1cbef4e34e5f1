"""Ids that would lead a request elsewhere: in registrations, links, documents, bounces."""

import json
from collections.abc import Callable
from urllib.parse import unquote

import pytest
import requests

from chalicelib.couch import Database, InvalidName
from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.domain.names import channel_db, owner_control_db
from chalicelib.engine.runner import Message
from chalicelib.jobs import mail_feedback
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import IDS, url_safe
from tests.kit.cloud.access import contents
from tests.kit.cloud.site import Site, handle_messages
from tests.kit.cloud.steps import Owner

MAC = "A" * 22


def check_paths(site: Site, paths: list[str], *databases: str) -> None:
    """No path leads out of the databases that are meant, or is read in another way on its way."""
    for path in paths:
        parts = path.partition(" ")[2].split("/")
        assert parts[0] == ""
        assert parts[1] in databases, path
        assert not {".", "..", ""} & set(parts[2:]), path
        # An id is one part; below _design and _local two.
        assert len(parts) <= (4 if parts[2:3] in (["_design"], ["_local"]) else 3), path
        assert all(ord(character) < 128 for character in path), path


def everything(site: Site, *owners: Owner) -> list[JsonDict]:
    databases = [site.steps.control, *(owner.control for owner in owners)]
    return [contents(database) for database in databases]


def test_no_id_leads_the_registrations_anywhere(site: Site) -> None:
    before, asked = everything(site), len(site.recorder.asked)
    for what, doc_id in IDS.items():
        path = doc_id.encode("utf-8", "surrogatepass").decode("latin-1")
        for spelling in (url_safe(path), path.replace("/", "%2f")):
            try:
                answer = site.get(f"/registrations/{spelling}")
            except UnicodeError:
                continue  # nobody can send it
            assert answer.status_code in (200, 403, 404), what
        [row] = json.loads(site.bring({**a_device().doc, "_id": doc_id}).body)
        assert row["reason"].startswith("_id must be device-"), what
    assert site.recorder.asked[asked:] == []
    assert everything(site) == before


def test_no_id_in_a_link_leads_a_page_anywhere(site: Site, ada: Owner) -> None:
    """Though it was signed with the right key, as if the cloud had let it through."""
    before, asked = everything(site, ada), len(site.recorder.asked)
    context = site.steps.context
    for what, doc_id in IDS.items():
        codes = {
            "confirm": context.confirmation_links.sign(doc_id, 0),
            "invitation": context.invitation_links.sign(
                InvitationRef(ada.id, "0" * 32, doc_id).subject, 0
            ),
            "invitation of": context.invitation_links.sign(
                InvitationRef(doc_id, "0" * 32, "invitation-1").subject, 0
            ),
        }
        for page, code in codes.items():
            path = f"/{page.partition(' ')[0]}/{code}"
            for answer in (site.get(path), site.post(path, b"answer=accept")):
                # 500: an id that is none, which no code has that the cloud made itself.
                assert answer.status_code in (404, 500, 503), (what, page)
    known = (context.database.name, ada.control.name)
    names = {path.split("/")[1] for path in site.recorder.paths()[asked:]}
    allowed = {name for name in names if name.startswith(f"{context.database.name}-")} | set(known)
    check_paths(site, site.recorder.paths()[asked:], *allowed)
    assert everything(site, ada) == before


def is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_no_id_of_a_channel_leads_its_transitions_anywhere(site: Site, ada: Owner) -> None:
    ids = [doc_id for doc_id in IDS.values() if can_be_stored(ada.control, doc_id)]
    assert len(ids) > len(IDS) // 2
    asked = len(site.recorder.asked)
    for state in ("new", "closing"):
        if state == "closing":
            for doc_id in ids:
                ada.edit(doc_id, state="closing")
        messages = [
            Message(ada.control.name, each, "channel", state, None) for each in IDS.values()
        ]
        batch = handle_messages(site.steps, messages)
        assert set(ids) <= batch.done
    databases = {channel_db(ada.id, doc_id) for doc_id in ids}
    check_paths(site, site.recorder.paths()[asked:], ada.control.name, *databases)
    assert {ada.control.get(doc_id)["state"] for doc_id in ids} == {"closed"}


def can_be_stored(database: Database, doc_id: str) -> bool:
    """Write a channel of that id as the administrator; whether there is such a thing."""
    if doc_id.startswith("_"):
        return False
    try:
        database.put({"_id": doc_id, "type": "channel", "state": "new", "name": "Odd"})
    except InvalidName:
        return False
    return True


def test_no_id_in_a_field_leads_a_transition_anywhere(site: Site, ada: Owner) -> None:
    asked = len(site.recorder.asked)
    for number, (what, doc_id) in enumerate(IDS.items()):
        doc = {"_id": f"invitation-{number}", "type": "invitation", "state": "new"}
        if not ada.is_stored({**doc, "email": an_address(), "channel": doc_id}):
            assert not is_text(doc_id), what
            continue
        after = ada.after(doc["_id"])
        assert after["state"] == "error", what
        assert after["error"]["reason"].startswith("channel"), what
    check_paths(site, site.recorder.paths()[asked:], ada.control.name, site.steps.control.name)
    assert set(ada.channel_database().security()["syncpoint"]) == {"control_db", "channel", "roles"}


def test_no_id_in_a_bounce_leads_anywhere(site: Site, ada: Owner) -> None:
    """Whoever may publish to the topic says what they like in the tags of the mail."""
    before, asked = everything(site, ada), len(site.recorder.asked)
    for doc_id in IDS.values():
        for tags in ({"doc": [doc_id]}, {"doc": ["channel-photos"], "owner": [doc_id]}):
            said = {
                "eventType": "Bounce",
                "bounce": {"bounceType": "Permanent", "bounceSubType": "General"},
                "mail": {"destination": [], "tags": {**tags, "generation": ["0"]}},
            }
            assert (
                mail_feedback.handle_notification(site.steps.context, json.dumps(said)) == "bounce"
            )
    check_paths(site, site.recorder.paths()[asked:], site.steps.control.name)
    assert everything(site, ada) == before


def test_each_id_is_one_part_of_a_path_or_none(site: Site, ada: Owner) -> None:
    """What the adapter makes of an id: quoted as a whole, or refused before anything is sent."""
    for what, doc_id in IDS.items():
        sent = site.sends(look_up, ada.control, doc_id)
        if not sent:
            continue
        check_paths(site, sent, ada.control.name)
        assert unquote(sent[0].partition("/")[2].partition("/")[2]) == doc_id, what


def look_up(database: Database, doc_id: str) -> None:
    try:
        database.find_one(doc_id)
    except InvalidName:
        return


@pytest.mark.parametrize("name", ["x/../_users", "../_users", "_users/x", "%2e%2e", "Control"])
def test_no_owner_leads_to_another_database(site: Site, name: str) -> None:
    """An owner's database has the name of a hash; the adapter quotes whatever else it is given."""
    database: Callable[[str], Database] = site.steps.context.server.database
    try:
        url = database(owner_control_db(site.steps.control.name, name)).url
    except InvalidName:
        return
    path = requests.Request("GET", url).prepare().path_url
    assert path.count("/") == 1
    assert unquote(path[1:]) == f"{site.steps.control.name}-{name}"
