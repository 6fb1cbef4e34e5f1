"""The page behind the link in an invitation mail: GET changes nothing, POST takes the answer."""

from dataclasses import dataclass

from chalicelib.domain.addresses import shown_address
from chalicelib.domain.channel import DEFAULT_NAME
from chalicelib.domain.documents import JsonDict, timestamp
from chalicelib.domain.link_status import LinkStatus, link_status
from chalicelib.domain.link_tokens import InvitationRef
from chalicelib.engine.context import Context
from chalicelib.handlers import invitations
from chalicelib.web.link_pages import (
    ANSWERED,
    COMMON_WORDS,
    STEP_ANSWERED,
    Summary,
    TerminalPages,
    is_overdue,
    read_form,
    terminal_page,
    wait,
)
from chalicelib.web.pages import Page, page, see_other

_GOES_ON = "the channel comes by itself"
_TERMINAL_PAGES = TerminalPages(
    {
        **COMMON_WORDS,
        LinkStatus.EXPIRED: (
            "This invitation has expired",
            "It was not answered in time. If you still want the channel, "
            "ask whoever invited you for a new invitation.",
        ),
        LinkStatus.REPLACED: (
            "There is a newer link",
            "You were invited again, and a newer mail is on its way. "
            "Use the link in the newest mail.",
        ),
        LinkStatus.WITHDRAWN: (
            "This invitation was withdrawn",
            "Whoever invited you took it back. Nothing was shared with you.",
        ),
        LinkStatus.USED: (
            "This invitation was answered",
            "There is nothing left to do here. "
            "If you accepted it, the channel appears on all your devices by itself.",
        ),
        LinkStatus.FAILED: (
            "The channel could not be shared",
            "It may have been closed in the meantime. "
            "If you still want it, ask whoever invited you for a new invitation.",
        ),
    },
    reader="whoever invited you",
)


@dataclass(frozen=True)
class _Opened:
    """An invitation whose link was opened."""

    ref: InvitationRef
    generation: int
    doc: JsonDict
    status: LinkStatus


def show(context: Context, token: str, step: str | None) -> Page:
    """Return the page for the link's current status. Changes nothing: mail scanners open links.

    One request to CouchDB.

    Parameters
    ----------
    step : str or None
        "answered" if the browser was redirected after the guest accepted.
    """
    opened = _open(context, token)
    if opened is None:
        return _TERMINAL_PAGES.page(LinkStatus.UNKNOWN)
    if opened.status is LinkStatus.EARLY:
        return wait("One moment", _summary(opened.doc), _GOES_ON)
    if opened.status is LinkStatus.OPEN:
        return _form(opened.doc)
    if opened.status is LinkStatus.USED and step == STEP_ANSWERED:
        return _answered(context, opened.doc)
    return _TERMINAL_PAGES.page(opened.status, opened.doc)


def answer(context: Context, token: str, body: bytes | str) -> Page:
    """Take the guest's answer. There is no code to type: knowing the link proves the address.

    Parameters
    ----------
    body : bytes or str
        The posted form: ``answer`` = "accept" or "decline".
    """
    opened = _open(context, token)
    if opened is None:
        return _TERMINAL_PAGES.page(LinkStatus.UNKNOWN)
    if opened.status is LinkStatus.EXPIRED:
        invitations.expire(context, opened.ref.owner_id, opened.doc)
    if opened.status is not LinkStatus.OPEN:
        return _TERMINAL_PAGES.page(opened.status, opened.doc)
    choice = read_form(body).get("answer")
    if choice == "accept":
        # Not the link's own token: the inviter can read the document, and could answer with it.
        receipt = context.invitation_links.sign(opened.ref.acceptance, opened.generation)
        accepting = {"state": "accepting", "answer_code": receipt}
        return _take(context, opened, accepting, then=see_other(ANSWERED))
    if choice == "decline":
        text = "Thank you. Nothing was shared with you, and the link does not work any more."
        declined = terminal_page(200, "Invitation declined", text)
        return _take(context, opened, {"state": "declined"}, then=declined)
    return _form(opened.doc, 422, "Choose whether you accept or decline.")


def _open(context: Context, token: str) -> _Opened | None:
    """Find the invitation that a token belongs to; return None if there is none."""
    link = context.invitation_links.verify(token)
    ref = InvitationRef.parse(link.subject) if link else None
    doc = invitations.find(context, ref) if ref else None
    if link is None or ref is None or doc is None:
        return None
    return _Opened(ref, link.generation, doc, link_status(doc, link.generation, context.clock()))


def _take(context: Context, opened: _Opened, changes: JsonDict, then: Page) -> Page:
    """Write an answer if the invitation still waits for one; otherwise show the earlier result."""
    changes = {**changes, "answered_at": timestamp(context.clock())}
    after = invitations.answer(context, opened.ref.owner_id, opened.doc, changes)
    if after["state"] == changes["state"]:
        return then
    return _TERMINAL_PAGES.page(link_status(after, opened.generation, context.clock()), after)


def _answered(context: Context, doc: JsonDict) -> Page:
    if doc["state"] == "accepted":
        return page(
            200, "shared.html", title="The channel is shared with you", summary=_summary(doc)
        )
    if doc["state"] == "accepting":
        slow = is_overdue(context.clock(), doc.get("answered_at"))
        return wait("Sharing the channel", _summary(doc), _GOES_ON, is_slow=slow)
    return _TERMINAL_PAGES.page(LinkStatus.USED)


def _form(doc: JsonDict, status: int = 200, problem: str | None = None) -> Page:
    values = {"summary": _summary(doc), "problem": problem}
    return page(status, "invitation_form.html", title="You are invited", **values)


def _summary(doc: JsonDict) -> Summary:
    facts = {
        "From": shown_address(str(doc.get("invited_by", "somebody"))),
        "Channel": str(doc.get("channel_name", DEFAULT_NAME)),
    }
    return Summary(facts, "Invited", doc.get("sent_at"))
