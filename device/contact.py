"""A device's looks at the cloud: how far its registration is, and whether the cloud is there."""

from dataclasses import replace
from enum import Enum, auto

from chalicelib.couch import CouchError, Unauthorized
from chalicelib.identity import owner_control_db
from device import outbox
from device.databases import Device, Say
from device.endpoints import is_in_cloud, is_plain_url
from device.errors import DeviceError, Revoked
from device.home import Home, Profile
from device.mailbox import Mailbox

# What a person is told of a registration that is on its way, by its state.
_UNDER_WAY = {
    "new": "the cloud has it, and sends a mail with a link to {owner}",
    "confirming": "open the link in the mail to {owner}, and type the device code {code} there",
    "confirmed": "confirmed; the cloud makes its login",
    "expired": "nobody confirmed it in time; `resend` asks for another mail",
    "undeliverable": "the mail did not arrive; if {owner} is right, `resend` asks for another",
    "error": "the cloud could not go on with it; `resend` asks it to try once more",
}
# After so many looks in vain, the mailbox is asked why it does not take a registration.
_PATIENCE = 2


class Sight(Enum):
    """What a look has found."""

    WAITING = auto()  # the registration is on its way
    WELL = auto()  # the cloud is there, and lets the device in
    LOST = auto()  # it is not, or does not
    CHANGED = auto()  # begin anew: the device is active now, or the cloud has another address
    BACK = auto()  # the cloud is there again


def hear(profile: Profile, mailbox: Mailbox) -> Profile:
    """The profile, with where the mailbox says that the cloud's CouchDB is. One request.

    Raises
    ------
    DeviceError
        If that is no place to send a password to.
    """
    cloud, control_db = mailbox.cloud()
    is_weaker = cloud.startswith("http:") and not profile.mailbox.startswith("http:")
    database = f"{cloud}/{owner_control_db(control_db, profile.owner)}"
    if not is_plain_url(cloud) or is_weaker or not is_in_cloud(database, cloud):
        raise DeviceError(
            f"the mailbox says that the cloud's CouchDB is at {cloud!a}, and its control database "
            f"is {control_db!a}: this device sends its password to no such place"
        )
    return replace(profile, cloud=cloud, control_db=control_db)


class Contact:
    """What is known of the cloud from look to look."""

    def __init__(self, home: Home, say: Say) -> None:
        self._home, self._say = home, say
        self.is_active = False
        self.is_lost = False
        self._told = ""
        self._in_vain = 0

    def look(self, device: Device) -> Sight:
        """Ask the cloud's CouchDB, or the mailbox while that lets nobody in; a few requests.

        Raises
        ------
        Revoked
            If the device was revoked.
        DeviceError
            If the registration was refused for good.
        """
        problem: CouchError | None = None
        if self.is_active:
            try:
                device.cloud_control.info()
                return self._reached()
            except CouchError as exc:
                problem = exc
        mailbox = Mailbox(device.profile.mailbox)
        try:
            if self._has_moved(device, mailbox):
                return Sight.CHANGED
            state = mailbox.state(device.profile.device_id)
            if state in ("revoking", "revoked"):
                raise Revoked
            if problem is None:
                return self._follow_registration(device, mailbox, state)
        except CouchError as exc:
            return self._lost(problem or exc)
        return self._lost(problem)

    def _has_moved(self, device: Device, mailbox: Mailbox) -> bool:
        """Hear where the cloud's CouchDB is, and keep it; whether that is news."""
        heard = hear(device.profile, mailbox)
        if heard == device.profile:
            return False
        cloud, control_db = heard.cloud, heard.control_db
        self._home.update(lambda kept: replace(kept, cloud=cloud, control_db=control_db))
        return True

    def _follow_registration(self, device: Device, mailbox: Mailbox, state: str | None) -> Sight:
        if state == "active":
            self.is_active = True
            self._say("registration", "active")
            return Sight.CHANGED
        if state == "rejected":
            raise DeviceError("the registration was refused: `unlink`, then `register` anew")
        if state is None:
            self._ask_why(device, mailbox)
            return Sight.WAITING
        if state != self._told:
            self._told = state
            code, owner = device.profile.doc["device_code"], device.profile.address
            words = _UNDER_WAY.get(state)
            said = ascii(state) if words is None else words.format(code=code, owner=owner)
            self._say("registration", said)
        self.is_lost = False
        return Sight.WAITING

    def _ask_why(self, device: Device, mailbox: Mailbox) -> None:
        self._in_vain += 1
        if self._in_vain >= _PATIENCE:
            reason = mailbox.refusal(outbox.fill(device))
            if reason is not None:
                raise DeviceError(f"the cloud does not take the registration: {reason}")

    def _reached(self) -> Sight:
        was_lost, self.is_lost = self.is_lost, False
        if was_lost:
            self._say("cloud", "reached again")
        return Sight.BACK if was_lost else Sight.WELL

    def _lost(self, problem: CouchError) -> Sight:
        if not self.is_lost:
            self.is_lost = True
            refused = isinstance(problem, Unauthorized)
            what = "does not let this device in" if refused else "cannot be reached"
            self._say("cloud", f"{what} ({problem.reason}), trying again")
        return Sight.LOST
