"""The sentences that commands print for people, from the results of the commands. No I/O."""

import shlex
import unicodedata

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
    return (
        f"\n{large}\n\n"
        f"The device code is {result['device_code']}.\n"
        f"The cloud sends a mail to {owner} as soon as this device has a network.\n"
        "Open the link in the mail, on any device, and type the device code there.\n"
        "Now start the agent. It shows the progress of the registration, and then keeps the\n"
        "channels on this device in sync:\n\n"
        f"  {run}"
    )


def resent(result: JsonDict) -> str:
    """Say when the other mail is sent, and what the device code is."""
    when = "" if result["sent"] else " as soon as this device has a network"
    return (
        f"The cloud sends another mail to {shown_address(result['owner'])}{when}. "
        f"The device code is still {result['device_code']}."
    )


def couch_changed(result: JsonDict) -> str:
    """Say where the device's CouchDB is, and with which login the agent uses it."""
    login = f" with the login {result['login']}" if result["login"] else ""
    when = "The running agent changes" if result["running"] else "This has changed"
    return f"The agent uses {result['couch']}{login}. {when} the replications, too."


def counted(number: int) -> str:
    """Return a number of documents in words."""
    return "1 document" if number == 1 else f"{number} documents"


def exported(result: JsonDict) -> str:
    """Say which databases are in which files."""
    return "\n".join(
        f"{one['database']}: {counted(one['documents'])}, in {one['file']}"
        for one in result["exported"]
    )


def cleaned(result: JsonDict) -> str:
    """List the databases that earlier devices left, and say which are deleted."""
    if not result["databases"]:
        return "No earlier device left a database here."
    return "\n".join(_left(row) for row in result["databases"])


def _left(row: JsonDict) -> str:
    if row["deleted"]:
        return f"{row['database']}: deleted"
    if row["documents"]:
        here = f"{counted(row['documents'])} may be on this device only"
        return f"{row['database']}: {here} ({row['reason']})"
    return f"{row['database']}: nothing would be lost; `clean {row['database']}` deletes it"


def created(result: JsonDict) -> str:
    """Name the new channel and its database."""
    return (
        f"Channel “{result['name']}” is created. Its id is {result['channel']}.\n"
        f"Its database on this device, {result['database']}, accepts documents now."
    )


def invited(result: JsonDict) -> str:
    """Say who gets an invitation."""
    return f"The cloud sends an invitation to {shown_address(result['email'])} by mail."


def changed(result: JsonDict) -> str:
    """Name the new state of a subscription."""
    copy = " The copy on this device is deleted." if result["purged"] else ""
    return f"Channel “{result['name']}” is {result['state']} on all devices of its owner.{copy}"


def unlinked(result: JsonDict) -> str:
    """Say what became of the device, and of its data."""
    if result["revoked"]:
        text = "This device is unlinked and revoked."
    elif result["known"] is False:
        text = "This device is unlinked. The cloud never received its registration."
    elif result["known"]:
        text = "This device is unlinked. It had no login yet; ignore the mail with its link."
    else:
        text = (
            "This device is unlinked, but the cloud was not told. "
            f"Run `revoke {result['device']}` on another device."
        )
    return text + (" Its databases are deleted." if result["purged"] else " Its data stays here.")


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
    """List the status, a line for each thing."""
    lines = [
        _line("device", f"{result['name']}, {result['device']}"),
        _line("owner", shown_address(result["owner"])),
        _line("registration", result["registration"] or "unknown while the cloud is unreachable"),
    ]
    if "device_code" in result:
        lines.append(_line("device code", result["device_code"]))
    cloud = result["cloud"]
    lines.append(_line("cloud", cloud.get("problem") or cloud.get("url") or "not reached yet"))
    if "control" in result:
        lines.append(_line("control", _comparison(result["control"])))
    lines += [
        _line("refused", refused(one["document"], one["reason"]))
        for one in result.get("refused", [])
    ]
    lines += [_line("other device", _other_device(one)) for one in result["devices"]]
    lines += [_line("channel", _channel(channel)) for channel in result["channels"]]
    lines += [_line("invitation", _invitation(one)) for one in result["invitations"]]
    stalled = [one for one in result["replications"] if one["stalled"]]
    running = len(result["replications"]) - len(stalled)
    lines.append(_line("replications", f"{running} running, {len(stalled)} stalled"))
    lines += [_line("", _replication(one)) for one in stalled]
    return "\n".join(lines)


def _other_device(device: JsonDict) -> str:
    return f"{device['name']}, {device['device']}, {device['state']}"


def _channel(channel: JsonDict) -> str:
    parts = [f"“{channel['name']}” ({channel['channel']})", channel["state"]]
    if "error" in channel:
        parts.append(channel["error"])
    elif "subscription" in channel:
        why = f" ({channel['reason']})" if "reason" in channel else ""
        parts.append(f"subscription {channel['subscription']}{why}")
    if "to_send" in channel or "problem" in channel:
        parts.append(_comparison(channel))
    return ", ".join([*parts, f"local database {channel['database']}"])


def _invitation(invitation: JsonDict) -> str:
    why = f": {invitation['error']}" if "error" in invitation else ""
    email = shown_address(invitation["email"])
    return f"{email} to “{invitation['name']}”, {invitation['state']}{why}"


def _comparison(comparison: JsonDict) -> str:
    if "problem" in comparison:
        return f"cannot be compared with the cloud: {comparison['problem']}"
    parts = [
        f"{comparison[key]} to {verb}"
        for key, verb in (("to_send", "send"), ("to_receive", "receive"))
        if comparison[key]
    ]
    return ", ".join(parts) or "in sync with the cloud"


def _replication(replication: JsonDict) -> str:
    why = f": {replication['reason']}" if "reason" in replication else ""
    return f"{replication['from']} → {replication['to']}: {replication['state']}{why}"


def _line(label: str, text: str) -> str:
    return f"{label:<14}{printable(text)}"
