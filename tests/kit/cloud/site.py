"""The routes that ship, asked in this process, and every request that they send to CouchDB."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from chalice.test import Client, HTTPResponse
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from chalicelib.domain.documents import JsonDict
from chalicelib.engine.batch import BatchFailed, handle_batch
from chalicelib.engine.runner import Message
from chalicelib.handlers.all import registry
from tests.kit.basics import FakeWork
from tests.kit.cloud.steps import Steps

FORM = "application/x-www-form-urlencoded"


class Recorder(HTTPAdapter):
    """Sends requests on as they are, and keeps what was asked: (method, URL)."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        self.asked.append((str(request.method), str(request.url)))
        return super().send(request, *args, **kwargs)

    def paths(self) -> list[str]:
        """The methods and raw paths, as they went over the wire."""
        return [f"{method} {urlsplit(url).path}" for method, url in self.asked]


@dataclass
class Site:
    """The API over a real CouchDB.

    Attributes
    ----------
    steps : Steps
        The same cloud's transitions, run by hand.
    """

    client: Client
    steps: Steps
    recorder: Recorder

    def get(self, path: str, **headers: str) -> HTTPResponse:
        return self.ask("GET", path, b"", **headers)

    def post(self, path: str, body: bytes, **headers: str) -> HTTPResponse:
        """Post a form, unless `Content_Type` says otherwise."""
        return self.ask("POST", path, body, **({"Content_Type": FORM} | headers))

    def bring(self, *docs: Any, **headers: str) -> HTTPResponse:
        """Bring documents into the registrations endpoint as a replicator does."""
        body = json.dumps({"docs": docs, "new_edits": False}).encode()
        headers = {"Content_Type": "application/json"} | headers
        return self.ask("POST", "/registrations/_bulk_docs", body, **headers)

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        return self.client.http.request(method, path, named, body)

    def sends(self, action: Any, *args: Any, **kwargs: Any) -> list[str]:
        """The requests that something makes the cloud send to CouchDB."""
        before = len(self.recorder.asked)
        action(*args, **kwargs)
        return self.recorder.paths()[before:]


def whole(answer: HTTPResponse) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer that somebody sees."""
    return answer.status_code, answer.body, dict(answer.headers)


def with_settings(steps: Steps, **changes: Any) -> None:
    """Give the cloud of these steps other settings."""
    steps.context = replace(steps.context, settings=replace(steps.context.settings, **changes))


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, in order, as browsers see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", ()))


def elements(page: str | bytes) -> list[tuple[str, tuple[str, ...]]]:
    """What `Elements` finds."""
    return Elements(page.decode() if isinstance(page, bytes) else page).found


@dataclass
class Batch:
    """What became of a batch of messages.

    Attributes
    ----------
    again : dict
        For how many seconds each is hidden that comes back, by its document's id.
    """

    done: set[str]
    again: dict[str, int]


class _Queue:
    """The SQS client that a batch settles itself with."""

    def __init__(self) -> None:
        self.hidden: dict[str, int] = {}

    def delete_message_batch(self, **request: Any) -> None:
        """They are told by what comes back."""

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[JsonDict]) -> None:  # noqa: N803
        for entry in Entries:
            self.hidden[entry["ReceiptHandle"]] = entry["VisibilityTimeout"]


def handle_messages(steps: Steps, messages: list[Message]) -> Batch:
    """Hand messages of one (type, state) to their Lambda's own loop, ten at a time."""
    queue: Any = _Queue()
    transition = registry.transition(messages[0].doc_type, messages[0].state)
    work = FakeWork(transition, steps.deliver, queue)
    for start in range(0, len(messages), 10):
        with suppress(BatchFailed):
            handle_batch([_record(each) for each in messages[start : start + 10]], work)
    ids = {message.doc_id for message in messages}
    return Batch(ids - set(queue.hidden), queue.hidden)


def _record(message: Message) -> JsonDict:
    body: JsonDict = {"db": message.db, "id": message.doc_id, "rev": "1-a"}
    body |= {"type": message.doc_type, "state": message.state, "doc": message.doc}
    return {
        "messageId": "message",
        "receiptHandle": message.doc_id,
        "body": json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
    }
