"""Just enough of a browser, without JavaScript, to answer our own pages."""

from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

TIMEOUT_S = 30


@dataclass(frozen=True)
class Seen:
    """A page as a person sees it.

    Attributes
    ----------
    heading : str
        The page's own heading.
    problem : str
        What the page says is wrong, if anything.
    action : str
        Where its first form is posted to.
    """

    status: int
    url: str
    heading: str
    problem: str
    action: str


def visit(url: str) -> Seen:
    """Open a page. One request, and one for each redirect."""
    return _seen(requests.get(url, timeout=TIMEOUT_S))


def submit(page: Seen, fields: dict[str, str]) -> Seen:
    """Fill in the page's first form and send it. One request, and one for each redirect."""
    return _seen(requests.post(page.action, data=fields, timeout=TIMEOUT_S))


def _seen(response: requests.Response) -> Seen:
    parser = _Parser()
    parser.feed(response.text)
    return Seen(
        response.status_code,
        response.url,
        parser.texts["h1"].strip(),
        parser.texts["problem"].strip(),
        urljoin(response.url, parser.action),
    )


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts = {"h1": "", "problem": ""}
        self.action = ""
        self._into: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "form":
            self.action = self.action or dict(attrs).get("action") or ""
        if tag == "h1" or dict(attrs).get("class") == "problem":
            self._into = "h1" if tag == "h1" else "problem"

    def handle_data(self, data: str) -> None:
        if self._into:
            self.texts[self._into] += data

    def handle_endtag(self, tag: str) -> None:
        self._into = None
