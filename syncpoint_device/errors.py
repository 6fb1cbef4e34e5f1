"""The errors that end a command of the device; each message is for the person who typed it.

::

    DeviceError          the command cannot continue
    ├── AgentRunning     the agent of this device runs in another process
    ├── Changed          another device, or the cloud, has changed the document meanwhile
    ├── CloudFailed      the cloud's CouchDB does not answer, or refuses the login
    ├── LoginRefused     the device's own CouchDB refuses the agent's login
    ├── NotAllowed       the state of the document does not allow it
    ├── NotRegistered    no device is registered here
    ├── NothingToDo      everything is already as it is asked for
    ├── RegistrationRejected  the owner, or somebody with five wrong codes, rejected it
    ├── Revoked          the device was revoked
    ├── Unconfirmed      the command deletes something, and has to be confirmed by an option
    ├── Unknown          there is no such channel, invitation, member or device, or more than one
    └── Unverified       the device's CouchDB would send its password to an impostor

Programs read the `code`: with `--json`, an error is ``{"error": {"code", "message"}}``.
docs/device.md has a table of the codes, and they do not change.
"""

from syncpoint_device.reasons import of_error, says_what_to_do


class DeviceError(Exception):
    """The command cannot continue. The message says why, and what to do."""

    code = "failed"


class AgentRunning(DeviceError):
    """The agent of this device runs in another process."""

    code = "agent_running"

    def __init__(self, pid: object = None) -> None:
        which = f", as process {pid}" if isinstance(pid, int) else ""
        super().__init__(
            f"the agent of this device runs{which}. Stop it first: with Ctrl-C where it was "
            "started, or with `systemctl stop syncpoint-device` if it is a service"
        )


class Changed(DeviceError):
    """Another device, or the cloud, has changed the document meanwhile."""

    code = "changed"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was changed by somebody else just now; look at it, and try again")


class CloudFailed(DeviceError):
    """The cloud's CouchDB does not answer, refuses the login, or answers with an error.

    Parameters
    ----------
    url : str
        The URL that was asked.
    """

    code = "cloud_failed"

    def __init__(self, exc: Exception, url: str) -> None:
        hint = "" if says_what_to_do(exc) else ". Try again when it can be reached"
        super().__init__(
            f"the cloud cannot be asked: {without_full_stop(of_error(exc, url))}{hint}"
        )


class RegistrationRejected(DeviceError):
    """The owner said that it was not theirs, or somebody typed five wrong device codes."""

    code = "rejected"

    def __init__(self) -> None:
        super().__init__(
            "the registration of this device was rejected; run `unlink`, and then `register` again"
        )


class LoginRefused(DeviceError):
    """The device's own CouchDB refuses the agent's login, or has locked it for some minutes.

    Whoever sends it again soon locks the login.
    """

    code = "couch_login"

    def __init__(
        self,
        message: str = (
            "this device's CouchDB refuses the agent's login. Run `couch http://NAME@HOST:PORT` "
            "with the name of its administrator; it asks for the password. If the login is only "
            "locked, it works again after five minutes"
        ),
    ) -> None:
        super().__init__(message)


class NotAllowed(DeviceError):
    """The state of the document does not allow it."""

    code = "not_allowed"


class NotRegistered(DeviceError):
    """No device is registered here."""

    code = "not_registered"

    def __init__(self, folder: object) -> None:
        super().__init__(
            f"no device is registered in {folder}; run `register` first, or name another folder "
            "with --home"
        )


class NothingToDo(DeviceError):
    """Everything is already as it is asked for."""

    code = "nothing_to_do"


class Revoked(DeviceError):
    """The device was revoked, so the cloud refuses all of its requests."""

    code = "revoked"

    def __init__(self) -> None:
        super().__init__(
            "this device was revoked. Its data stays here, but is no longer replicated. "
            "To use the device again, run `unlink` and then `register`"
        )


class Unconfirmed(DeviceError):
    """The command deletes something, and has to be confirmed by an option."""

    code = "unconfirmed"


class Unknown(DeviceError):
    """There is no such channel, invitation, member or device, or more than one."""

    code = "unknown"


class Unverified(DeviceError):
    """The device's own CouchDB checks no certificates, so it may replicate nothing with https.

    Parameters
    ----------
    url : str
        The server's URL, without a password.
    problem : str
        What the server does, or does not do.
    advice : str
        What to do about it.
    """

    code = "unverified"

    def __init__(
        self,
        url: str,
        problem: str,
        advice: str = (
            "Run `trust`, and it checks them from then on. To register, use `register --trust`"
        ),
    ) -> None:
        super().__init__(
            f"the CouchDB at {url} {problem}. It might send this device's password to a server "
            f"that only pretends to be the cloud, so nothing is replicated with https. {advice}"
        )


def without_full_stop(exc: Exception | str) -> str:
    """Return the text of an error without its full stop, so that a sentence can continue."""
    return str(exc).removesuffix(".")
