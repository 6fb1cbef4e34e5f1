"""A small browser without JavaScript, to read and answer our own pages."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

TIMEOUT_S = 30


@dataclass
class Form:
    """A form on a page.

    Attributes
    ----------
    action : str
        The URL that it is posted to.
    hidden : dict
        Its hidden fields.
    button : str
        The text of its button.
    """

    action: str
    hidden: dict[str, str] = field(default_factory=dict)
    button: str = ""


@dataclass(frozen=True)
class Page:
    """A page as a person sees it.

    Attributes
    ----------
    heading : str
        The heading of the page.
    problem : str
        The error message on the page, or an empty text.
    forms : list of Form
        The forms of the page, in their order.
    """

    status: int
    url: str
    heading: str
    problem: str
    forms: list[Form]


def visit(url: str) -> Page:
    """Open a page. One request, and one for each redirect."""
    return _page(requests.get(url, timeout=TIMEOUT_S))


def submit(page: Page, fields: dict[str, str]) -> Page:
    """Fill in the page's first form and send it. One request, and one for each redirect.

    A page without a form is posted too, as by a person who left an older page open.
    """
    return _send(page, page.forms[0] if page.forms else Form(action=""), fields)


def press(page: Page, button: str) -> Page:
    """Press the button with a text. One request, and one for each redirect."""
    return _send(page, next(form for form in page.forms if form.button == button), {})


def _send(page: Page, form: Form, fields: dict[str, str]) -> Page:
    data = {**form.hidden, **fields}
    return _page(requests.post(urljoin(page.url, form.action), data=data, timeout=TIMEOUT_S))


def _page(response: requests.Response) -> Page:
    parser = _Parser()
    parser.feed(response.text)
    return Page(
        response.status_code,
        response.url,
        parser.texts["h1"].strip(),
        parser.texts["problem"].strip(),
        parser.forms,
    )


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts = {"h1": "", "problem": ""}
        self.forms: list[Form] = []
        self._into: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        if tag == "input" and given.get("type") == "hidden":
            self.forms[-1].hidden[given["name"]] = given.get("value", "")
        if tag in ("h1", "button"):
            self._into = tag
        elif given.get("class") == "problem":
            self._into = "problem"

    def handle_data(self, data: str) -> None:
        if self._into == "button":
            self.forms[-1].button += data
        elif self._into:
            self.texts[self._into] += data

    def handle_endtag(self, tag: str) -> None:
        self._into = None
