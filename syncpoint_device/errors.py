"""The errors that end a command of the device; each message is for the person who typed it.

::

    DeviceError          the command cannot continue
    ├── AgentRunning     the agent of this device runs in another process
    ├── CloudFailed      the cloud's CouchDB does not answer, or refuses the login
    ├── Revoked          the device was revoked
    └── Unverified       the device's CouchDB would send its password to an impostor
"""


class DeviceError(Exception):
    """The command cannot continue. The message says why, and what to do."""


class AgentRunning(DeviceError):
    """The agent of this device runs in another process."""

    def __init__(self) -> None:
        super().__init__("the agent of this device is already running; stop it first")


class CloudFailed(DeviceError):
    """The cloud's CouchDB does not answer, refuses the login, or answers with an error."""

    def __init__(self, exc: Exception) -> None:
        super().__init__(
            f"the cloud cannot be asked: {without_full_stop(exc)}. Try again when it can be reached"
        )


class Revoked(DeviceError):
    """The device was revoked, so the cloud refuses all of its requests."""

    def __init__(self) -> None:
        super().__init__(
            "this device was revoked. Its data stays here, but is no longer replicated. "
            "To use the device again, run `unlink` and then `register`"
        )


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

    def __init__(
        self,
        url: str,
        problem: str,
        advice: str = "Run `trust`, and it checks them from then on (`register --trust` does both)",
    ) -> None:
        super().__init__(
            f"the CouchDB at {url} {problem}. It might send this device's password to a server "
            f"that only pretends to be the cloud, so nothing is replicated. {advice}"
        )


def without_full_stop(exc: Exception | str) -> str:
    """Return the text of an error without its full stop, so that a sentence can continue."""
    return str(exc).removesuffix(".")
