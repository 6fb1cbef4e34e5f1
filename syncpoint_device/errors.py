"""The errors that end a command of the device; each message is for the person who typed it.

::

    DeviceError          the command cannot continue
    ├── AgentRunning     the agent of this device runs in another process
    ├── CloudFailed      the cloud's CouchDB does not answer, or refuses the login
    ├── RegistrationRejected  the owner, or somebody with five wrong codes, rejected it
    └── Revoked          the device was revoked
"""

from syncpoint_device.reasons import of_error


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
            f"the cloud cannot be asked: {without_full_stop(of_error(exc))}. Try again when it can "
            "be reached"
        )


class RegistrationRejected(DeviceError):
    """The owner said that it was not theirs, or somebody typed five wrong device codes."""

    def __init__(self) -> None:
        super().__init__(
            "the registration of this device was rejected; run `unlink`, and then `register` again"
        )


class Revoked(DeviceError):
    """The device was revoked, so the cloud refuses all of its requests."""

    def __init__(self) -> None:
        super().__init__(
            "this device was revoked. Its data stays here, but is no longer replicated. "
            "To use the device again, run `unlink` and then `register`"
        )


def without_full_stop(exc: Exception | str) -> str:
    """Return the text of an error without its full stop, so that a sentence can continue."""
    return str(exc).removesuffix(".")
