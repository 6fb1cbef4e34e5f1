"""What both pages behind links have in common: forms, summaries, waiting and terminal pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_status import LinkStatus
from chalicelib.web.pages import Page, page

# With this query in its URL, a page shows the result of the answer that was just given.
STEP_ANSWERED = "answered"
ANSWERED = f"?step={STEP_ANSWERED}"
# An answer takes effect in a second or two. After this time, the page says that something is slow.
_SLOW = timedelta(seconds=60)
_LONGEST_FORM_BYTES = 4096
_FORM_FIELDS = 8

_STATUS = {
    LinkStatus.UNKNOWN: 404,
    LinkStatus.EXPIRED: 410,
    LinkStatus.REPLACED: 410,
    LinkStatus.REJECTED: 410,
    LinkStatus.UNDELIVERABLE: 410,
    LinkStatus.WITHDRAWN: 410,
    LinkStatus.USED: 409,
    LinkStatus.FAILED: 409,
}

# The heading and the text of a terminal page.
Words = tuple[str, str]
COMMON_WORDS: Mapping[LinkStatus, Words] = {
    LinkStatus.UNKNOWN: (
        "This link leads nowhere",
        "It may have been cut off by the mail program. "
        "Open it again from the mail, or copy the whole of it.",
    ),
    LinkStatus.EARLY: (
        "One moment",
        "The mail is still being sent. Open the link again in a moment.",
    ),
}


def unavailable() -> Page:
    """Return the page for when CouchDB or AWS does not answer."""
    text = "Something that this page needs does not answer. Nothing is lost: reload it in a moment."
    return terminal_page(503, "Not now", text)


def read_form(body: bytes | str) -> dict[str, str]:
    """Return the fields of a posted form; none if it is malformed, or larger than our forms."""
    if len(body) > _LONGEST_FORM_BYTES:
        return {}
    try:
        text = body.decode("utf-8") if isinstance(body, bytes) else body
        fields = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS
        )
        return dict(fields)
    except ValueError:
        return {}


@dataclass(frozen=True)
class Summary:
    """The summary on a page: the facts about a device or an invitation.

    Attributes
    ----------
    facts : dict
        The texts to show, by their names.
    asked : str
        The word for the request: "Requested", "Invited".
    asked_at : object
        The time of the request, from the document; None if the document does not have it yet.
    """

    facts: dict[str, str]
    asked: str
    asked_at: object

    @property
    def asked_when(self) -> str | None:
        """Return the time of the request, in words and in UTC; None if it is not known."""
        moment = _moment(self.asked_at)
        return f"{moment:%d %B %Y, %H:%M}".lstrip("0") if moment else None


def wait(title: str, summary: Summary, goes_on: str, *, is_slow: bool = False) -> Page:
    """Return a page that reloads itself until there is a result.

    Parameters
    ----------
    goes_on : str
        A text that says what happens by itself, even if the page is closed.
    """
    values = {"summary": summary, "goes_on": goes_on, "is_slow": is_slow}
    return page(200, "wait.html", title=title, **values)


def is_overdue(now: datetime, answered_at: object) -> bool:
    """Return whether an answer that was given at that time should have taken effect by now."""
    return now - (_moment(answered_at) or now) > _SLOW


def terminal_page(status: int, title: str, text: str, hint: str | None = None) -> Page:
    """Return a terminal page: it shows a result and has no form."""
    return page(status, "terminal.html", title=title, text=text, hint=hint)


@dataclass(frozen=True)
class TerminalPages:
    """The terminal pages of one kind of link.

    Attributes
    ----------
    words : mapping
        The heading and the text for each status that such a link may have.
    reader : str
        The person whom the reason of an error is for, as named on the page.
    """

    words: Mapping[LinkStatus, Words]
    reader: str

    def page(self, status: LinkStatus, doc: JsonDict | None = None) -> Page:
        """Return the page for a link of this status.

        If the document is in state ``error``, the page has the reason.
        """
        title, text = self.words[status]
        reason = (doc or {}).get("error", {}).get("reason") if status is LinkStatus.FAILED else None
        hint = f"For {self.reader}: {reason}" if reason else None
        return terminal_page(_STATUS.get(status, 409), title, text, hint)


def _moment(text: object) -> datetime | None:
    """Parse a time in a document; return it in UTC, or None if it is missing or invalid."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
