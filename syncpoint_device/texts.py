"""The sentences that commands print for people, from the results of the commands. No I/O."""

import shlex
import unicodedata
from datetime import datetime

from chalicelib.domain.addresses import shown_address
from chalicelib.domain.documents import JsonDict
from syncpoint_device.errors import without_full_stop

# Control and formatting characters, halves of pairs, line and paragraph separators. A terminal may
# obey them, or show a line in another order.
_ESCAPED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# These two join letters and emoji in ordinary names.
_JOINERS = {"\u200c", "\u200d"}
_MAX_ID_LENGTH = 600


def printable(text: str) -> str:
    """Return a text as it can be printed in a line, whoever wrote it."""
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _ESCAPED_CATEGORIES and character not in _JOINERS:
        return character.encode("unicode_escape").decode()
    return character


def registered(result: JsonDict, run: str) -> str:
    """Show the device code, large, and the command to run next."""
    # Imported here, because no other command needs it.
    import pyfiglet

    owner = shown_address(result["owner"])
    large = pyfiglet.figlet_format(result["device_code"], font="banner", width=80).rstrip()
    lines = [f"\n{large}\n", f"The device code is {result['device_code']}."]
    if "problem" in result:
        lines += [
            f"Nothing was sent yet: {result['problem']}.",
            "If the URL of --registrations is right, the registration is sent as soon as",
            f"the cloud can be reached. Then the cloud sends a mail to {owner}.",
            "If the URL is wrong, run `unlink --offline`, and then `register` again.",
        ]
    else:
        lines.append(f"The cloud sends a mail to {owner}.")
    if "beside" in result:
        lines += [
            "Warning: another device uses this CouchDB with the same --prefix. A channel that both",
            "devices have is in sync on that one only. To avoid that, run `unlink`, and then",
            "`register` with another --prefix.",
        ]
    lines += [
        "Open the link in the mail, on any device, and type the device code there.",
        "Now start the agent. It shows how the registration goes on, and then keeps your",
        "channels in sync on this device:\n",
        f"  {run}",
    ]
    return "\n".join(lines)


def resent(result: JsonDict) -> str:
    """Say when the other mail is sent, and what the device code is."""
    when = "" if result["sent"] else "\nas soon as this device reaches the cloud"
    return (
        f"The cloud sends another mail to {shown_address(result['owner'])}{when}.\n"
        f"The device code is still {result['device_code']}."
    )


def couch_changed(result: JsonDict) -> str:
    """Say where the device's CouchDB is, and with which login the agent uses it."""
    login = f" with the login {result['login']}" if result["login"] else ""
    when = "The running agent changes" if result["running"] else "This has changed"
    return f"The agent uses {result['couch']}{login}. {when} the replications, too."


def counted(number: int, what: str = "document") -> str:
    """Return a number of things in words."""
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def exported(result: JsonDict) -> str:
    """Say which databases are in which files."""
    return "\n".join(
        f"{_named(one)}: {counted(one['documents'])}, in {one['file']}"
        for one in result["exported"]
    )


def cleaned(result: JsonDict, options: str = "") -> str:
    """List the databases that earlier devices left, and say which are deleted.

    Parameters
    ----------
    options : str
        Those that `clean` needs here, behind a space.
    """
    if not result["databases"]:
        return "No earlier device left a database here."
    return "\n".join(_left(row, options) for row in result["databases"])


def _left(row: JsonDict, options: str) -> str:
    label = _named(row)
    if row["deleted"]:
        return f"{label}: deleted"
    if row["documents"]:
        here = f"{counted(row['documents'])} may be on this device only"
        return f"{label}: {here} ({row['reason']})"
    return f"{label}: nothing would be lost; `clean {row['database']}{options}` deletes it"


def _named(row: JsonDict) -> str:
    """Return the name of a database, with that of its channel if it is known."""
    return f"{row['database']} (“{row['name']}”)" if "name" in row else str(row["database"])


_NO_AGENT = "The agent does not run. Start it with `run`, which sends the channel's documents."


def created(result: JsonDict) -> str:
    """Name the new channel and its database, and say when other devices get it."""
    when = "this device reaches the cloud"
    if not result["confirmed"]:
        when = "the registration of this device is confirmed"
    return (
        f"Channel “{result['name']}” is created. Apps on this device can use its database now:\n"
        f"  {result['database']}\n"
        f"Your other devices get it as soon as {when}."
        + ("" if result["running"] else f"\n{_NO_AGENT}")
    )


def invited(result: JsonDict) -> str:
    """Say who gets an invitation."""
    return (
        f"The cloud sends an invitation to {shown_address(result['email'])} by mail,\n"
        "as soon as this device reaches the cloud. `status` shows the answer."
    )


def changed(result: JsonDict) -> str:
    """Name the new state of a subscription, and say when other devices follow."""
    name, state = f"Channel “{result['name']}”", result["state"]
    text = f"{name} was {state} already."
    if result["changed"]:
        text = (
            f"{name} is {state} here. "
            "Your other devices follow as soon as they and this one reach the cloud."
        )
    if result["purged"]:
        text += f" The copy on this device, {result['database']}, is deleted."
    return text


def unlinked(result: JsonDict, options: str) -> str:
    """Say what became of the device, and of its data.

    Parameters
    ----------
    options : str
        Those that name this device's CouchDB.
    """
    if result["revoked"]:
        text = "This device is unlinked and revoked."
    elif result["known"] is False:
        text = "This device is unlinked. The cloud never received its registration."
    elif result["known"]:
        text = "This device is unlinked. It was not confirmed; ignore the mail with its link."
    else:
        text = (
            "This device is unlinked, but the cloud was not told. "
            f"Run `revoke {result['device']}` on another device."
        )
    text += " Its databases are deleted." if result["purged"] else " Its data stays here."
    if result["left"]:
        many = counted(len(result["left"]), "database")
        verb = "stays" if len(result["left"]) == 1 else "stay"
        text += f" {many} of an earlier registration {verb}; `clean {options}` lists them."
    return text


def revoked(result: JsonDict) -> str:
    """Say when the other device is revoked."""
    return f"“{result['name']}” is revoked as soon as this device reaches the cloud."


def refused(doc_id: str, reason: str) -> str:
    """Say why the cloud refused a document, and how to undo the change."""
    command = f"undo {'-- ' if doc_id.startswith('-') else ''}{shlex.quote(doc_id)}"
    if len(doc_id) > _MAX_ID_LENGTH:
        doc_id, command = doc_id[:_MAX_ID_LENGTH] + "…", "undo"
    why = without_full_stop(reason)
    return f"{doc_id}: {why}. Run `{command}` to bring the cloud's version back"


def refused_in_channel(doc_id: str, name: str, reason: str) -> str:
    """Say why the cloud does not accept a document of a channel.

    Parameters
    ----------
    name : str
        The channel's name, or an empty text.
    """
    doc_id = doc_id if len(doc_id) <= _MAX_ID_LENGTH else doc_id[:_MAX_ID_LENGTH] + "…"
    where = f" in “{name}”" if name else ""
    return f"refused {doc_id}{where}: {without_full_stop(reason)}. It stays on this device"


def undone(result: JsonDict) -> str:
    """Say what became of a refused document, and where its content is kept."""
    document = f"“{result['document']}”"
    if not result["undone"]:
        return f"The cloud has not refused {document}, so there is nothing to undo."
    text = f"{document} is as in the cloud again."
    if not result["in_cloud"]:
        text = f"{document} is deleted on this device, because the cloud does not have it."
    kept = " and ".join(result["kept"])
    return f"{text} What was refused is kept in {kept}." if kept else text


def status(result: JsonDict) -> str:
    """List the status, in lines for a terminal."""
    lines = [
        _line("device", f"{result['name']}, {result['device']}"),
        _line("owner", shown_address(result["owner"])),
        _line("registration", _registration(result)),
    ]
    if "device_code" in result:
        lines.append(_line("device code", result["device_code"]))
    lines += [_line("agent", _agent(result)), _line("cloud", _cloud(result["cloud"]))]
    lists = {"refused": result.get("refused", []), **result["control"]}
    lines += _about("your lists", _progress(lists), _control(lists))
    lines += [
        _line("refused", refused(one["document"], one["reason"]))
        for one in result.get("refused", [])
    ]
    lines += [_line("other device", _other_device(one)) for one in result["devices"]]
    names = [channel["name"] for channel in result["channels"]]
    for channel in result["channels"]:
        details = _channel(channel, is_only=names.count(channel["name"]) == 1)
        lines += _about("channel", f"“{channel['name']}”: {_progress(channel)}", details)
    lines += [_line("invitation", _invitation(one)) for one in result["invitations"]]
    if not result["channels"]:
        lines.append(_line("channels", "none yet; `channel create NAME` creates one"))
    else:
        lines += [_line("note", _NOTE[0]), *(_line("", text) for text in _NOTE[1:])]
    return "\n".join(lines)


def progress(comparison: JsonDict) -> str:
    """Say what waits in each direction, as in ``3 documents to send (about 12 kB)``."""
    parts = []
    for key, verb in (("to_send", "send"), ("to_receive", "receive")):
        count = comparison.get(key)
        if count:
            most = "up to " if comparison.get("is_estimate") else ""
            size = comparison.get(f"bytes_{key}")
            about = "" if size is None else f" (about {_size(size)})"
            documents = "document" if count == 1 else "documents"
            parts.append(f"{most}{count:,} {documents} to {verb}{about}")
    return ", ".join(parts)


def not_sent(number: int) -> str:
    """Say how many documents may be on this device only; empty if none."""
    if number == 0:
        return ""
    return f"up to {counted(number)} may be on this device only; save them with `export`"


def _size(count: int) -> str:
    """Return a number of bytes as people say it."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"


def moment(text: str) -> str:
    """Return the time of a document in the time zone of this device, ``2026-11-28 08:00``."""
    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return text


_NOTE = (
    "The document “description” in each channel's database is Syncpoint's:",
    "it has the channel's name. Apps leave it alone.",
)
_REGISTRATIONS = {
    "waiting to be sent": "not sent yet; this device's CouchDB sends it from {outbox}",
    "new": "the cloud has it, and sends the mail with the link",
    "confirming": "open the link in the mail, and type the device code there",
    "confirmed": "confirmed; the cloud creates a login for this device",
    "active": "confirmed",
    "expired": "nobody confirmed it in time; run `resend` for another mail",
    "undeliverable": "the mail did not arrive; run `resend` for another one",
    "rejected": "rejected; run `unlink`, and then `register` again",
    "error": "the cloud could not process it: {reason}; run `resend` to try again",
    "revoking": "this device is being revoked",
    "revoked": "this device was revoked; run `unlink`, and then `register` again",
}


def _registration(result: JsonDict) -> str:
    state = result["registration"]
    if state is None:
        return "not known while the cloud cannot be reached"
    why = result.get("registration_error", "it gives no reason")
    text, outbox = str(_REGISTRATIONS.get(state, state)), result.get("outbox", "its outbox")
    return text.replace("{reason}", why).replace("{outbox}", outbox)


def _agent(result: JsonDict) -> str:
    agent = result["agent"]
    if not agent["running"]:
        is_ended = result["registration"] in ("revoking", "revoked", "rejected")
        return "does not run" + ("" if is_ended else "; start it with `run`")
    return f"runs since {moment(agent['since'])}" if "since" in agent else "runs"


def _cloud(cloud: JsonDict) -> str:
    reached = f"last reached {moment(cloud['reached_at'])}" if "reached_at" in cloud else ""
    if "problem" in cloud:
        return f"{cloud['problem']}; {reached or 'never reached yet'}"
    if "url" not in cloud:
        return reached or "not reached yet"
    return f"{cloud['url']}, reached"


def _progress(one: JsonDict) -> str:
    """Say whether a database is in sync, and what waits."""
    waits = progress(one)
    if "as_of" in one and one.get("to_receive"):
        waits += f" as of {moment(one['as_of'])}"
    if one["sync"] == "in_sync":
        refused = len(one.get("refused", []))
        return "in sync" + (f", except {refused:,} refused" if refused else "")
    if one["sync"] in ("off", "ending"):
        what = "not" if one["sync"] == "off" else "still"
        return f"{what} replicated: {one['why']}" + (f"; {waits}" if waits else "")
    if "problem" in one:
        return f"cannot be compared with the cloud: {one['problem']}"
    return waits or "not known while the cloud cannot be reached"


def _control(control: JsonDict) -> list[str]:
    return ["your devices, channels and invitations", f"database {control['database']}"]


def _channel(channel: JsonDict, *, is_only: bool) -> list[str]:
    """Return the further lines of a channel: who has it, its database, and what is wrong."""
    lines = []
    if channel["is_shared_with_me"]:
        lines.append("shared with you by its owner")
    elif channel.get("members"):
        guests = [address or "a guest" for address in channel["members"]]
        lines.append(f"shared with {', '.join(guests)}")
    if "database" in channel:
        lines.append(f"database {channel['database']}")
    if not is_only:
        lines.append(f"id {channel['channel']}")
    if channel.get("unsent"):
        lines.append(not_sent(channel["unsent"]))
    lines += [
        f"the cloud {refused_in_channel(one['document'], '', one['reason'])}"
        for one in channel.get("refused", [])
    ]
    return lines


def _other_device(device: JsonDict) -> str:
    return f"{device['name']}, {device['device']}, {device['state']}"


def _invitation(invitation: JsonDict) -> str:
    why = f": {invitation['error']}" if "error" in invitation else ""
    why += f", {invitation['outdated']}" if "outdated" in invitation else ""
    email = shown_address(invitation["email"])
    state = _INVITATIONS.get(invitation["state"], invitation["state"])
    return f"{email} to “{invitation['name']}”: {state}{why}"


_INVITATIONS = {
    "new": "to be sent",
    "sent": "sent, not answered yet",
    "accepting": "accepted, being shared",
    "expired": "not answered in time",
    "error": "failed",
}


def _about(label: str, text: str, details: list[str]) -> list[str]:
    return [_line(label, text), *(_line("", detail) for detail in details)]


def _line(label: str, text: str) -> str:
    return f"{label:<14}{printable(text)}"
