"""What the pages behind links share: how they are asked, what they show, and how they end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from chalicelib.domain.documents import JsonDict
from chalicelib.domain.link_status import LinkStatus
from chalicelib.web.pages import Page, page

# A page's own address with this query: the answer was given, what came of it?
STEP_ANSWERED = "answered"
ANSWERED = f"?step={STEP_ANSWERED}"
# What an answer sets going takes a second or two; past this, the page says that something is slow.
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

# The heading and the sentence of a page on which there is nothing to answer.
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
    """Return the page for when something that a page needs does not answer."""
    text = "Something that this page needs does not answer. Nothing is lost: reload it in a moment."
    return terminal_page(503, "Not now", text)


def read_form(body: bytes | str) -> dict[str, str]:
    """The fields of a posted form; none if it is larger or odder than any form of ours."""
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
    """What a page is about: a device or an invitation.

    Attributes
    ----------
    facts : dict
        What is shown, by its name.
    asked : str
        What was done then: "Requested", "Invited".
    asked_at : object
        When the cloud was asked for the mail, as the document says it; None if it does not yet.
    """

    facts: dict[str, str]
    asked: str
    asked_at: object

    @property
    def asked_when(self) -> str | None:
        """When the cloud was asked, for people, in UTC; None if that is not known."""
        moment = _moment(self.asked_at)
        return f"{moment:%d %B %Y, %H:%M}".lstrip("0") if moment else None


def wait(title: str, summary: Summary, goes_on: str, *, is_slow: bool = False) -> Page:
    """A page that loads itself again until there is more to say.

    Parameters
    ----------
    goes_on : str
        What goes on by itself, should somebody close the page.
    """
    values = {"summary": summary, "goes_on": goes_on, "is_slow": is_slow}
    return page(200, "wait.html", title=title, **values)


def is_overdue(now: datetime, answered_at: object) -> bool:
    """Whether an answer of that time should have had its effect by now."""
    return now - (_moment(answered_at) or now) > _SLOW


def terminal_page(status: int, title: str, text: str, hint: str | None = None) -> Page:
    """A page that says how it ended, and asks nothing."""
    return page(status, "terminal.html", title=title, text=text, hint=hint)


@dataclass(frozen=True)
class TerminalPages:
    """How one kind of page says that its link has nothing to answer (any more).

    Attributes
    ----------
    words : mapping
        The heading and the sentence for each status that such a link may have.
    reader : str
        Whom the reason in a document's error is for.
    """

    words: Mapping[LinkStatus, Words]
    reader: str

    def page(self, status: LinkStatus, doc: JsonDict | None = None) -> Page:
        """The page for a link of this status, with the reason if its document is in error."""
        title, text = self.words[status]
        reason = (doc or {}).get("error", {}).get("reason") if status is LinkStatus.FAILED else None
        hint = f"For {self.reader}: {reason}" if reason else None
        return terminal_page(_STATUS.get(status, 409), title, text, hint)


def _moment(text: object) -> datetime | None:
    """A document's time in UTC, None if it has none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
