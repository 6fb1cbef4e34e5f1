"""What a person sees of what the commands return. No I/O."""

from chalicelib.domain.documents import JsonDict


def registered(said: JsonDict, run: str) -> str:
    """After `register`: the device code, large, and the command that comes next."""
    # Imported here: of all commands, only this one draws.
    import pyfiglet

    large = pyfiglet.figlet_format(said["device_code"], font="banner", width=80).rstrip()
    return (
        f"\n{large}\n\n"
        f"The device code is {said['device_code']}.\n"
        f"A mail goes to {said['owner']}: open its link, on any device, and type the code there.\n"
        f"The registration waits here until there is a network. Now let the agent run: it follows\n"
        f"the registration, and then keeps this device's channels in sync.\n\n"
        f"  {run}"
    )


def resent(said: JsonDict) -> str:
    """After `resend`."""
    when = "" if said["sent"] else " when there is a network"
    return f"Another mail goes to {said['owner']}{when}; the device code is {said['device_code']}."


def created(said: JsonDict) -> str:
    """After `channel create`."""
    return (
        f"Channel “{said['name']}” is {said['channel']}.\n"
        f"Its database here, {said['database']}, takes documents already."
    )


def invited(said: JsonDict) -> str:
    """After `channel invite`."""
    return f"An invitation goes to {said['email']}, by mail."


def changed(said: JsonDict) -> str:
    """After `subscription …`."""
    copy = "; its copy here is deleted" if said["purged"] else ""
    return f"Channel “{said['name']}” is {said['state']}, on all devices of its owner{copy}."


def unlinked(said: JsonDict) -> str:
    """After `unlink`."""
    if said["revoked"]:
        text = "This device is revoked and forgotten."
    elif said["known"] is False:
        text = "Forgotten here. The cloud had not heard of it."
    elif said["known"]:
        text = "Forgotten here. It had no login yet: leave the mail with its link alone."
    else:
        text = (
            f"Forgotten here. The cloud was not told: `revoke {said['device']}` on another device."
        )
    return text + (" Its databases are deleted." if said["purged"] else " Its data stays here.")


def revoked(said: JsonDict) -> str:
    """After `revoke`."""
    return f"“{said['name']}” is revoked, as soon as the cloud hears of it."


def status(said: JsonDict) -> str:
    """`status`, in lines."""
    lines = [
        _line("device", f"{said['name']}, {said['device']}"),
        _line("owner", said["owner"]),
        _line("registration", said["registration"] or "cannot be told now"),
    ]
    if "device_code" in said:
        lines.append(_line("device code", said["device_code"]))
    cloud = said["cloud"]
    lines.append(_line("cloud", cloud.get("problem") or cloud.get("url") or "not heard of yet"))
    if "control" in said:
        lines.append(_line("control", _behind(said["control"])))
    lines += [_line("other device", _other_device(one)) for one in said["devices"]]
    lines += [_line("channel", _channel(channel)) for channel in said["channels"]]
    lines += [_line("invitation", _invitation(one)) for one in said["invitations"]]
    standing = [one for one in said["replications"] if one["stands"]]
    going = len(said["replications"]) - len(standing)
    lines.append(_line("replications", f"{going} going on, {len(standing)} standing"))
    lines += [_line("", _replication(one)) for one in standing]
    return "\n".join(lines)


def _other_device(said: JsonDict) -> str:
    return f"{said['name']}, {said['device']}, {said['state']}"


def _channel(said: JsonDict) -> str:
    parts = [f"“{said['name']}” ({said['channel']})", said["state"]]
    if "error" in said:
        parts.append(said["error"])
    elif "subscription" in said:
        why = f" ({said['reason']})" if "reason" in said else ""
        parts.append(f"subscription {said['subscription']}{why}")
    if "to_send" in said or "problem" in said:
        parts.append(_behind(said))
    return ", ".join([*parts, f"here in {said['database']}"])


def _invitation(said: JsonDict) -> str:
    why = f": {said['error']}" if "error" in said else ""
    return f"{said['email']} to “{said['name']}”, {said['state']}{why}"


def _behind(said: JsonDict) -> str:
    if "problem" in said:
        return f"cannot be compared: {said['problem']}"
    parts = [
        f"{said[key]} to {what}"
        for key, what in (("to_send", "send"), ("to_receive", "receive"))
        if said[key]
    ]
    return ", ".join(parts) or "in step with the cloud"


def _replication(said: JsonDict) -> str:
    why = f": {said['reason']}" if "reason" in said else ""
    return f"{said['from']} → {said['to']}: {said['state']}{why}"


def _line(what: str, text: str) -> str:
    return f"{what:<14}{text}"
