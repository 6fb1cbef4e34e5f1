"""The sentences of the commands in `sharing_commands`, from their results. No I/O."""

from chalicelib.domain.addresses import shown_address
from chalicelib.domain.documents import JsonDict
from syncpoint_device.texts import moment

_LATER = "as soon as this device reaches it"


def channel_list(result: JsonDict) -> str:
    """List the channels, a line for each."""
    lines = [_channel(one) for one in result["channels"]]
    return "\n".join(lines) or "There are no channels. `channel create NAME` creates one."


def renamed(result: JsonDict) -> str:
    """Name the old and the new name."""
    return (
        f"“{result['former']}” is called “{result['name']}” now. "
        f"The cloud tells its members {_LATER}."
    )


def closed(result: JsonDict) -> str:
    """Say when the channel is closed, and what stays."""
    return (
        f"The cloud closes “{result['name']}” {_LATER}. "
        f"The copy on this device, {result['database']}, stays."
    )


def member_list(result: JsonDict) -> str:
    """List the members and the invited, a line for each."""
    lines = [_member(one) for one in result["members"]]
    lines += [f"{shown_address(one['email'])}, invited" for one in result["invited"]]
    return "\n".join(lines) or (
        f"“{result['name']}” has no members but you. `channel invite` invites somebody."
    )


def removed(result: JsonDict) -> str:
    """Say when the member is removed, and what the member keeps."""
    return (
        f"The cloud removes {result['member']} from “{result['name']}” {_LATER}. "
        "What is on the member's devices stays there."
    )


def invitation_list(result: JsonDict) -> str:
    """List the invitations, a line for each."""
    lines = [_invitation(one) for one in result["invitations"]]
    return "\n".join(lines) or "There are no invitations. `channel invite` invites somebody."


def withdrawn(result: JsonDict) -> str:
    """Say that nobody can accept the invitation."""
    return (
        f"The cloud withdraws the invitation of {shown_address(result['email'])} to "
        f"“{result['name']}” {_LATER}. Then nobody can accept it."
    )


def resent(result: JsonDict) -> str:
    """Say when another mail is sent, and that an invitation is open again."""
    again = ""
    if result["former"] in ("withdrawn", "declined"):
        again = f" The invitation was {result['former']}, and can be accepted again."
    return (
        f"The cloud sends {shown_address(result['email'])} another mail {_LATER}. "
        f"The link in an earlier mail no longer works then.{again}"
    )


def _channel(one: JsonDict) -> str:
    count, state = len(one.get("members", [])), one["state"]
    if one.get("subscription") in ("paused", "stopped") and state in ("ready", "shared"):
        state = one["subscription"]
    parts = [f"“{one['name']}” ({one['channel']})", *([] if state == "shared" else [state])]
    if one["is_shared_with_me"]:
        parts.append("shared with you")
    elif count:
        parts.append("one member" if count == 1 else f"{count} members")
    if "error" in one:
        parts.append(one["error"])
    copy = f"local database {one['database']}" if "database" in one else "no local database"
    return ", ".join([*parts, copy])


def _member(one: JsonDict) -> str:
    if "email" in one:
        return f"{shown_address(one['email'])}, {one['member']}"
    return f"{one['member']}, whose address this device does not know"


def _invitation(one: JsonDict) -> str:
    until = f", open until {moment(one['expires_at'])}" if "expires_at" in one else ""
    why = f": {one['error']}" if "error" in one else ""
    if "outdated" in one:
        until, why = "", f", {one['outdated']}"
    address = shown_address(one["email"])
    return f"{address} to “{one['name']}”, {one['state']}{until}{why} ({one['invitation']})"
