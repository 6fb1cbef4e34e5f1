"""The outbox: a page with all mails that SES accepted on this machine, and the same as JSON."""

import email
import email.policy
import threading
from collections.abc import Callable
from datetime import UTC
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser

import flask
from werkzeug.serving import make_server

from chalicelib.domain.documents import JsonDict


class Outbox:
    """A small web server.

    Parameters
    ----------
    sent_mails : callable
        Returns all mails as MIME, oldest first.
    """

    def __init__(self, sent_mails: Callable[[], list[bytes]], port: int = 0) -> None:
        self._sent_mails = sent_mails
        app = flask.Flask(__name__)
        app.add_url_rule("/", view_func=self._show_page)
        app.add_url_rule("/outbox.json", view_func=self._show_json)
        self._server = make_server("127.0.0.1", port, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="outbox", daemon=True
        )

    def start(self) -> None:
        """Start to answer requests, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def _show_page(self) -> str:
        mails = [read_mail(mime) for mime in reversed(self._sent_mails())]
        return flask.render_template("outbox.html", mails=mails)

    def _show_json(self) -> flask.Response:
        return flask.jsonify([read_mail(mime) for mime in self._sent_mails()])


def read_mail(mime: bytes) -> JsonDict:
    """Parse a mail into the parts that a person sees.

    Returns
    -------
    dict
        ``{to, subject, text, html, links: [URL, …], sent_at}``.
    """
    message = email.message_from_bytes(mime, policy=email.policy.default)
    html = _part(message, "html")
    sent_at = parsedate_to_datetime(message["Date"]).astimezone(UTC)
    return {
        "to": str(message["To"]),
        "subject": str(message["Subject"]),
        "text": _part(message, "plain"),
        "html": html,
        "links": links_in(html),
        "sent_at": sent_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def links_in(html: str) -> list[str]:
    """Return the URLs of a page's links, in their order."""
    parser = _Links()
    parser.feed(html)
    return parser.links


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _part(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    return str(part.get_content()) if part is not None else ""
