"""What ends a command of the device's, with a sentence for the person who typed it."""


class DeviceError(Exception):
    """The command cannot go on; the message says why, and what to do."""


class AgentRuns(DeviceError):
    """The agent of this device is running, in another process."""

    def __init__(self) -> None:
        super().__init__("the agent of this device is running already")


class Revoked(DeviceError):
    """The device was revoked: nothing that it tries can succeed any more."""

    def __init__(self) -> None:
        super().__init__(
            "this device was revoked. Its data stays here, and nothing is sent or fetched any "
            "more. To use it again: `unlink`, then `register`"
        )


def without_stop(exc: Exception) -> str:
    """What it says, to go on behind: some of a CouchDB's reasons end with a full stop."""
    return str(exc).removesuffix(".")
