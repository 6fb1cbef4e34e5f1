"""Tell in the agent's log what became of invitations, members, and channels, once each.

The agent handles all documents again at each start. So a note in the device's folder keeps what
each document said when it was last told.
"""

from chalicelib.couch import InvalidName, Unreadable
from chalicelib.domain.addresses import shown_address
from chalicelib.domain.channel import DEFAULT_NAME, ENDED
from chalicelib.domain.documents import ERROR_STATE, JsonDict, generation_of
from syncpoint_device import channels
from syncpoint_device.databases import Device, Say
from syncpoint_device.home import NEWS_NOTE, Home
from syncpoint_device.known import Known
from syncpoint_device.log import Problem
from syncpoint_device.progress import unsent
from syncpoint_device.texts import not_sent

# What became of an invitation.
_ANSWERS = {
    "accepted": "was accepted",
    "declined": "was declined",
    "withdrawn": "was withdrawn",
    "expired": "was not answered in time",
}


class News:
    """What was told so far, by the ids of documents."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home, self._say = home, say
        self._told, self._is_saved = home.note(NEWS_NOTE), True

    def look(self, device: Device, doc: JsonDict) -> None:
        """Tell what is new in a document. No request if nothing is.

        What is no problem is told if the device knew the document before: a new device does not
        tell the past. A subscription that ends must be looked at before its replications end,
        since they know what was sent.
        """
        look = {
            "invitation": self._look_at_invitation,
            "channel": self._look_at_channel,
            "subscription": self._look_at_subscription,
        }.get(str(doc.get("type")))
        if look is None:
            return
        before, now = self._told.get(doc["_id"]), _summary(doc)
        if now != before:
            look(device, doc, before if isinstance(before, dict) else {})
            self._told[doc["_id"]], self._is_saved = now, False

    def save(self) -> None:
        """Write the note, if anything was told."""
        if not self._is_saved:
            self._home.write_note(NEWS_NOTE, self._told)
            self._is_saved = True

    def _look_at_invitation(self, device: Device, doc: JsonDict, before: JsonDict) -> None:
        state, what = channels.state_of(doc), f"the invitation of {_address(doc)}"
        name = _channel_name(device, doc)
        if state == ERROR_STATE:
            why = channels.why_in_error(doc) or "no reason is given"
            self._say(name, Problem(f"{what} failed: {why[:200]}"))
        elif before and state in _ANSWERS:
            self._say(name, f"{what} {_ANSWERS[state]}")

    def _look_at_channel(self, device: Device, doc: JsonDict, before: JsonDict) -> None:
        name = str(doc.get("name"))
        if before and before.get("name") != name:
            self._say(name, f"is the new name of “{before.get('name')}”")
        now = channels.member_ids(doc)
        gone = [who for who in channels.member_ids(before) if who not in now]
        if gone and channels.state_of(doc) not in ENDED:
            addresses = channels.addresses(channels.documents(device))
            for who in gone:
                self._say(name, f"{addresses.get(who, 'a guest')} is no longer a member")

    def _look_at_subscription(self, device: Device, doc: JsonDict, before: JsonDict) -> None:
        """Warn if the cloud has ended a channel that is here, or documents were not sent."""
        local = device.channel(str(doc.get("channel")))
        if channels.state_of(doc) != "stopped" or not device.is_own(local):
            return
        found = [one for one in device.replications.all() if one.group == local.name]
        known = Known(self._home)
        lost = not_sent(unsent(local, found, known.positions, known.refused.get(local.name, {})))
        known.save()
        why = f"stopped: {doc['reason']}" if doc.get("reason") else ""
        if why or lost:
            name = _channel_name(device, doc)
            self._say(name, Problem("; ".join(filter(None, [why, lost]))))


def _channel_name(device: Device, doc: JsonDict) -> str:
    try:
        return device.channel_name(str(doc.get("channel")))
    except (InvalidName, Unreadable):
        return DEFAULT_NAME


def _summary(doc: JsonDict) -> JsonDict:
    """Return what is told of a document."""
    if doc["type"] == "channel":
        return {"name": str(doc.get("name")), "members": channels.member_ids(doc)}
    return {
        "state": channels.state_of(doc),
        "reason": str(doc.get("reason") or channels.why_in_error(doc)),
        "generation": generation_of(doc),
    }


def _address(doc: JsonDict) -> str:
    email = doc.get("email")
    return shown_address(email) if isinstance(email, str) else "somebody"
