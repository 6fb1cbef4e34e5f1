"""Requests of the cloud's own: they go to its CouchDB, and nowhere that a document says."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.names import channel_db
from tests.kit.basics import a_device, an_address
from tests.kit.cases.attacks import URLS
from tests.kit.cloud.access import contents
from tests.kit.cloud.site import Site
from tests.kit.cloud.steps import Owner

FIELDS = ("syncpoint", "remote", "url", "target", "source", "owner_url", "couchdb", "public_url")


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port that nobody should ask; a connection would wait in its queue."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def was_asked(trap: socket.socket) -> bool:
    try:
        trap.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def hostile(trap: socket.socket, url: str) -> JsonDict:
    """All the fields that could be taken for an address."""
    host = f"127.0.0.1:{trap.getsockname()[1]}"
    return dict.fromkeys(FIELDS, url.format(trap=host))


@pytest.mark.io
def test_a_port_that_is_asked_would_be_heard_of(trap: socket.socket) -> None:
    socket.create_connection(trap.getsockname()).close()
    assert was_asked(trap)


def test_no_transition_asks_what_a_document_names(
    site: Site, ada: Owner, trap: socket.socket
) -> None:
    """Through its whole life: a device, a channel, a subscription, an invitation."""
    asked = len(site.recorder.asked)
    for number, url in enumerate(URLS.values()):
        fields = hostile(trap, url)
        site.steps.clock.move(3_600)
        device = a_device(owner=an_address())
        site.steps.control.put({**device.doc, **fields})
        site.steps.run(device.device_id)
        site.steps.click(device, **fields)
        site.steps.run(device.device_id)
        ada.put({"_id": f"c{number}", "type": "channel", "state": "new", **fields})
        ada.run(f"c{number}")
        subscription = {"_id": f"c{number}-sub-{ada.id}", "type": "subscription"}
        ada.put({**subscription, "state": "active", "channel": f"c{number}", **fields})
        ada.invite(an_address(), f"c{number}", f"i{number}")
        ada.edit(f"i{number}", **fields)
        assert ada.accepted(f"i{number}")["state"] == "accepted"
        ada.edit(f"c{number}", state="closing", **fields)
        assert ada.after(f"c{number}")["state"] == "closed"
        site.steps.control.put(
            {**site.steps.control.get(device.device_id), "state": "revoking", **fields}
        )
        site.steps.run(device.device_id)
    check_asked(site, asked)
    assert not was_asked(trap)


def check_asked(site: Site, since: int) -> None:
    here = urlsplit(site.steps.context.server.url)
    places = {urlsplit(url)[:2] for _, url in site.recorder.asked[since:]}
    assert places == {(here.scheme, here.netloc)}


def test_a_guest_gets_the_clouds_url_and_not_what_the_owner_wrote(
    site: Site, ada: Owner, trap: socket.socket
) -> None:
    """The guest's devices ask it with their password, if they take it for the cloud."""
    guest = an_address()
    ada.edit("channel-photos", **hostile(trap, "http://{trap}/db"))
    ada.share(guest)
    database = ada.steps.context.server.database(channel_db(ada.id, "channel-photos"))
    theirs = contents(ada.steps.control_db_of(guest))
    urls = {doc[name] for doc in theirs.values() for name in ("syncpoint", "remote") if name in doc}
    assert urls == {database.url}


def test_no_header_of_a_request_is_an_address_to_ask(site: Site, trap: socket.socket) -> None:
    headers = ("Host", "X_Forwarded_Host", "Location", "Referer", "Origin", "Destination", "Source")
    asked = len(site.recorder.asked)
    for url in URLS.values():
        named = dict.fromkeys(headers, url.format(trap=f"127.0.0.1:{trap.getsockname()[1]}"))
        assert site.bring(a_device(owner=an_address()).doc, **named).status_code == 201
        site.get(f"/confirm/{site.steps.context.confirmation_links.sign('device-1', 0)}", **named)
    check_asked(site, asked)
    assert not was_asked(trap)
