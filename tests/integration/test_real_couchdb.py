"""What only a real CouchDB does: docs/couchdb.md says it, and code and advice rest on it."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from chalicelib.couch import Database, Server
from chalicelib.domain.credentials import USER_ID_PREFIX
from tests.kit.basics import wait_for
from tests.kit.cases.attacks import nested_text
from tests.kit.cloud.access import as_device, exists, refusal, shut
from tests.kit.cloud.steps import Owner

pytestmark = pytest.mark.real


def test_json_is_stored_however_deeply_it_is_nested(couch_url: str, control: Database) -> None:
    url, deep = f"{couch_url}/{control.name}/deep", nested_text(100_000)
    written = requests.put(url, data=f'{{"x":{deep}}}', timeout=30)
    assert written.status_code == 201
    read = requests.get(url, timeout=30)
    requests.delete(url, params={"rev": written.json()["rev"]}, timeout=30)  # unreadable to us
    assert deep in read.text


def test_a_first_login_is_hashed_again_after_its_answer(server: Server, ada: Owner) -> None:
    users, doc_id = server.database("_users"), USER_ID_PREFIX + ada.device.device_id
    before = users.get(doc_id)["iterations"]
    as_device(ada).session()
    wait_for(lambda: users.get(doc_id)["iterations"] >= 1000 * before, "the new hash")
    assert as_device(ada).session()["userCtx"]["name"] == ada.device.device_id


def test_an_open_feed_outlives_the_right_to_read_it(ada: Owner) -> None:
    ada.channel()
    database = ada.channel_database()
    database.put({"_id": "before"})
    login = (ada.device.device_id, ada.device.password)
    url = f"{database.url}/_changes?feed=continuous&heartbeat=1000&include_docs=true"
    with requests.get(url, auth=login, stream=True, timeout=30) as feed:
        rows = (json.loads(line) for line in feed.iter_lines() if line)
        assert "before" in {next(rows)["id"], next(rows)["id"]}  # the other: the design document
        shut(database)
        assert refusal(as_device(ada).database(database.name).get, "before")
        database.put({"_id": "after", "text": "secret"})
        assert next(rows)["doc"]["text"] == "secret"


def test_a_channel_is_closed_though_a_member_keeps_its_database_busy(ada: Owner) -> None:
    """CouchDB merges a document's revisions one by one; meanwhile `PUT _security` waits."""
    ada.channel()
    database = ada.channel_database()

    def flood(_: int) -> int:
        revs = [f"1-{uuid.uuid4().hex}" for _ in range(3_000)]
        docs = [{"_id": "x", "_rev": rev, "_deleted": True} for rev in revs]
        return requests.post(
            f"{database.url}/_bulk_docs",
            json={"docs": docs, "new_edits": False},
            auth=(ada.device.device_id, ada.device.password),
            timeout=300,
        ).status_code

    flood(0)
    with ThreadPoolExecutor() as pool:
        floods = [pool.submit(flood, n) for n in range(4)]
        ada.edit("channel-photos", state="closing")
        ada.run("channel-photos")
        assert not exists(database)
        assert any(not each.done() or each.result() != 201 for each in floods)
